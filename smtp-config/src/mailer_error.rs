//! Errors of the typed settings.

use crate::address::AddressError;
use crate::host::UNICODE;
use crate::reply_to::ReplyToError;
use thiserror::Error;

/// Error of validating a setting. Displayed with the setting, the reason and the fix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailerError {
    /// The address is not valid for Go's `net/mail`, so that Forgejo would not start.
    #[error("{key}: {value}: {reason}, and Forgejo would not start: write Name <local@domain>")]
    Address {
        /// Name of the setting: `from` or `envelope_from`.
        key: &'static str,
        /// The rejected address.
        value: String,
        /// Error that Go returns.
        reason: AddressError,
    },
    /// An argument of sendmail contains a line break or a NUL byte.
    #[error("sendmail_args: a line break in an argument: write one argument a string")]
    Argument,
    /// A header's name is empty or contains other characters than ASCII letters, digits and `-`, or its value contains
    /// a line break or a NUL byte. Contains the name.
    #[error(
        "headers: {0}: not a valid header: write letters, digits and - in the name, no line break in the value"
    )]
    Header(String),
    /// The host name or address is empty or malformed.
    #[error("{key}: {value}: {fault}: {fix}")]
    Host {
        /// Name of the setting: `host` or `incoming.host`.
        key: &'static str,
        /// The rejected host.
        value: String,
        /// Description of the fault.
        fault: &'static str,
        /// Action that corrects it.
        fix: &'static str,
    },
    /// A path that must be absolute is relative.
    #[error("{key}: {value}: not an absolute path: begin it with /")]
    Path {
        /// Name of the setting: `socket` or `sendmail`.
        key: &'static str,
        /// The relative path.
        value: String,
    },
    /// The port of the SMTP server is 0, which is not valid. That of incoming mail is not checked.
    #[error("port: 0: not a valid port: expected a number from 1 to 65535")]
    Port,
    /// Forgejo would reject `REPLY_TO_ADDRESS`.
    #[error("incoming.reply_to: {0}: write local+%{{token}}@domain")]
    ReplyTo(#[source] ReplyToError),
    /// The host name has characters other than ASCII, for which Go does not ask the DNS.
    #[error("{key}: {value}: {UNICODE}: {fix}")]
    UnicodeHost {
        /// Name of the setting: `host` or `incoming.host`.
        key: &'static str,
        /// The rejected host.
        value: String,
        /// Action that corrects it, with the A-labels of the name.
        fix: String,
    },
    /// The configured version of Forgejo does not read a setting.
    #[error("{key}: not read before Forgejo {since}: remove it")]
    Version {
        /// Name of the setting.
        key: &'static str,
        /// First version that reads it.
        since: u32,
    },
}

impl MailerError {
    /// Returns the name of the setting, such as `incoming.host`.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Address { key, .. }
            | Self::Host { key, .. }
            | Self::Path { key, .. }
            | Self::UnicodeHost { key, .. } => key,
            Self::Argument => "sendmail_args",
            Self::Header(_) => "headers",
            Self::Port => "port",
            Self::ReplyTo(_) => "incoming.reply_to",
            Self::Version { key, .. } => key,
        }
    }
}
