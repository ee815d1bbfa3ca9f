//! The commands of the program, one per module. `demo` and `try` have modules of their own.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod import;
pub(crate) mod maintenance;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod sandbox;
pub(crate) mod status;

use crate::cli::Exit;
use cli_support::outcome::Failure;

/// Prints the failure of a command, as text to standard error or as one JSON document, and returns [`Exit::Failed`] if
/// its code is 1, otherwise [`Exit::Wrong`].
pub(crate) fn fail(command: &str, json: bool, failure: &Failure) -> Exit {
    failure.print(&format!("edge-proxyd {command}"), json);
    if failure.code() == 1 { Exit::Failed } else { Exit::Wrong }
}
