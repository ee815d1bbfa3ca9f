//! Changes that a server would reject.

use thiserror::Error;

/// Error of a change that the server would reject in the modelled state. Contains the reason.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct RejectedChange(pub String);

/// Returns a [`RejectedChange`] as an error.
pub(crate) fn rejected<T>(why: String) -> Result<T, RejectedChange> {
    Err(RejectedChange(why))
}
