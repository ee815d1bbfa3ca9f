//! An answer of `explain`.

use serde::Serialize;

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
