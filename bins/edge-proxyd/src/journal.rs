//! Lines for the operator, on standard error, with their priorities if that is the journal.

use cli_support::journal::Priority;
use std::fmt::Display;

/// Reports a failure: something is not served, or not done.
pub(crate) fn error(text: impl Display) {
    Priority::Error.print("edge-proxyd", text);
}

/// Reports a condition that needs attention while everything else is served.
pub(crate) fn warning(text: impl Display) {
    Priority::Warning.print("edge-proxyd", text);
}

/// Reports an event of normal operation, unless the process is quiet.
pub(crate) fn info(text: impl Display) {
    if !cli_support::verbosity::is_quiet() {
        Priority::Info.print("edge-proxyd", text);
    }
}
