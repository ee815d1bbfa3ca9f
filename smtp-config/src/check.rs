//! What Forgejo would misread, die of, or leak by.

use crate::address::{has_unquoted_specials, mailbox};
use crate::ini::{Ini, has_reference};
use crate::mailer::{Protocol, SECTION};
use crate::route::{URI_SINCE, safe_path};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, with a risk.
    Warning,
    /// Does not do what it says.
    Error,
}

/// What is found. [`Code::as_str`] is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// A key of the past.
    Deprecated,
    /// `ENABLED` is no boolean, which Forgejo takes for false.
    EnabledNotBoolean,
    /// There is no `FROM`, and `USER` is no address.
    FromMissing,
    /// Go refuses the address.
    FromRefused,
    /// A display name with characters that belong in quotes.
    FromSpecials,
    /// A password goes over a connection without TLS.
    Plaintext,
    /// There is no `PROTOCOL`: it follows the port.
    ProtocolInferred,
    /// No such protocol: Forgejo runs it as plain SMTP.
    ProtocolUnknown,
    /// `%(name)s` in a password.
    PasswordReference,
    /// A value that changes when Forgejo writes the file itself.
    ResaveChanges,
    /// A file that cannot be read any more once Forgejo has written it itself.
    ResaveUnreadable,
    /// A STARTTLS that is stripped on the way sends the password in clear.
    StartTlsStrippable,
    /// The server's certificate is not verified.
    TlsNotVerified,
    /// `PASSWD_URI` with a path that Go decodes, or another scheme than `file:`.
    UriForm,
    /// `PASSWD_URI` before the version that has it.
    UriVersion,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The key of `[mailer]`, empty for the file.
    pub key: String,
    /// The line, from 1, where there is one.
    pub line: Option<u32>,
    /// What Forgejo does, and what to write instead. Never a secret.
    pub message: String,
}

impl Code {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deprecated => "deprecated",
            Self::EnabledNotBoolean => "enabled-not-boolean",
            Self::FromMissing => "from-missing",
            Self::FromRefused => "from-refused",
            Self::FromSpecials => "from-specials",
            Self::Plaintext => "plaintext",
            Self::ProtocolInferred => "protocol-inferred",
            Self::ProtocolUnknown => "protocol-unknown",
            Self::PasswordReference => "password-reference",
            Self::ResaveChanges => "resave-changes",
            Self::ResaveUnreadable => "resave-unreadable",
            Self::StartTlsStrippable => "starttls-strippable",
            Self::TlsNotVerified => "tls-not-verified",
            Self::UriForm => "uri-form",
            Self::UriVersion => "uri-version",
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::ProtocolInferred => Severity::Note,
            Self::Deprecated | Self::FromSpecials | Self::StartTlsStrippable => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(out, "{severity}[{}]", self.code.as_str())?;
        if let Some(line) = self.line {
            write!(out, " line {line}")?;
        }
        let colon = if self.key.is_empty() { "" } else { ": " };
        write!(out, ": {}{colon}{}", self.key, self.message)
    }
}

const DEPRECATED: &[(&str, &str)] = &[
    ("MAILER_TYPE", "PROTOCOL"),
    ("HOST", "SMTP_ADDR and SMTP_PORT"),
    ("IS_TLS_ENABLED", "PROTOCOL = smtps"),
    ("DISABLE_HELO", "ENABLE_HELO"),
    ("SKIP_VERIFY", "FORCE_TRUST_SERVER_CERT"),
    ("USE_CERTIFICATE", "USE_CLIENT_CERT"),
    ("CERT_FILE", "CLIENT_CERT_FILE"),
    ("KEY_FILE", "CLIENT_KEY_FILE"),
    ("ENABLE_HTML_ALTERNATIVE", "SEND_AS_PLAIN_TEXT"),
];

