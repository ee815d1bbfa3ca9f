//! Outcome of a run.

use crate::step::Step;

/// Outcome of a run that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upgrade is complete.
    Done,
    /// An earlier run completed the upgrade; nothing was changed.
    WasDone,
    /// The run stopped before this step, as requested or because the operator starts the new server.
    Waiting(Step),
}
