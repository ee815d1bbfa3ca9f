//! `check`: reads and checks a configuration.

use crate::cli::{CheckArgs, Exit};
use crate::config;
use serde_json::json;

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
                    "{}: in order: {} listeners, {} sites, {} upstreams",
                    args.config.display(),
                    config.listeners.len(),
                    config.sites.len(),
                    config.upstreams.len()
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
