//! The subcommand `check`: findings in an app.ini.

use crate::args::{Args, FailOn};
use crate::files::{forgejo_account, key_in, parse_rest, read, readable_password, secret_file_state};
use cli_support::finding::{Findings, Place};
use cli_support::outcome::{Done, Failure, ok};
use serde_json::json;
use smtp_config::ini::Entry;
use smtp_config::{
    Finding, INCOMING, Password, SECTION, Severity, check, effective, effective_incoming, secret_file,
};
use std::path::Path;

/// Checks an app.ini, who can read a password in it, and the files of its passwords, and prints the findings. `user` is the account that runs Forgejo,
/// if given. Returns [`Done::Differences`] if the severity of one is at least `fail_on`, else [`Done::Fine`].
///
/// # Errors
/// Returns a [`Failure`] if the file cannot be read, or the account does not exist. A file with lines that go-ini
/// refuses is one as well: it contains these lines, and the findings about the others.
pub(super) fn run(file: &Path, user: Option<&str>, fail_on: FailOn, args: &Args) -> Result<Done, Failure> {
    let text = read(file)?;
    let (ini, mut refused) = parse_rest(file, &text);
    let Some(ini) = ini else { return Err(Findings::new(refused).into()) };
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
    let written = PASSWORDS.iter().find(|(section, key)| {
        // An empty key is none.
        ini.value(section, key).is_some_and(|value| !value.is_empty())
    });
    if let Some(place) = written
        && let Some(found) = readable_password(file, &ini, *place, account.as_ref())
    {
        refused.push(found.severity(cli_support::finding::Severity::Warning));
    }
    findings.sort_by_key(|finding| (finding.line, finding.column));
    // A warning, in a file that go-ini reads.
    let is_refused = refused.iter().any(|finding| finding.severity == cli_support::finding::Severity::Error);
    if is_refused {
        // Something that is missing may stand in a refused line.
        let is_there = |finding: &&Finding| {
            let same = |entry: &Entry| (&entry.section, &entry.key) == (&finding.section, &finding.key);
            finding.line.is_some() && (finding.key.is_empty() || ini.entries().iter().any(same))
        };
        let meant = findings.iter().filter(is_there);
        let meant = meant.map(|finding| in_family(file, finding));
        return Err(Findings::new(refused.into_iter().chain(meant).collect()).into());
    }
    if args.json {
        let warnings = refused.iter().map(|finding| with_place(file, json!(finding), &finding.place));
        let list: Vec<_> =
            warnings.chain(findings.iter().map(|finding| finding_json(file, finding))).collect();
        println!("{}", json!({"findings": list}));
    } else if findings.is_empty() && refused.is_empty() {
        println!("{}", ok(file.display(), &format!("Forgejo {} takes it as it is", version.0)));
    } else {
        for finding in &refused {
            println!("{finding}");
        }
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
    let has_warning = !refused.is_empty() && limit <= Severity::Warning;
    let bad = has_warning || findings.iter().any(|finding| finding.severity >= limit);
    Ok(if bad { Done::Differences } else { Done::Fine })
}

/// Keys of passwords, each with its section.
const PASSWORDS: [(&str, &str); 4] =
    [(SECTION, "PASSWD"), (SECTION, "PASSWORD"), (INCOMING, "PASSWORD"), (INCOMING, "PASSWD")];

/// Returns a finding in the form that all programs of the family print. Line and column are 0 if it has none.
fn in_family(file: &Path, finding: &Finding) -> cli_support::finding::Finding {
    let place = Place {
        file: file.display().to_string(),
        line: finding.line.map_or(0, |line| line as usize),
        column: finding.column.map_or(0, |column| column as usize),
        key: key_in(&finding.section, &finding.key),
    };
    let severity = match finding.severity {
        Severity::Error => cli_support::finding::Severity::Error,
        Severity::Warning => cli_support::finding::Severity::Warning,
        Severity::Note => cli_support::finding::Severity::Note,
    };
    cli_support::finding::Finding::error(finding.code.as_str(), place, finding.message())
        .severity(severity)
        .value(finding.value.clone())
        .fix(&finding.fix)
}

/// Adds the file, line and column to a finding as JSON, and an empty section and key.
fn with_place(file: &Path, mut value: serde_json::Value, place: &Place) -> serde_json::Value {
    value["file"] = json!(file);
    value["section"] = json!("");
    value["key"] = json!("");
    value["line"] = json!(place.line);
    value["column"] = json!(place.column);
    value["problem"] = value["code"].clone();
    value
}

/// Returns a finding as JSON: in the form that all programs of the family print, with its file, section, key, line,
/// column and problem in addition.
fn finding_json(file: &Path, finding: &Finding) -> serde_json::Value {
    let mut value = json!(in_family(file, finding));
    value["file"] = json!(file);
    value["section"] = json!(finding.section);
    value["key"] = json!(finding.key);
    value["line"] = json!(finding.line);
    value["column"] = json!(finding.column);
    value["problem"] = json!(finding.problem);
    value
}
