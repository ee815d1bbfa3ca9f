//! Changes that a server would reject.

use thiserror::Error;

/// The server would reject the change in this state; the reason.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct RejectedChange(pub String);

pub(crate) fn rejected<T>(why: String) -> Result<T, RejectedChange> {
    Err(RejectedChange(why))
}
