//! Messages for the operator on standard error. If that is the systemd journal, each line begins with its priority.

use cli_support::journal::Priority;
use std::fmt::Display;

/// Prints a message of the priority "error": something is not served or could not be done.
pub(crate) fn error(text: impl Display) {
    Priority::Error.print("edge-proxyd", text);
}

/// Prints a message of the priority "warning": something needs attention, while everything else is served.
pub(crate) fn warning(text: impl Display) {
    Priority::Warning.print("edge-proxyd", text);
}

/// Prints a message of the priority "info" about normal operation, unless `--quiet` is given.
pub(crate) fn info(text: impl Display) {
    if !cli_support::verbosity::is_quiet() {
        Priority::Info.print("edge-proxyd", text);
    }
}
