//! An answer of `explain`.

use serde::Serialize;
use std::fmt;

/// One line of an explanation: a decision, and its reason.
#[derive(Serialize)]
pub(super) struct Answer {
    pub(super) what: String,
    pub(super) why: String,
}

impl Answer {
    pub(super) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

/// Writes an answer as a line, if there is one.
pub(super) fn line(f: &mut fmt::Formatter<'_>, name: &str, answer: Option<&Answer>) -> fmt::Result {
    match answer {
        Some(Answer { what, why }) => writeln!(f, "{name:<11}  {what}: {why}"),
        None => Ok(()),
    }
}
