//! `[email.incoming]`: mail that is read back, for answers by mail.

use crate::address::mailbox;
use secrecy::SecretString;
use thiserror::Error;

/// The section of app.ini.
pub const INCOMING: &str = "email.incoming";

/// What stands in the address for the token of a conversation.
pub const TOKEN: &str = "%{token}";

/// Why Forgejo would end at once because of `REPLY_TO_ADDRESS`.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyToError {
    /// Go refuses the address.
    #[error("Go refuses the address")]
    Refused,
    /// It has a display name.
    #[error("it has a name before the address")]
    Name,
    /// There is no token.
    #[error("%{{token}} is missing")]
    NoToken,
    /// There is more than one.
    #[error("%{{token}} stands in it more than once")]
    ManyTokens,
    /// The token stands behind the `@`.
    #[error("%{{token}} stands behind the @")]
    TokenInDomain,
}

/// Whether Forgejo takes an address for `REPLY_TO_ADDRESS`: bare, with exactly one `%{token}`, before the `@`.
///
/// # Errors
///
/// Why it would end at once.
pub fn reply_to(address: &str) -> Result<(), ReplyToError> {
    if mailbox(address).is_none() {
        return Err(ReplyToError::Refused);
    }
    // What Go takes and is no bare address has a name, a comment or angle brackets.
    if address.contains(['<', '(', '"', ' ']) {
        return Err(ReplyToError::Name);
    }
    match address.matches(TOKEN).count() {
        0 => Err(ReplyToError::NoToken),
        1 if address.split('@').next().is_some_and(|local| local.contains(TOKEN)) => Ok(()),
        1 => Err(ReplyToError::TokenInDomain),
        _ => Err(ReplyToError::ManyTokens),
    }
}

/// Incoming mail over IMAP. `Debug` does not show the password.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The address of answers, with one `%{token}` before the `@`.
    pub reply_to: String,
    /// The IMAP server.
    pub host: String,
    /// Its port; without it 993 with TLS and 143 without.
    pub port: Option<u16>,
    /// Whether TLS begins with the first byte.
    pub tls: bool,
    /// The account.
    pub username: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// The mailbox; without it `INBOX`.
    pub mailbox: Option<String>,
    /// Whether a message that was handled is deleted.
    pub delete_handled: bool,
    /// The longest message that is read, in bytes.
    pub maximum_size: Option<u32>,
}

impl Incoming {
    /// Over TLS, with the mailbox `INBOX`, whose handled messages are deleted, as Forgejo does unless told otherwise.
    #[must_use]
    pub fn new(reply_to: &str, host: &str, username: &str) -> Self {
        Self {
            reply_to: reply_to.to_owned(),
            host: host.to_owned(),
            port: None,
            tls: true,
            username: username.to_owned(),
            password: None,
            mailbox: None,
            delete_handled: true,
            maximum_size: None,
        }
    }

    /// The keys of `[email.incoming]` without the password. The port is always written: before Forgejo 8 it is not
    /// inferred.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let port = self.port.unwrap_or(if self.tls { 993 } else { 143 });
        let mut settings = vec![
            ("ENABLED", "true".to_owned()),
            ("REPLY_TO_ADDRESS", self.reply_to.clone()),
            ("HOST", self.host.clone()),
            ("PORT", port.to_string()),
            ("USE_TLS", self.tls.to_string()),
            ("USERNAME", self.username.clone()),
            ("DELETE_HANDLED_MESSAGE", self.delete_handled.to_string()),
        ];
        settings.extend(self.mailbox.iter().map(|name| ("MAILBOX", name.clone())));
        settings.extend(self.maximum_size.iter().map(|size| ("MAXIMUM_MESSAGE_SIZE", size.to_string())));
        settings
    }
}
