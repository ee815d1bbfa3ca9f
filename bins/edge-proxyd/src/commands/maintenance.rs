//! The command `maintenance`: switches a site of a running edge-proxyd.

use crate::cli::{Exit, MaintenanceArgs, Switch};
use crate::service::control::{self, ControlContent, MaintenanceRequest};
use std::time::Duration;

/// The longest wait for the outcome.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &MaintenanceArgs) -> Exit {
    let path = args.control.clone().unwrap_or_else(control::default_path);
    let maintenance = MaintenanceRequest { site: args.site.clone(), on: args.switch == Switch::On };
    let answer = match control::ask(&path, &ControlContent::Maintenance { maintenance }, PATIENCE) {
        Ok(answer) => answer,
        Err(why) => {
            eprintln!(
                "edge-proxyd maintenance: {}: {why}: is edge-proxyd running, and did it start with this control socket?",
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
            if answer.ok { println!("{line}") } else { eprintln!("edge-proxyd maintenance: {line}") }
        }
    }
    match (answer.ok, answer.invalid) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Wrong,
        (false, false) => Exit::Failed,
    }
}
