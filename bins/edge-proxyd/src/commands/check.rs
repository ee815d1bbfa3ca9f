//! The command `check`: reads and validates a configuration, and everything that `run` would need to serve it.

mod files;
mod idioms;

use crate::cli::{CheckArgs, Exit};
use crate::config;
use cli_support::finding::{self, Finding, Place, Severity};
use cli_support::outcome::{counted, ok};
use edge_proxy::config::Config;
use serde_json::json;
use std::path::Path;

/// The findings about a configuration that can be read.
#[derive(Default)]
struct Findings {
    /// Reasons for which `run` would not start.
    errors: Vec<String>,
    /// Faults that do not keep the rest from being served.
    warnings: Vec<String>,
}

impl Findings {
    fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Converts the warnings and errors into findings, which all programs of the workspace print alike.
    fn to_findings(&self, file: &str) -> finding::Findings {
        let place = || Place { file: file.to_owned(), ..Place::default() };
        let errors = self.errors.iter().map(|text| Finding::error("unusable", place(), text));
        let warnings = self.warnings.iter().map(|text| {
            let mut finding = Finding::error("degraded", place(), text);
            finding.severity = Severity::Warning;
            finding
        });
        finding::Findings::new(errors.chain(warnings).collect())
    }
}

pub(crate) fn run(args: &CheckArgs) -> Exit {
    let (settings, snapshot) = match config::load(&args.config) {
        Ok(loaded) => loaded,
        Err(mut problems) => {
            if args.no_files {
                // Contents that are part of the configuration, such as pages and passwords, are on another machine.
                problems.list.retain(|problem| !problem.message.contains("(os error "));
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
        files::find(&settings, &args.config, &mut findings);
    }
    let config = snapshot.config();
    if args.json {
        let file = args.config.display().to_string();
        let problems: Vec<_> = findings
            .errors
            .iter()
            .map(|message| json!({ "file": file, "line": 0, "column": 0, "message": message }))
            .collect();
        println!(
            "{}",
            json!({
                "ok": findings.errors.is_empty(),
                "problems": problems,
                "warnings": findings.warnings,
                "findings": findings.to_findings(&file).json(),
                "listeners": config.listeners.len(),
                "sites": config.sites.len(),
                "upstreams": config.upstreams.len(),
                "certificates": settings.certificates,
                "log": { "format": settings.log.format.name(), "rejected": settings.log.rejected },
            })
        );
    } else {
        report(&args.config, &findings, config);
    }
    match (findings.errors.is_empty(), findings.warnings.is_empty()) {
        (false, _) => Exit::Wrong,
        (true, false) if !args.errors_only => Exit::Differs,
        _ => Exit::Done,
    }
}

fn report(file: &Path, findings: &Findings, config: &Config) {
    let file = file.display();
    findings.warnings.iter().for_each(|warning| eprintln!("{file}: warning: {warning}"));
    findings.errors.iter().for_each(|error| eprintln!("{file}: {error}"));
    if findings.errors.is_empty() {
        let warnings = match findings.warnings.len() {
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
