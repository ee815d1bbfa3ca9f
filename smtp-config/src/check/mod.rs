//! Checks of the mail sections of app.ini, based on the values that Forgejo has after loading them.

mod incoming;
mod keys;
mod mailer;
mod network;
mod values;

use crate::edit::is_password;
use crate::finding::{Code, Finding, Severity};
use crate::ini::{Entry, Ini};
use crate::redact::visible_value;
use crate::section::{INCOMING, OVERRIDE_HEADER, SECTION};
use crate::version::Version;
use std::collections::HashMap;

/// Returns every finding in `[mailer]`, `[mailer.override_header]` and `[email.incoming]`, sorted by line and column. A
/// setting that stops Forgejo from starting is an error, and its message quotes Forgejo's log. Files are not read; see
/// [`secret_file`].
#[must_use]
pub fn check(ini: &Ini, version: Version) -> Vec<Finding> {
    let mut checker = Checker::new(ini, version, SECTION);
    keys::check(&mut checker);
    mailer::check(&mut checker);
    checker.section = INCOMING;
    incoming::check(&mut checker);
    values::resave(&mut checker);
    checker.findings.sort_by_key(|finding| (finding.line, finding.column));
    checker.findings
}

/// Reason why the user that runs Forgejo cannot obtain the password from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFile {
    /// The file does not exist.
    Missing,
    /// The file is empty or contains only white space.
    Empty,
    /// The user is not permitted to read the file.
    Unreadable {
        /// Name of the user that runs Forgejo.
        user: String,
        /// Reason: owner and mode of the file, or of a folder above it.
        why: String,
    },
}

/// Returns the finding, an error, about the file at `path`, to which `PASSWD_URI` or `PASSWORD_URI` of the section
/// refers.
#[must_use]
pub fn secret_file(ini: &Ini, section: &'static str, path: &str, state: &SecretFile) -> Finding {
    let mut checker = Checker::new(ini, Version::default(), section);
    let keys = ["PASSWD_URI", "PASSWORD_URI"];
    let key = keys.iter().find(|key| ini.value(section, key).is_some_and(|value| !value.is_empty()));
    let key = key.copied().unwrap_or(if section == SECTION { "PASSWD_URI" } else { "PASSWORD_URI" });
    let (code, what, fix) = match state {
        SecretFile::Missing => {
            (Code::SecretMissing, "no such file".to_owned(), "write the file, or correct the path".to_owned())
        }
        SecretFile::Empty => {
            (Code::SecretEmpty, "the file is empty".to_owned(), "write the password to it".to_owned())
        }
        SecretFile::Unreadable { user, why } => (
            Code::SecretUnreadable,
            format!("permission denied for {user}: {why}"),
            format!("chown it to {user} or to one of its groups, or use PASSWD"),
        ),
    };
    checker.add(code, key, format!("Forgejo does not start: Failed to read {key} ({path}): {what}"), &fix);
    checker.findings.remove(0)
}

/// State of a run: the findings so far, and the current section.
struct Checker<'i> {
    ini: &'i Ini,
    version: Version,
    section: &'static str,
    findings: Vec<Finding>,
    /// The last assignment of each key, by section and key, in the checked sections.
    last: HashMap<(&'i str, &'i str), &'i Entry>,
}

impl<'i> Checker<'i> {
    /// Creates a run for a section, without findings.
    fn new(ini: &'i Ini, version: Version, section: &'static str) -> Self {
        let ours = ini
            .entries()
            .iter()
            .filter(|entry| [SECTION, OVERRIDE_HEADER, INCOMING].contains(&entry.section.as_str()));
        let last = ours.map(|entry| ((entry.section.as_str(), entry.key.as_str()), entry)).collect();
        Self { ini, version, section, findings: Vec::new(), last }
    }

    /// Appends a finding about a key of the current section, with the severity of its code.
    fn add(&mut self, code: Code, key: &str, problem: impl Into<String>, fix: &str) {
        self.add_with(code, code.severity(), key, problem, fix);
    }

    /// Appends a finding about a key of the current section, at its last assignment or else at the header. With an
    /// empty key, it is about the section.
    fn add_with(&mut self, code: Code, severity: Severity, key: &str, problem: impl Into<String>, fix: &str) {
        let entry = self.last.get(&(self.section, key)).copied();
        let header = self.ini.headers().iter().find(|header| header.section == self.section);
        let line = entry.map(|entry| entry.line).or(header.map(|header| header.line));
        let value = entry.and_then(|_| self.ini.value(self.section, key));
        // What is written as the URI of a password may be the password itself.
        let value = value.filter(|value| !is_password(key) && visible_value(key, value).is_some());
        self.findings.push(Finding {
            code,
            severity,
            section: self.section.to_owned(),
            key: key.to_owned(),
            value,
            line,
            column: line.map(|_| entry.map_or(1, |entry| entry.column)),
            problem: problem.into(),
            fix: fix.to_owned(),
        });
    }

    /// Returns the value of a key in the current section. `None` if it is missing or empty.
    fn get(&self, key: &str) -> Option<String> {
        self.ini.value(self.section, key).filter(|value| !value.is_empty())
    }

    /// Returns the first of these keys that has a value in the current section, or else the first one.
    fn first<'k>(&self, keys: &[&'k str]) -> &'k str {
        keys.iter().find(|key| self.get(key).is_some()).or(keys.first()).copied().unwrap_or_default()
    }

    /// Reports a value that is not a boolean, for which Forgejo uses `default`.
    fn flag(&mut self, key: &str, default: bool) {
        let Some(value) = self.get(key) else { return };
        if crate::ini::boolean(&value).is_none() {
            let code = if key == "ENABLED" { Code::EnabledNotBoolean } else { Code::NotBoolean };
            self.add(code, key, format!("not a boolean, so it is {default}"), "write true or false");
        }
    }

    /// Reports a setting that stops Forgejo from starting.
    fn fatal(&mut self, fatal: &crate::fatal::Fatal) {
        let key = match fatal.code() {
            Code::FromMissing => self.first(&["USER", "USERNAME"]),
            _ => self.first(&[fatal.key(), alias(fatal.key())]),
        };
        let problem = format!("Forgejo does not start: {fatal}");
        self.add_with(fatal.code(), Severity::Error, key, problem, &fatal.fix());
    }
}

/// Returns the alias of a key for a password, or any other key itself.
fn alias(key: &'static str) -> &'static str {
    match key {
        "PASSWD" => "PASSWORD",
        "PASSWD_URI" => "PASSWORD_URI",
        "PASSWORD" => "PASSWD",
        "PASSWORD_URI" => "PASSWD_URI",
        other => other,
    }
}

/// Returns the known keys of a section. Empty for `[mailer.override_header]`, whose keys are header names.
fn known_keys(section: &str) -> &'static [&'static str] {
    match section {
        SECTION => keys::MAILER,
        INCOMING => keys::INCOMING_KEYS,
        OVERRIDE_HEADER => &[],
        _ => &[],
    }
}
