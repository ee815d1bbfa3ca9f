//! The command `reload`: has a running edge-proxyd reload, and reports the outcome.

use crate::cli::{Exit, ReloadArgs};
use crate::service::control::{self, ControlContent, ReloadRequest};
use std::time::Duration;

/// The longest wait for the outcome: a new process has less time to serve.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(args: &ReloadArgs) -> Exit {
    let path = args.control.clone().unwrap_or_else(control::default_path);
    let request = ControlContent::Reload(ReloadRequest { takeover: args.takeover });
    let answer = match control::ask(&path, &request, PATIENCE) {
        Ok(answer) => answer,
        Err(why) => {
            eprintln!(
                "edge-proxyd reload: {}: {why}: is edge-proxyd running, and did it start with this control socket?",
                path.display()
            );
            return Exit::Failed;
        }
    };
    if args.json {
        // Contains only text and numbers, so serialisation cannot fail.
        println!("{}", serde_json::to_string(&answer).unwrap_or_default());
    } else {
        for line in &answer.lines {
            if answer.ok { println!("{line}") } else { eprintln!("edge-proxyd reload: {line}") }
        }
    }
    match (answer.ok, answer.invalid) {
        (true, _) if answer.waiting.is_empty() => Exit::Done,
        (true, _) => Exit::Differs,
        (false, true) => Exit::Wrong,
        (false, false) => Exit::Failed,
    }
}
