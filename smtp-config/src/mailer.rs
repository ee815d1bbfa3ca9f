//! Typed settings.

use secrecy::SecretString;
use std::fmt;

/// The section of app.ini.
pub const SECTION: &str = "mailer";

/// How the connection is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// No TLS.
    Smtp,
    /// TLS from the first byte.
    Smtps,
    /// TLS after STARTTLS.
    StartTls,
}

impl Protocol {
    /// What Forgejo infers from a port: any but 25 and 587 is TLS from the first byte.
    #[must_use]
    pub fn of_port(port: u16) -> Self {
        match port {
            25 => Self::Smtp,
            587 => Self::StartTls,
            _ => Self::Smtps,
        }
    }

    /// As app.ini has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::StartTls => "smtp+starttls",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A mailer. [`Mailer::new`] is Mailjet over TLS; `host` and `port` point it elsewhere.
#[derive(Clone, Debug)]
pub struct Mailer {
    /// The sender: `Name <local@domain>`.
    pub from: String,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured; `None` follows the port.
    pub protocol: Option<Protocol>,
    /// The account.
    pub user: Option<String>,
    /// Its password. `Debug` does not show it.
    pub password: Option<SecretString>,
}

impl Mailer {
    /// Mailjet, implicit TLS.
    #[must_use]
    pub fn new(from: &str) -> Self {
        Self {
            from: from.to_owned(),
            host: "in-v3.mailjet.com".to_owned(),
            port: 465,
            protocol: None,
            user: None,
            password: None,
        }
    }

    /// The protocol, and whether it follows the port.
    #[must_use]
    pub fn protocol(&self) -> (Protocol, bool) {
        (self.protocol.unwrap_or_else(|| Protocol::of_port(self.port)), self.protocol.is_none())
    }

    /// The keys of `[mailer]` without the password.
    #[must_use]
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("ENABLED", "true".to_owned()),
            ("PROTOCOL", self.protocol().0.to_string()),
            ("SMTP_ADDR", self.host.clone()),
            ("SMTP_PORT", self.port.to_string()),
            ("FROM", self.from.clone()),
        ];
        settings.extend(self.user.iter().map(|user| ("USER", user.clone())));
        settings
    }
}

/// A provider's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The server.
    pub host: &'static str,
    /// The port to prefer.
    pub port: u16,
    /// What the account is.
    pub user: &'static str,
}

/// The providers that have one server for everybody.
pub const PRESETS: &[Preset] = &[
    Preset { name: "mailjet", host: "in-v3.mailjet.com", port: 465, user: "the API key" },
    Preset { name: "postmark", host: "smtp.postmarkapp.com", port: 587, user: "the server token" },
    Preset { name: "sendgrid", host: "smtp.sendgrid.net", port: 465, user: "apikey" },
    Preset { name: "mailgun", host: "smtp.mailgun.org", port: 465, user: "the SMTP login" },
    Preset { name: "brevo", host: "smtp-relay.brevo.com", port: 587, user: "the login" },
    Preset { name: "resend", host: "smtp.resend.com", port: 465, user: "resend" },
    Preset { name: "fastmail", host: "smtp.fastmail.com", port: 465, user: "the address" },
    Preset { name: "gmail", host: "smtp.gmail.com", port: 465, user: "the address" },
    Preset { name: "proton", host: "smtp.protonmail.ch", port: 587, user: "the address of the SMTP token" },
    Preset { name: "zoho", host: "smtp.zoho.com", port: 465, user: "the address" },
    Preset { name: "icloud", host: "smtp.mail.me.com", port: 587, user: "the address" },
];
