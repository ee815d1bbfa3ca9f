//! The command `reload`: makes the running process reload its configuration, and prints the outcome.

use crate::cli::{Exit, ReloadArgs};
use crate::service::control::{self, ControlContent, ReloadRequest};
use std::path::Path;
use std::time::Duration;

/// The longest wait for the response. A takeover must finish sooner.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(120);

/// Sends the request to the running process, and prints its response.
pub(crate) fn run(args: &ReloadArgs) -> Exit {
    let request = ControlContent::Reload(ReloadRequest { takeover: args.takeover });
    send_request("reload", (args.control.as_deref(), args.json), &request, OUTCOME_TIMEOUT)
}

/// Sends a request to the running process over the control socket, and prints its response, as JSON if `json` is true.
/// `command` is the name of the command in messages, `control` the path of the socket, or `None` for the default, and
/// `patience` the longest wait.
///
/// Returns [`Exit::Done`] on success, [`Exit::Differs`] if a part of the change takes effect only in a new process,
/// [`Exit::Wrong`] if the configuration or the request is not valid, and [`Exit::Failed`] otherwise.
pub(super) fn send_request(
    command: &str,
    (control, json): (Option<&Path>, bool),
    request: &ControlContent,
    patience: Duration,
) -> Exit {
    let path = control.map_or_else(control::default_path, Path::to_owned);
    let answer = match control::ask(&path, request, patience) {
        Ok(answer) => answer,
        Err(why) => {
            eprintln!(
                "edge-proxyd {command}: {}: {why}: is edge-proxyd running, and did it start with this control socket?",
                path.display()
            );
            return Exit::Failed;
        }
    };
    if json {
        // Contains only text and numbers, so serialisation cannot fail.
        println!("{}", serde_json::to_string(&answer).unwrap_or_default());
    } else {
        for line in &answer.lines {
            if answer.ok { println!("{line}") } else { eprintln!("edge-proxyd {command}: {line}") }
        }
    }
    match (answer.ok, answer.invalid) {
        (true, _) if answer.waiting.is_empty() => Exit::Done,
        (true, _) => Exit::Differs,
        (false, true) => Exit::Wrong,
        (false, false) => Exit::Failed,
    }
}
