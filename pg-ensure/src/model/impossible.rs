//! Changes that a server would reject.

use thiserror::Error;

/// The server would reject the change in this state; the reason.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Impossible(pub String);

pub(crate) fn impossible<T>(why: String) -> Result<T, Impossible> {
    Err(Impossible(why))
}
