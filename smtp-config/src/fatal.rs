//! Settings at which Forgejo's start ends.

use crate::address::AddressError;
use crate::finding::Code;
use crate::host::HostPortError;
use crate::redact::visible;
use crate::reply_to::ReplyToError;
use crate::secret_uri::SecretUriError;
use crate::section::{INCOMING, SECTION};
use thiserror::Error;

/// A setting at which Forgejo's start ends, in the words of Forgejo's log. Secrets are not in it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fatal {
    /// A password and the URI of one are both given.
    #[error("Cannot specify both {uri_key} and {key}")]
    BothPasswords {
        /// The section of app.ini.
        section: &'static str,
        /// `PASSWD_URI` or `PASSWORD_URI`.
        uri_key: &'static str,
        /// `PASSWD` or `PASSWORD`.
        key: &'static str,
    },
    /// Go refuses `ENVELOPE_FROM`.
    #[error("Invalid mailer.ENVELOPE_FROM ({}): {reason}", visible(.value))]
    EnvelopeFrom {
        /// The refused address.
        value: String,
        /// The error of Go.
        reason: AddressError,
    },
    /// Go refuses `FROM`, or `USER` where there is no `FROM`.
    #[error("Invalid mailer.FROM ({}): {reason}", visible(.value))]
    From {
        /// The refused address.
        value: String,
        /// The error of Go.
        reason: AddressError,
        /// `FROM` is missing and `USER` stands in for it.
        by_user: bool,
    },
    /// Go cannot split the deprecated `HOST`.
    #[error("Invalid mailer.HOST ({0}): address {0}: {reason}", visible(.value))]
    Host {
        /// The refused `host:port`.
        value: String,
        /// The error of Go.
        reason: HostPortError,
    },
    /// `REPLY_TO_ADDRESS` is refused.
    #[error("Invalid incoming_mail.REPLY_TO_ADDRESS ({value}): {reason}")]
    ReplyTo {
        /// The refused address.
        value: String,
        /// The reason of Forgejo.
        reason: ReplyToError,
    },
    /// `SENDMAIL_TIMEOUT` cannot be parsed.
    #[error("Failed to parse duration for [mailer].SENDMAIL_TIMEOUT: {value:?}")]
    SendmailTimeout {
        /// The refused duration.
        value: String,
    },
    /// The URI of a password is refused. It is not shown: it may be the password itself.
    #[error("{reason} {uri_key}")]
    Uri {
        /// The section of app.ini.
        section: &'static str,
        /// `PASSWD_URI` or `PASSWORD_URI`.
        uri_key: &'static str,
        /// The fault of the URI.
        reason: SecretUriError,
    },
}

impl Fatal {
    /// Returns the section of app.ini.
    #[must_use]
    pub fn section(&self) -> &'static str {
        match self {
            Self::BothPasswords { section, .. } | Self::Uri { section, .. } => section,
            Self::EnvelopeFrom { .. }
            | Self::From { .. }
            | Self::Host { .. }
            | Self::SendmailTimeout { .. } => SECTION,
            Self::ReplyTo { .. } => INCOMING,
        }
    }

    /// Returns the key to correct.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::BothPasswords { uri_key, .. } | Self::Uri { uri_key, .. } => uri_key,
            Self::EnvelopeFrom { .. } => "ENVELOPE_FROM",
            Self::From { by_user: true, .. } => "USER",
            Self::From { .. } => "FROM",
            Self::Host { .. } => "HOST",
            Self::ReplyTo { .. } => "REPLY_TO_ADDRESS",
            Self::SendmailTimeout { .. } => "SENDMAIL_TIMEOUT",
        }
    }

    /// Returns the code of the finding for it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::BothPasswords { .. } => Code::BothPasswords,
            Self::EnvelopeFrom { .. } => Code::EnvelopeFromRefused,
            Self::From { by_user: true, .. } => Code::FromMissing,
            Self::From { value, .. } if crate::address::with_quoted_name(value).is_some() => {
                Code::FromSpecials
            }
            Self::From { .. } => Code::FromRefused,
            Self::Host { .. } => Code::Host,
            Self::ReplyTo { .. } => Code::ReplyTo,
            Self::SendmailTimeout { .. } => Code::Duration,
            Self::Uri { .. } => Code::UriForm,
        }
    }

    /// Returns the advice on what to write.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::BothPasswords { uri_key, key, .. } => format!("remove {uri_key} or {key}"),
            Self::EnvelopeFrom { .. } => "write local@domain, or <> for the null sender".to_owned(),
            Self::From { by_user: true, .. } => {
                "write FROM = Name <local@domain>: without it, FROM is USER".to_owned()
            }
            Self::From { value, .. } => match crate::address::with_quoted_name(value) {
                Some(quoted) => format!("write {quoted}"),
                None => "write Name <local@domain>".to_owned(),
            },
            Self::Host { .. } => "write SMTP_ADDR and SMTP_PORT instead".to_owned(),
            Self::ReplyTo { .. } => "write local+%{token}@domain".to_owned(),
            Self::SendmailTimeout { .. } => "write a duration with a unit, as in 5m".to_owned(),
            Self::Uri { .. } => "write file:/path".to_owned(),
        }
    }
}
