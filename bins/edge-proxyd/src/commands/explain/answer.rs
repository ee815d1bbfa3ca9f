//! A line of the output of `explain`.

use serde::Serialize;
use std::fmt;

/// A decision about the request or connection, and its reason.
#[derive(Serialize)]
pub(super) struct Answer {
    /// The decision, such as `forwarded to NAME`.
    pub(super) what: String,
    /// The reason for the decision.
    pub(super) why: String,
}

impl Answer {
    /// Creates an answer from the decision and its reason.
    pub(super) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Writes an answer as a line: `name`, padded to a column, the decision and the reason. Writes nothing for `None`.
pub(super) fn line(f: &mut fmt::Formatter<'_>, name: &str, answer: Option<&Answer>) -> fmt::Result {
    match answer {
        Some(Answer { what, why }) => writeln!(f, "{name:<11}  {what}: {why}"),
        None => Ok(()),
    }
}
