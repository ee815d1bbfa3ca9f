//! Changes that a server would refuse.

use thiserror::Error;

/// A change that the server would refuse.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct Impossible(pub String);

pub(crate) fn impossible<T>(why: String) -> Result<T, Impossible> {
    Err(Impossible(why))
}
