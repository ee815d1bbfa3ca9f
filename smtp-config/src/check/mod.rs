//! What Forgejo would misread, die of, or leak by.

mod code;
mod incoming;
mod mailer;

pub use code::{Code, Finding, Severity};

use crate::forgejo::Version;
use crate::incoming::INCOMING;
use crate::ini::{Ini, has_reference};
use crate::mailer::{OVERRIDE_HEADER, SECTION};
use crate::route::{URI_SINCE, safe_path};

/// Every finding in `[mailer]`, `[mailer.override_header]` and `[email.incoming]`, as Forgejo of that major version reads
/// them. `text` is what `ini` was read from.
#[must_use]
pub fn check(text: &str, ini: &Ini, forgejo: u32) -> Vec<Finding> {
    let mut checker =
        Checker { text, ini, version: Version(forgejo), section: SECTION, findings: Vec::new() };
    mailer::check(&mut checker);
    checker.cut();
    checker.section = OVERRIDE_HEADER;
    mailer::override_header(&mut checker);
    checker.cut();
    checker.section = INCOMING;
    incoming::check(&mut checker);
    checker.cut();
    checker.resave();
    checker.findings
}

/// A boolean as go-ini reads it.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "YES" | "yes" | "Yes" | "y" | "ON" | "on" | "On" => {
            Some(true)
        }
        "0" | "f" | "F" | "false" | "FALSE" | "False" | "NO" | "no" | "No" | "n" | "OFF" | "off" | "Off" => {
            Some(false)
        }
        _ => None,
    }
}

struct Checker<'i> {
    text: &'i str,
    ini: &'i Ini,
    version: Version,
    section: &'static str,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn add(&mut self, code: Code, key: &str, message: impl Into<String>) {
        let section = if key.is_empty() { "" } else { self.section };
        let entries = self.ini.entries().iter().rev();
        let line = entries.filter(|entry| entry.section == section).find(|entry| entry.key == key);
        self.findings.push(Finding {
            code,
            severity: code.severity(),
            section: section.to_owned(),
            key: key.to_owned(),
            line: line.map(|entry| entry.line),
            message: message.into(),
        });
    }

    /// A key's value; an empty one counts as none.
    fn get(&self, key: &str) -> Option<String> {
        self.ini.value(self.section, key).filter(|value| !value.is_empty())
    }

    /// A switch; what is no boolean is a finding and counts as its default, as in Forgejo.
    fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.get(key) else { return default };
        boolean(&value).unwrap_or_else(|| {
            let code = if key == "ENABLED" { Code::EnabledNotBoolean } else { Code::NotBoolean };
            self.add(code, key, format!("no boolean, so it is {default}; write true or false"));
            default
        })
    }

    /// Values that end at a `#` or `;`.
    fn cut(&mut self) {
        let ours = self.ini.entries().iter().filter(|entry| entry.section == self.section);
        let cut: Vec<String> = ours
            .filter(|entry| {
                let line = &self.text[entry.span.clone()];
                let value = line.find(['=', ':']).map_or("", |at| line[at + 1..].trim());
                let quoted = value.starts_with('`') || value.starts_with("\"\"\"");
                // With a blank before it is a comment as people write one.
                let comment = |at: usize| at == 0 || value[..at].ends_with([' ', '\t']);
                let at = value.find(['#', ';']).filter(|_| !quoted);
                at.is_some_and(|at| crate::edit::is_password(&entry.key) || !comment(at))
            })
            .map(|entry| entry.key.clone())
            .collect();
        for key in cut {
            let message = "read up to its first # or ; only; put the whole value in backticks";
            self.add(Code::ValueCut, &key, message);
        }
    }

    /// A password and the file that it may come from instead.
    fn password(&mut self, password: &'static str, uri_key: &'static str) {
        let keys = self.ini.section(self.section).map(crate::ini::Section::keys).unwrap_or_default();
        if keys.iter().any(|key| key.name() == password && has_reference(key.raw())) {
            let message = "%(name)s is replaced and cannot be escaped; take another password";
            self.add(Code::PasswordReference, password, message);
        }
        let Some(uri) = self.get(uri_key) else { return };
        if !self.version.knows_uri() {
            let message = format!("not read before Forgejo {URI_SINCE}: there is no password then");
            self.add(Code::UriVersion, uri_key, message);
        } else if self.get(password).is_some() {
            let message = format!("{password} is set too: Forgejo ends at once; remove one of them");
            self.add(Code::BothPasswords, uri_key, message);
        }
        if !uri.strip_prefix("file:").is_some_and(safe_path) {
            let message = "write file:/path, with nothing but letters, digits, and . _ / - in it";
            self.add(Code::UriForm, uri_key, message);
        }
    }

    fn resave(&mut self) {
        let mut now = self.ini.clone();
        for _ in 0..2 {
            let Ok(next) = Ini::parse(&now.write()) else {
                let message = "once Forgejo has written app.ini itself, it cannot be read any more; \
                               quote values that begin with three quotes otherwise";
                self.add(Code::ResaveUnreadable, "", message);
                return;
            };
            now = next;
        }
        for name in [SECTION, OVERRIDE_HEADER, INCOMING] {
            let Some(section) = self.ini.section(name) else { continue };
            self.section = name;
            for key in section.keys() {
                if now.value(name, key.name()) != self.ini.value(name, key.name()) {
                    let message = "its value changes once Forgejo has written the file itself; quote it in backticks, \
                         or, if it is a password with quotes around it, take PASSWD_URI or another";
                    self.add(Code::ResaveChanges, key.name(), message);
                }
            }
        }
    }
}
