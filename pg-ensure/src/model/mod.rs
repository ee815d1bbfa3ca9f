//! A model of the server: the effect of each change on the state of a cluster.
//!
//! The planner applies each step to the model, so that later steps are planned for the resulting state. The tests
//! compare the model with real servers.

pub(crate) mod lookup;
mod rejected;

pub use rejected::RejectedChange;
pub(crate) use rejected::rejected;

use crate::current::CurrentState;
use crate::plan::Change;

/// Applies one change to the modelled state. Executes no SQL.
///
/// # Errors
/// Returns a [`RejectedChange`] if the server would reject the change: an object is missing, exists already, or others
/// depend on it.
pub fn change(state: &mut CurrentState, change: &Change) -> Result<(), RejectedChange> {
    change.make(state)
}
