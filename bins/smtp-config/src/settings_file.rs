//! The file of settings, TOML as it is written.

use clap::ValueEnum;
use cli_support::outcome::Failure;
use cli_support::secret::Reference;
use serde::Deserialize;
use smtp_config::Protocol;
use std::collections::BTreeMap;
use std::path::Path;

/// The protocol of a connection, as it is written.
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
    fn from(security: Security) -> Self {
        match security {
            Security::Smtp => Self::Smtp,
            Security::Smtps => Self::Smtps,
            Security::StartTls => Self::StartTls,
        }
    }
}

/// The settings in the file.
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

impl SettingsFile {
    /// Reads a file.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = crate::files::read(file)?;
        toml::from_str(&text).map_err(|why| {
            let at = why.span().map_or(0, |span| span.start.min(text.len()));
            let begin = text[..at].rfind('\n').map_or(0, |at| at + 1);
            let line = text[..at].matches('\n').count() + 1;
            let key = text[begin..].split(['=', '\n']).next().unwrap_or_default().trim();
            // The value is not shown where it may be a password.
            let message = expected(why.message(), key);
            let place = format!("{}:{line}:{}", file.display(), text[begin..at].chars().count() + 1);
            Failure::Configuration(if key.is_empty() || message.contains(&format!("`{key}`")) {
                format!("{place}: {message}")
            } else {
                format!("{place}: {key}: {message}")
            })
        })
    }
}

/// Returns a message of the parser in the words of this program.
fn expected(message: &str, key: &str) -> String {
    let unquoted =
        message.strip_prefix("invalid type: string ").and_then(|rest| rest.split_once(", expected "));
    match unquoted {
        _ if key.contains("password") && !message.contains("reference") => {
            "not a valid reference to a secret: write file:/path, in quotes".to_owned()
        }
        Some((_, "u16")) => "expected a port, a number from 1 to 65535: write it without quotes".to_owned(),
        Some((_, "u32")) => "expected a number of bytes: write it without quotes".to_owned(),
        Some((_, "a boolean")) => "expected a boolean: write true or false, without quotes".to_owned(),
        _ if message.ends_with("expected a string") => "expected a string: put it in quotes".to_owned(),
        _ if message.contains("expected u16") => "expected a port, a number from 1 to 65535".to_owned(),
        _ => message.to_owned(),
    }
}

/// Returns the line and column of a key in a file of settings, such as `port` or `incoming.host`.
pub(crate) fn position(text: &str, key: &str) -> Option<(usize, usize)> {
    let (table, key) = key.split_once('.').unwrap_or(("", key));
    let mut current = String::new();
    for (number, line) in text.lines().enumerate() {
        let plain = line.trim();
        if let Some(name) = plain.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            current = name.trim().to_owned();
            if table.is_empty() && name.trim() == key {
                return Some((number + 1, 1));
            }
        }
        if current == table && plain.split('=').next().is_some_and(|name| name.trim() == key) {
            return Some((number + 1, line.len() - line.trim_start().len() + 1));
        }
    }
    None
}