/// Every finding in `[mailer]`, as Forgejo of that major version reads it.
#[must_use]
pub fn check(ini: &Ini, forgejo: u32) -> Vec<Finding> {
    let mut checker = Checker { ini, findings: Vec::new() };
    checker.keys();
    checker.sender();
    checker.transport();
    checker.password(forgejo);
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
    ini: &'i Ini,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn add(&mut self, code: Code, key: &str, message: impl Into<String>) {
        let entries = self.ini.entries().iter().rev();
        let line = entries.filter(|entry| entry.section == SECTION).find(|entry| entry.key == key);
        self.findings.push(Finding {
            code,
            severity: code.severity(),
            key: key.to_owned(),
            line: line.map(|entry| entry.line),
            message: message.into(),
        });
    }

    /// A key's value; an empty one counts as none.
    fn get(&self, key: &str) -> Option<String> {
        self.ini.value(SECTION, key).filter(|value| !value.is_empty())
    }

    fn keys(&mut self) {
        if self.get("ENABLED").is_some_and(|value| boolean(&value).is_none()) {
            self.add(Code::EnabledNotBoolean, "ENABLED", "no boolean, so mail is off; write true or false");
        }
        for (key, instead) in DEPRECATED {
            if self.get(key).is_some() {
                self.add(Code::Deprecated, key, format!("write {instead}"));
            }
        }
        if self.get("FORCE_TRUST_SERVER_CERT").and_then(|value| boolean(&value)) == Some(true) {
            let message = "anybody on the way can read the password; remove it";
            self.add(Code::TlsNotVerified, "FORCE_TRUST_SERVER_CERT", message);
        }
    }

    fn sender(&mut self) {
        match (self.get("FROM"), self.get("USER")) {
            (Some(from), _) if mailbox(&from).is_none() => {
                self.add(Code::FromRefused, "FROM", "Forgejo ends at once; write Name <local@domain>");
            }
            (Some(from), _) if has_unquoted_specials(&from) => {
                let message = "not every version of Go takes this name; write \"Name\" <local@domain>";
                self.add(Code::FromSpecials, "FROM", message);
            }
            (None, Some(user)) if mailbox(&user).is_none() => {
                let message = "it defaults to USER, which is no address: Forgejo ends at once; write FROM";
                self.add(Code::FromMissing, "FROM", message);
            }
            _ => {}
        }
    }

    fn transport(&mut self) {
        let Some(host) = self.get("SMTP_ADDR") else { return };
        let port = self.get("SMTP_PORT").and_then(|port| port.parse::<u16>().ok());
        let (protocol, key) = match (self.get("PROTOCOL"), port) {
            (Some(written), _) => match written.as_str() {
                "smtp" => (Protocol::Smtp, "PROTOCOL"),
                "smtps" => (Protocol::Smtps, "PROTOCOL"),
                "smtp+starttls" => (Protocol::StartTls, "PROTOCOL"),
                "smtp+unix" | "sendmail" | "dummy" => return,
                _ => {
                    let message = "no such protocol, so plain SMTP is spoken; write smtps, lower case";
                    self.add(Code::ProtocolUnknown, "PROTOCOL", message);
                    return;
                }
            },
            (None, Some(port)) => {
                let protocol = Protocol::of_port(port);
                let message = format!("not written, so it follows port {port}: {protocol}");
                self.add(Code::ProtocolInferred, "PROTOCOL", message);
                (protocol, "SMTP_PORT")
            }
            (None, None) => return,
        };
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if self.get("USER").is_none() || local {
            return;
        }
        match protocol {
            Protocol::Smtp => self.add(Code::Plaintext, key, "without TLS; write PROTOCOL = smtps, port 465"),
            Protocol::StartTls => {
                let message =
                    "if somebody strips STARTTLS, the password goes out in clear; prefer smtps, port 465";
                self.add(Code::StartTlsStrippable, key, message);
            }
            Protocol::Smtps => {}
        }
    }

    fn password(&mut self, forgejo: u32) {
        let section = self.ini.section(SECTION);
        let keys = section.map(crate::ini::Section::keys).unwrap_or_default();
        if keys.iter().any(|key| key.name() == "PASSWD" && has_reference(key.raw())) {
            let message = "%(name)s is replaced and cannot be escaped; take another password";
            self.add(Code::PasswordReference, "PASSWD", message);
        }
        let Some(uri) = self.get("PASSWD_URI") else { return };
        if forgejo < URI_SINCE {
            let message = format!("taken to be read from Forgejo {URI_SINCE} on");
            self.add(Code::UriVersion, "PASSWD_URI", message);
        }
        if !uri.strip_prefix("file:").is_some_and(safe_path) {
            let message = "write file:/path, with nothing but letters, digits, and . _ / - in it";
            self.add(Code::UriForm, "PASSWD_URI", message);
        }
    }

    fn resave(&mut self) {
        let mut now = self.ini.clone();
        for _ in 0..2 {
            let Ok(next) = Ini::parse(&now.write()) else {
                let message = "once Forgejo has written it itself, it cannot be read any more";
                self.add(Code::ResaveUnreadable, "", message);
                return;
            };
            now = next;
        }
        let Some(section) = self.ini.section(SECTION) else { return };
        for key in section.keys() {
            if now.value(SECTION, key.name()) != self.ini.value(SECTION, key.name()) {
                let message =
                    "its value changes once Forgejo has written the file itself; quote it in backticks";
                self.add(Code::ResaveChanges, key.name(), message);
            }
        }
    }
}
