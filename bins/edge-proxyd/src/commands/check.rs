//! The command `check`: reads and validates a configuration.

use crate::cli::{CheckArgs, Exit};
use crate::config;
use serde_json::json;

/// Formats a count with its noun in singular or plural.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

pub(crate) fn run(args: &CheckArgs) -> Exit {
    match config::load(&args.config) {
        Ok((settings, snapshot)) => {
            let config = snapshot.config();
            if args.json {
                println!(
                    "{}",
                    json!({
                        "ok": true,
                        "listeners": config.listeners.len(),
                        "sites": config.sites.len(),
                        "upstreams": config.upstreams.len(),
                        "certificates": settings.certificates,
                        "log": { "format": settings.log.format.name(), "rejected": settings.log.rejected },
                    })
                );
            } else {
                println!(
                    "{}: configuration OK: {}, {}, {}",
                    args.config.display(),
                    counted(config.listeners.len(), "listener"),
                    counted(config.sites.len(), "site"),
                    counted(config.upstreams.len(), "upstream")
                );
            }
            Exit::Done
        }
        Err(problems) => {
            problems.report(args.json);
            Exit::Wrong
        }
    }
}
