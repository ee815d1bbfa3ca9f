//! Settings of incoming mail: replies that Forgejo reads from a mailbox over IMAP.

use secrecy::SecretString;

/// Settings of incoming mail. `Debug` does not print the password.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Address for replies by mail, with one `%{token}` before the `@`, and without a display name.
    pub reply_to: String,
    /// Host name or address of the IMAP server.
    pub host: String,
    /// TCP port. `None` selects 993 with TLS and 143 without.
    pub port: Option<u16>,
    /// Whether implicit TLS is used. Forgejo does not support STARTTLS here.
    pub tls: bool,
    /// User name of the mailbox.
    pub username: String,
    /// Password of the mailbox. [`Incoming::settings`] omits it.
    pub password: Option<SecretString>,
    /// Name of the mailbox. `None` selects `INBOX`.
    pub mailbox: Option<String>,
    /// Whether handled messages are deleted.
    pub delete_handled: bool,
    /// Maximum size of a message that is read, in bytes. `None` selects Forgejo's default of 10,485,760.
    pub maximum_size: Option<u32>,
}

impl Incoming {
    /// Creates settings that read `INBOX` with implicit TLS and delete handled messages. There is no password. Nothing
    /// is validated; see [`crate::Mailer::faults`].
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

    /// Returns the keys of `[email.incoming]` with their values, in the order in which they are written, without the
    /// password. The port is always included, since Forgejo before 8 does not infer it.
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
