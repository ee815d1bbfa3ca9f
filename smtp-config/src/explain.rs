//! Explanation of an app.ini: the result of Forgejo's start, and the effect of each key.

use crate::effective::{EffectiveMailer, EffectiveTransport, Helo, Origin, Password, effective};
use crate::effective_incoming::effective_incoming;
use crate::fatal::Fatal;
use crate::ini::{Ini, Section};
use crate::redact::visible_value;
use crate::section::{INCOMING, OVERRIDE_HEADER, SECTION};
use crate::version::Version;
use std::collections::HashMap;
use std::fmt;

/// Result of Forgejo's start with these settings. Displayed as a verb phrase whose subject is Forgejo.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Start {
    /// Forgejo does not start, because of this setting.
    Fatal(Fatal),
    /// Forgejo starts, and outgoing mail is disabled.
    Off,
    /// Forgejo starts, and outgoing mail is enabled, with these settings. With [`EffectiveTransport::Dummy`], messages are
    /// written to the log only.
    Sends(Box<EffectiveMailer>),
}

impl fmt::Display for Start {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fatal(why) => write!(out, "does not start: {why}: {}", why.fix()),
            Self::Off => out.write_str("sends no mail: ENABLED is not true"),
            Self::Sends(mailer) => summary(mailer, out),
        }
    }
}

/// One key that Forgejo reads, with its effective value, the origin of that value and its effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedKey {
    /// Name of the section.
    pub section: String,
    /// Name of the key.
    pub key: String,
    /// Effective value. `None` if it may contain a secret.
    pub value: Option<String>,
    /// Source of the value: a line, or the setting from which it is derived. Empty if the key is in no line.
    pub from: String,
    /// Effect of the key on Forgejo, as a phrase.
    pub effect: &'static str,
}

/// Explanation of the mail sections of an app.ini.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// Result of Forgejo's start.
    pub outcome: Start,
    /// Keys that are written, in the order of the file, followed by those that are implied if Forgejo sends mail.
    pub keys: Vec<ExplainedKey>,
}

/// Explains the mail sections by what [`effective`] and [`effective_incoming`] load from them.
#[must_use]
pub fn explain(ini: &Ini, version: Version) -> Explanation {
    // Forgejo loads the mailer first.
    let loaded = effective(ini, version);
    let outcome = match (loaded, effective_incoming(ini, version)) {
        (Err(why), _) | (Ok(_), Err(why)) => Start::Fatal(why),
        (Ok(None), Ok(_)) => Start::Off,
        (Ok(Some(mailer)), Ok(_)) => Start::Sends(Box::new(mailer)),
    };
    let lines: HashMap<(&str, &str), u32> = ini
        .entries()
        .iter()
        .map(|entry| ((entry.section.as_str(), entry.key.as_str()), entry.line))
        .collect();
    let mut keys: Vec<ExplainedKey> = Vec::new();
    for section in [SECTION, OVERRIDE_HEADER, INCOMING] {
        for key in ini.section(section).map(Section::keys).unwrap_or_default() {
            let key = key.name();
            let value = ini.value(section, key).unwrap_or_default();
            keys.push(ExplainedKey {
                section: section.to_owned(),
                key: key.to_owned(),
                value: visible_value(key, &value).map(str::to_owned),
                from: lines.get(&(section, key)).map_or_else(String::new, |line| format!("line {line}")),
                effect: effect(section, key),
            });
        }
    }
    if let Start::Sends(mailer) = &outcome {
        for (key, value, from) in implied_values(mailer) {
            let written = keys.iter_mut().find(|row| row.section == SECTION && row.key == key);
            if let Some(row) = written {
                // An empty value counts as missing.
                if ini.value(SECTION, key).is_some_and(|held| held.is_empty()) && !value.is_empty() {
                    row.value = Some(value);
                    row.from = format!("{}, empty: {from}", row.from);
                }
            } else {
                keys.push(ExplainedKey {
                    section: SECTION.to_owned(),
                    key: key.to_owned(),
                    value: Some(value),
                    from: from.to_owned(),
                    effect: effect(SECTION, key),
                });
            }
        }
    }
    Explanation { outcome, keys }
}

/// Writes how messages are sent: the transport, how it was determined if not by `PROTOCOL`, and server and port or
/// program.
fn summary(mailer: &EffectiveMailer, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let origin = match mailer.origin {
        Origin::Written => "",
        Origin::Inferred => " (inferred from the port or the host)",
        Origin::Deprecated => " (by a deprecated key)",
        Origin::Unknown => " (since it does not know the value of PROTOCOL)",
    };
    match mailer.transport {
        EffectiveTransport::Dummy => out.write_str("writes messages to its log only"),
        EffectiveTransport::Sendmail => write!(out, "runs {}", mailer.sendmail.path),
        EffectiveTransport::Unix => {
            write!(out, "speaks SMTP over the socket {}{origin}", mailer.shown_host())
        }
        EffectiveTransport::Network(protocol) => {
            write!(out, "speaks {protocol}{origin} to {} port {}", mailer.shown_host(), mailer.port)
        }
    }
}

