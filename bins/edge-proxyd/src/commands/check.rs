//! The command `check`: validates a configuration, and tries everything that `run` needs to serve it.

mod account;
mod client_certificates;
mod files;
mod findings;
mod idioms;
mod start;
mod upstream_tls;

use crate::cli::{CheckArgs, Exit};
use crate::config;
use cli_support::finding::{Finding, Severity};
use cli_support::outcome::{counted, ok};
use edge_proxy::config::Config;
use findings::{Findings, without_place};
use serde_json::json;
use std::path::Path;

/// Runs the command and prints the result. Returns [`Exit::Wrong`] if there are errors, [`Exit::Differs`] if there are
/// only warnings, unless `--errors-only` is given, and [`Exit::Done`] otherwise. With `--no-files`, files that the
/// configuration names are not read, and errors of reading them are ignored.
pub(crate) fn run(args: &CheckArgs) -> Exit {
    let file = args.config.display().to_string();
    let loaded = config::text(&args.config)
        .and_then(|text| config::read(&file, &text).map(|(settings, snapshot)| (settings, snapshot, text)));
    let (settings, snapshot, text) = match loaded {
        Ok(loaded) => loaded,
        Err(mut problems) => {
            if args.no_files {
                // Contents that are part of the configuration, such as pages and passwords, are on another machine.
                // The configuration itself has to be here; its fault has no line.
                problems.list.retain(|problem| problem.line == 0 || !problem.message.contains("(os error "));
            }
            if problems.list.is_empty() {
                if args.json {
                    println!("{}", json!({ "ok": true, "problems": [], "warnings": [], "findings": [] }));
                } else {
                    println!("{}", ok(args.config.display(), "except for files that it names"));
                }
                return Exit::Done;
            }
            problems.report(args.json);
            return Exit::Wrong;
        }
    };
    let mut findings = Findings::default();
    idioms::find(&settings.proxy, &mut findings);
    if !args.no_files {
        client_certificates::find(&settings, &mut findings);
        upstream_tls::find(&settings, &mut findings);
        start::find(&settings, (&file, &text), &mut findings);
        account::find(&settings, &args.config, &mut findings);
        files::find(&settings, (&args.config, &text), &mut findings);
    }
    let config = snapshot.config();
    let (errors, warnings) = (findings.with(Severity::Error, &file), findings.with(Severity::Warning, &file));
    if args.json {
        let problems: Vec<_> = errors
            .iter()
            .map(|error| {
                let at = &error.place;
                let message = without_place(error);
                json!({ "file": at.file, "line": at.line, "column": at.column, "message": message })
            })
            .collect();
        let mut document = json!({
                "ok": errors.is_empty(),
                "problems": problems,
                "warnings": warnings.iter().map(without_place).collect::<Vec<_>>(),
                "findings": findings.of(&file).json(),
                "listeners": config.listeners.len(),
                "sites": config.sites.len(),
                "upstreams": config.upstreams.len(),
                "certificates": settings.certificates,
                "log": { "format": settings.log.format.name(), "rejected": settings.log.rejected },
        });
        if !errors.is_empty() {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            document["error"] = json!(text.join("\n"));
            document["code"] = json!(2);
        }
        println!("{document}");
    } else {
        report(&args.config, (&errors, &warnings), config);
    }
    match (errors.is_empty(), warnings.is_empty()) {
        (false, _) => Exit::Wrong,
        (true, false) if !args.errors_only => Exit::Differs,
        _ => Exit::Done,
    }
}

/// Prints the findings as text: warnings and errors to standard error; and, if there are no errors, a summary to
/// standard output.
fn report(file: &Path, (errors, warnings): (&[Finding], &[Finding]), config: &Config) {
    let file = file.display();
    for warning in warnings {
        eprintln!("{warning}");
    }
    errors.iter().for_each(|error| eprintln!("{error}"));
    if errors.is_empty() {
        let warnings = match warnings.len() {
            0 => String::new(),
            count => format!("; {}", counted(count, "warning")),
        };
        let details = format!(
            "{}, {}, {}{warnings}",
            counted(config.listeners.len(), "listener"),
            counted(config.sites.len(), "site"),
            counted(config.upstreams.len(), "upstream")
        );
        println!("{}", ok(file, &details));
    }
}
