//! Settings file in TOML.

use crate::reference::SecretReference;
use clap::ValueEnum;
use cli_support::document::Source;
use cli_support::finding::{Finding, Findings};
use cli_support::outcome::Failure;
use cli_support::words::Words;
use serde::Deserialize;
use smtp_config::Protocol;
use std::collections::BTreeMap;
use std::path::Path;

/// Protocol of a connection, as written in the file and on the command line.
#[derive(Clone, Copy, Debug, Deserialize, ValueEnum)]
pub(crate) enum Security {
    #[serde(rename = "smtp")]
    Smtp,
    #[serde(rename = "smtps")]
    Smtps,
    #[value(name = "smtp+starttls")]
    #[serde(rename = "smtp+starttls")]
    StartTls,
}

impl From<Security> for Protocol {
    /// Converts to the protocol of the library.
    fn from(security: Security) -> Self {
        match security {
            Security::Smtp => Self::Smtp,
            Security::Smtps => Self::Smtps,
            Security::StartTls => Self::StartTls,
        }
    }
}

/// Settings in the file. Every key is optional; unknown keys are rejected. See SETTINGS.md.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SettingsFile {
    pub(crate) from: Option<String>,
    pub(crate) preset: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<Security>,
    pub(crate) socket: Option<String>,
    pub(crate) sendmail: Option<String>,
    pub(crate) sendmail_args: Vec<String>,
    pub(crate) envelope_from: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretReference>,
    pub(crate) password_file: Option<String>,
    pub(crate) subject_prefix: Option<String>,
    pub(crate) helo: Option<String>,
    pub(crate) plain_text: bool,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) incoming: Option<IncomingFile>,
}

/// The table `incoming` of the settings file. `reply_to`, `host` and `username` are required.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IncomingFile {
    pub(crate) reply_to: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) tls: Option<bool>,
    pub(crate) username: String,
    pub(crate) password: Option<SecretReference>,
    pub(crate) password_file: Option<String>,
    pub(crate) mailbox: Option<String>,
    pub(crate) delete_handled: Option<bool>,
    pub(crate) maximum_size: Option<u32>,
}

/// Hints for mistakes in a settings file: keys and values of other programs, and examples.
const WORDS: Words = Words {
    foreign: &[
        ("smtp_addr", "write host"),
        ("smtp_host", "write host"),
        ("server", "write host"),
        ("smtp_port", "write port"),
        ("passwd", "write password = \"file:/run/secrets/…\""),
        ("pass", "write password = \"file:/run/secrets/…\""),
        ("username", "write user"),
        ("login", "write user"),
        ("mail_from", "write from"),
        ("sender", "write from"),
        ("tls", "write protocol = \"smtps\" or \"smtp+starttls\", or leave it to the port"),
        ("starttls", "write protocol = \"smtp+starttls\""),
        ("ssl", "write protocol = \"smtps\""),
        ("mailer_type", "leave it out: host, socket or sendmail says it"),
        ("helo_hostname", "write helo"),
        ("reply_to", "write it in [incoming]"),
    ],
    values: &[
        ("tls", "smtps"),
        ("ssl", "smtps"),
        ("starttls", "smtp+starttls"),
        ("smtp+tls", "smtps"),
        ("smtp+unix", "socket = \"/path\" instead"),
        ("sendmail", "sendmail = \"/path\" instead"),
    ],
    examples: &[
        ("reply_to", "reply_to = \"incoming+%{token}@example.org\""),
        ("host", "host = \"imap.example.org\""),
        ("username", "username = \"incoming@example.org\""),
    ],
    secrets: &["password"],
};

/// Reads the text of the settings file, whose path is `file`, and passes the settings to `meaning`, which interprets
/// them.
///
/// # Errors
/// Returns a [`Failure`] with the errors of syntax, or with those of keys and values and those of `meaning` together.
pub(crate) fn interpret<R>(
    file: &Path,
    text: &str,
    meaning: impl FnOnce(&Source<'_>, SettingsFile) -> Result<R, Findings>,
) -> Result<R, Failure> {
    Ok(Source::parse(&file.display().to_string(), text, WORDS)?.interpret(&[], meaning)?)
}

/// Returns an error of a setting at its place in the file. The key and the value at the beginning of the message `why`
/// are cut off, since the place has them.
pub(crate) fn fault(source: &Source<'_>, key: &str, why: &str) -> Finding {
    let found = source.fault_at(key, without_key(key, why));
    match without_value(found.value.as_deref(), &found.message) {
        Some(rest) => source.fault_at(key, rest),
        None => found,
    }
}

/// Returns a message without `KEY: ` at its beginning, or the whole message if it begins with something else.
pub(crate) fn without_key<'w>(key: &str, why: &'w str) -> &'w str {
    why.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(why)
}

/// Returns a message without the value, without its quotes, and `: ` at its beginning. `None` if there is no value or
/// the message begins with something else.
pub(crate) fn without_value(value: Option<&str>, message: &str) -> Option<String> {
    let value = value?.trim_matches(['"', '\'']);
    Some(message.strip_prefix(value)?.strip_prefix(": ")?.to_owned())
}

#[cfg(test)]
mod reference_tests {
    use super::*;
    use cli_support::reference::{keys, known_keys};

    #[test]
    fn the_reference_has_the_keys_that_are_read_and_no_others() {
        let text = include_str!("../SETTINGS.md");
        for (heading, before) in [("Top level", ""), ("[incoming]", "[incoming]\n")] {
            assert_eq!(keys(text, heading), known_keys::<SettingsFile>(before), "{heading}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("## ")).count(), 2);
    }
}
