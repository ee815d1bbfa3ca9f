//! Changes that a server would reject.

use thiserror::Error;

/// Reason for which the server would reject a change in the current state.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct RejectedChange(pub String);

/// Returns a [`RejectedChange`] as an error.
pub(crate) fn rejected<T>(why: String) -> Result<T, RejectedChange> {
    Err(RejectedChange(why))
}
