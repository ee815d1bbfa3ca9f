//! Settings of incoming mail, which is read over IMAP for answers by mail.

use secrecy::SecretString;

/// Incoming mail over IMAP. `Debug` does not show the password.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The address of answers, with one `%{token}` before the `@`.
    pub reply_to: String,
    /// The IMAP server.
    pub host: String,
    /// The port; `None` is 993 with TLS and 143 without.
    pub port: Option<u16>,
    /// TLS begins with the first byte.
    pub tls: bool,
    /// The account of the mailbox.
    pub username: String,
    /// The password of the account.
    pub password: Option<SecretString>,
    /// The mailbox; `None` is `INBOX`.
    pub mailbox: Option<String>,
    /// Handled messages are deleted.
    pub delete_handled: bool,
    /// The longest message that is read, in bytes.
    pub maximum_size: Option<u32>,
}

impl Incoming {
    /// Reads `INBOX` over TLS and deletes handled messages, as Forgejo does by default.
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

    /// Returns the keys of `[email.incoming]` without the password. The port is always written: before Forgejo 8 it is not
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