/// Returns key, value and source of the settings of `[mailer]` that apply if they are missing or empty. Protocol, port
/// and host only for transports that use them, and `PASSWD` only if there is no password.
fn implied_values(mailer: &EffectiveMailer) -> Vec<(&'static str, String, &'static str)> {
    let mut rows = Vec::new();
    if let EffectiveTransport::Network(protocol) = mailer.transport {
        let from = if mailer.origin == Origin::Deprecated { "a deprecated key" } else { "inferred" };
        rows.push(("PROTOCOL", protocol.to_string(), from));
        rows.push(("SMTP_PORT", mailer.port.clone(), "inferred"));
    }
    if mailer.transport == EffectiveTransport::Sendmail && mailer.origin == Origin::Deprecated {
        rows.push(("PROTOCOL", "sendmail".to_owned(), "a deprecated key"));
    }
    if matches!(mailer.transport, EffectiveTransport::Network(_) | EffectiveTransport::Unix) {
        rows.push(("SMTP_ADDR", mailer.shown_host().to_owned(), "HOST"));
    }
    rows.push(("USER", mailer.user.clone(), "default"));
    rows.push(("FROM", mailer.from.clone(), "USER"));
    rows.push(("ENVELOPE_FROM", mailer.envelope_from.clone(), "FROM"));
    let helo = match &mailer.helo {
        Helo::Localhost => "localhost".to_owned(),
        Helo::Machine => "the machine's name".to_owned(),
        Helo::Name(name) => name.clone(),
    };
    rows.push(("HELO_HOSTNAME", helo, "default"));
    rows.push(("FORCE_TRUST_SERVER_CERT", mailer.accepts_any_certificate.to_string(), "default"));
    if let Password::None = mailer.password {
        rows.push(("PASSWD", "none".to_owned(), "default"));
    }
    rows
}

/// Returns the effect of a key, as a phrase. Any key without an own entry has the effect `none: Forgejo does not read
/// it`.
fn effect(section: &str, key: &str) -> &'static str {
    match (section, key) {
        (OVERRIDE_HEADER, _) => "sets the header on every message; a comma separates values",
        (_, "ENABLED") => "turns it on; anything but a boolean is off",
        (INCOMING, "REPLY_TO_ADDRESS") => "the address of answers; %{token} becomes the conversation's token",
        (INCOMING, "HOST") => "the IMAP server",
        (INCOMING, "PORT") => "the port of the IMAP server",
        (INCOMING, "USE_TLS") => "TLS from the first byte",
        (INCOMING, "USERNAME" | "USER") => "the account",
        (INCOMING, "PASSWORD" | "PASSWD") => "the account's password",
        (INCOMING, "PASSWORD_URI") => "reads the password from the file, trimmed",
        (INCOMING, "MAILBOX") => "the mailbox that is read",
        (INCOMING, "DELETE_HANDLED_MESSAGE") => "deletes handled messages",
        (INCOMING, "MAXIMUM_MESSAGE_SIZE") => "skips longer messages",
        (_, "PROTOCOL") => "the protocol; an unknown value is plain SMTP",
        (_, "SMTP_ADDR") => "the server, whose certificate must be valid for this name",
        (_, "SMTP_PORT") => "the port; without PROTOCOL it determines the protocol",
        (_, "FROM") => "the sender; Forgejo does not start when Go refuses it",
        (_, "ENVELOPE_FROM") => "the sender of the envelope, for bounces and SPF",
        (_, "USER") => "the account; with it a server without AUTH is an error",
        (_, "PASSWD") => "the account's password",
        (_, "PASSWD_URI") => "reads the password from the file, trimmed, from Forgejo 13 on",
        (_, "SUBJECT_PREFIX") => "the text before each subject",
        (_, "SEND_AS_PLAIN_TEXT") => "leaves HTML out",
        (_, "ENABLE_HELO" | "HELO_HOSTNAME") => "the name in EHLO",
        (_, "FORCE_TRUST_SERVER_CERT") => "accepts any certificate",
        (_, "USE_CLIENT_CERT" | "CLIENT_CERT_FILE" | "CLIENT_KEY_FILE") => "presents a client certificate",
        (_, "SENDMAIL_PATH" | "SENDMAIL_ARGS" | "SENDMAIL_TIMEOUT" | "SENDMAIL_CONVERT_CRLF") => {
            "how sendmail is run"
        }
        (_, "FROM_DISPLAY_NAME_FORMAT") => "the name beside the address, from Forgejo 9 on",
        (
            _,
            "MAILER_TYPE" | "HOST" | "IS_TLS_ENABLED" | "DISABLE_HELO" | "SKIP_VERIFY" | "USE_CERTIFICATE",
        ) => "deprecated: read only where its successor is missing",
        _ => "none: Forgejo does not read it",
    }
}
