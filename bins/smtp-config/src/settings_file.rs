//! Settings file in TOML.

use clap::ValueEnum;
use cli_support::document::Source;
use cli_support::finding::{Finding, Findings};
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
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
    pub(crate) password: Option<Reference>,
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
    pub(crate) password: Option<Reference>,
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

/// A parsed settings file, with the places of its values.
pub(crate) struct SettingsSource<'t>(Source<'t>);

impl<'t> SettingsSource<'t> {
    /// Parses the text of the settings file at `file`.
    ///
    /// # Errors
    /// Returns a [`Failure`] if it is not valid TOML.
    pub(crate) fn parse(file: &Path, text: &'t str) -> Result<Self, Failure> {
        Ok(Self(Source::parse(&file.display().to_string(), text, WORDS)?))
    }

    /// Returns the settings.
    ///
    /// # Errors
    /// Returns a [`Failure`] if a key is unknown or missing, or a value has another type.
    pub(crate) fn settings(&self) -> Result<SettingsFile, Failure> {
        Ok(self.0.deserialize()?)
    }

    /// Returns the failure of a setting that could not be used, with its place in the file.
    pub(crate) fn failure_at(&self, key: &str, why: &str) -> Failure {
        Findings::new(vec![self.fault(key, why)]).into()
    }

    /// Returns a fault of a setting at its place. Key and value are removed from the beginning of the message, since
    /// the place contains them.
    pub(crate) fn fault(&self, key: &str, why: &str) -> Finding {
        let plain = why.strip_prefix(key).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(why);
        let found = self.0.fault_at(key, plain);
        let value = found.value.as_deref().map(|value| value.trim_matches(['"', '\'']).to_owned());
        let rest = value.and_then(|value| plain.strip_prefix(&value)?.strip_prefix(": ").map(str::to_owned));
        match rest {
            Some(rest) => self.0.fault_at(key, rest),
            None => found,
        }
    }
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
