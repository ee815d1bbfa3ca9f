//! Settings that stop Forgejo from starting.

use crate::address::AddressError;
use crate::finding::Code;
use crate::host::HostPortError;
use crate::redact::visible;
use crate::reply_to::ReplyToError;
use crate::secret_uri::SecretUriError;
use crate::section::{INCOMING, SECTION};
use thiserror::Error;

/// A setting that stops Forgejo from starting. Displayed as in Forgejo's log, without secrets.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fatal {
    /// Both a password and the URI of a password file are set.
    #[error("Cannot specify both {uri_key} and {key}")]
    BothPasswords {
        /// Name of the section.
        section: &'static str,
        /// `PASSWD_URI` or `PASSWORD_URI`.
        uri_key: &'static str,
        /// `PASSWD` or `PASSWORD`.
        key: &'static str,
    },
    /// `ENVELOPE_FROM` is not a valid address for Go's `net/mail`.
    #[error("Invalid mailer.ENVELOPE_FROM ({}): {reason}", visible(.value))]
    EnvelopeFrom {
        /// The rejected address.
        value: String,
        /// Error that Go returns.
        reason: AddressError,
    },
    /// `FROM`, or `USER` if there is no `FROM`, is not a valid address for Go's `net/mail`.
    #[error("Invalid mailer.FROM ({}): {reason}", visible(.value))]
    From {
        /// The rejected address.
        value: String,
        /// Error that Go returns.
        reason: AddressError,
        /// Whether `FROM` is missing, so that `USER` is used.
        by_user: bool,
    },
    /// The deprecated `HOST` is not a valid `host:port`.
    #[error("Invalid mailer.HOST ({0}): address {0}: {reason}", visible(.value))]
    Host {
        /// The rejected text.
        value: String,
        /// Error that Go returns.
        reason: HostPortError,
    },
    /// `REPLY_TO_ADDRESS` is not valid for Forgejo.
    #[error("Invalid incoming_mail.REPLY_TO_ADDRESS ({value}): {reason}")]
    ReplyTo {
        /// The rejected address.
        value: String,
        /// Reason in Forgejo's log.
        reason: ReplyToError,
    },
    /// `SENDMAIL_TIMEOUT` is not a valid duration (from version 17).
    #[error("Failed to parse duration for [mailer].SENDMAIL_TIMEOUT: {value:?}")]
    SendmailTimeout {
        /// The rejected text.
        value: String,
    },
    /// The URI of a password file is not valid. It is not included, since it may be the password itself.
    #[error("{reason} {uri_key}")]
    Uri {
        /// Name of the section.
        section: &'static str,
        /// `PASSWD_URI` or `PASSWORD_URI`.
        uri_key: &'static str,
        /// Reason in Forgejo's log.
        reason: SecretUriError,
    },
}

impl Fatal {
    /// Returns the name of the section: `mailer` or `email.incoming`.
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

    /// Returns the name of the key to correct. `PASSWD_URI` or `PASSWORD_URI` if both passwords are set.
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

    /// Returns the code of the corresponding finding.
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

    /// Returns the action that corrects the setting, without the reason.
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
