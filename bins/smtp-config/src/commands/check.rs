//! The subcommand `check`: findings in an app.ini.

use crate::args::{Args, FailOn};
use crate::files::{forgejo_account, parse, read, secret_file_state};
use cli_support::finding::Place;
use cli_support::outcome::{Done, Failure, ok};
use serde_json::json;
use smtp_config::{
    Finding, INCOMING, Password, SECTION, Severity, check, effective, effective_incoming, secret_file,
};
use std::path::Path;

/// Checks an app.ini and the files of its passwords, and prints the findings. `user` is the account that runs Forgejo,
/// if given. Returns [`Done::Differences`] if the severity of one is at least `fail_on`.
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read or parsed, or the account does not exist.
pub(super) fn run(file: &Path, user: Option<&str>, fail_on: FailOn, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let ini = parse(file, &text)?;
    let version = args.version();
    let mut findings = check(&ini, version);
    let account = forgejo_account(file, &ini, user)?;
    let own = effective(&ini, version).ok().flatten().map(|held| (SECTION, held.password));
    let incoming = effective_incoming(&ini, version).ok().flatten().map(|held| (INCOMING, held.password));
    for (section, password) in own.into_iter().chain(incoming) {
        if let Password::File(path) = password
            && let Some(state) = secret_file_state(&path, account.as_ref())
        {
            findings.push(secret_file(&ini, section, &path, &state));
        }
    }
    findings.sort_by_key(|finding| (finding.line, finding.column));
    if args.json {
        let list: Vec<_> = findings.iter().map(|finding| finding_json(file, finding)).collect();
        println!("{}", json!({"findings": list}));
    } else if findings.is_empty() {
        println!("{}", ok(file.display(), &format!("Forgejo {} takes it as it is", version.0)));
    } else {
        for finding in &findings {
            let gap = if finding.line.is_some() { "" } else { " " };
            println!("{}:{gap}{finding}", file.display());
        }
    }
    let limit = match fail_on {
        FailOn::Error => Severity::Error,
        FailOn::Note => Severity::Note,
        FailOn::Warning => Severity::Warning,
    };
    let bad = findings.iter().any(|finding| finding.severity >= limit);
    Ok(if bad { Done::Differences } else { Done::Fine })
}

/// Returns a finding as JSON, with its place.
fn finding_json(file: &Path, finding: &Finding) -> serde_json::Value {
    json!({
        "code": finding.code.as_str(),
        "severity": finding.severity.to_string(),
        "file": file,
        "section": finding.section,
        "key": finding.key,
        "value": finding.value,
        "line": finding.line,
        "column": finding.column,
        "message": finding.message(),
        "problem": finding.problem,
        "place": Place {
            file: file.display().to_string(),
            line: finding.line.map_or(0, |line| line as usize),
            column: finding.column.map_or(0, |column| column as usize),
            key: finding.key.clone(),
        },
        "fix": finding.fix,
    })
}
