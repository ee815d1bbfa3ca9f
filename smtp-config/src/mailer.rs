//! Typed settings.

use crate::address::mailbox;
use crate::incoming::{INCOMING, Incoming, ReplyToError, reply_to};
use secrecy::SecretString;
use std::fmt;
use thiserror::Error;

/// The section of app.ini.
pub const SECTION: &str = "mailer";

/// The section of the headers that Forgejo sets on every message, from version 8 on.
pub const OVERRIDE_HEADER: &str = "mailer.override_header";

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

    /// The port that Forgejo infers.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Smtps => 465,
            Self::StartTls => 587,
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

/// A server in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, which its certificate must have, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured; `None` follows the port.
    pub protocol: Option<Protocol>,
}

/// The way of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// SMTP over TCP.
    Network(Server),
    /// The program `sendmail` of this machine, by its path, with arguments before the recipients.
    Sendmail {
        /// The program.
        path: String,
        /// Its arguments, without the `--` that is put behind them.
        args: Vec<String>,
    },
    /// SMTP over a Unix socket, by its path.
    Unix(String),
}

/// A mailer. [`Mailer::new`] is Mailjet over TLS; [`Mailer::server`] points it elsewhere.
#[derive(Clone, Debug)]
pub struct Mailer {
    /// The sender: `Name <local@domain>`.
    pub from: String,
    /// The way of a message.
    pub transport: Transport,
    /// The account.
    pub user: Option<String>,
    /// Its password. `Debug` does not show it.
    pub password: Option<SecretString>,
    /// The sender of the envelope where it is not the one of the message; `<>` is the null sender.
    pub envelope_from: Option<String>,
    /// What stands before each subject.
    pub subject_prefix: Option<String>,
    /// The name for EHLO, where it is not the one of the machine.
    pub helo: Option<String>,
    /// Whether messages have no HTML.
    pub plain_text: bool,
    /// Headers that are set on every message, from Forgejo 8 on. A comma separates several values.
    pub headers: Vec<(String, String)>,
    /// Incoming mail.
    pub incoming: Option<Incoming>,
}

/// What settings cannot be.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailerError {
    /// Go refuses the address, and Forgejo ends at once.
    #[error("{0}: Go refuses this address, and Forgejo ends at once; write Name <local@domain>")]
    Address(&'static str),
    /// A host that is none.
    #[error("host: {0}")]
    Host(&'static str),
    /// A port that is none.
    #[error("port: 0 is no port")]
    Port,
    /// A path that is not absolute.
    #[error("{0}: write an absolute path")]
    Path(&'static str),
    /// A header's name or value that cannot be.
    #[error("header {0}: a name has letters, digits and - only, a value no line end")]
    Header(String),
    /// An argument that a shell's rules could not give back.
    #[error("sendmail: an argument cannot have a line end")]
    Argument,
    /// `REPLY_TO_ADDRESS` that Forgejo refuses.
    #[error("reply_to: {0}; write local+%{{token}}@domain")]
    ReplyTo(#[from] ReplyToError),
}

/// A key with its section and value.
pub type Setting = (&'static str, String, String);

impl Mailer {
    /// Mailjet, TLS from the first byte.
    #[must_use]
    pub fn new(from: &str) -> Self {
        Self::server(from, "in-v3.mailjet.com", 465)
    }

    /// A server; the protocol follows the port.
    #[must_use]
    pub fn server(from: &str, host: &str, port: u16) -> Self {
        Self {
            from: from.to_owned(),
            transport: Transport::Network(Server { host: host.to_owned(), port, protocol: None }),
            user: None,
            password: None,
            envelope_from: None,
            subject_prefix: None,
            helo: None,
            plain_text: false,
            headers: Vec::new(),
            incoming: None,
        }
    }

    /// The protocol of a server, and whether it follows the port.
    #[must_use]
    pub fn protocol(&self) -> Option<(Protocol, bool)> {
        let Transport::Network(server) = &self.transport else { return None };
        Some((server.protocol.unwrap_or_else(|| Protocol::of_port(server.port)), server.protocol.is_none()))
    }

    /// Whether Forgejo could start with these settings.
    ///
    /// # Errors
    ///
    /// The first setting that it could not.
    pub fn validate(&self) -> Result<(), MailerError> {
        mailbox(&self.from).ok_or(MailerError::Address("from"))?;
        if let Some(from) = self.envelope_from.as_deref().filter(|from| *from != "<>") {
            mailbox(from).ok_or(MailerError::Address("envelope_from"))?;
        }
        match &self.transport {
            Transport::Network(Server { host, port, .. }) => {
                host_name(host).map_err(MailerError::Host)?;
                if *port == 0 {
                    return Err(MailerError::Port);
                }
            }
            Transport::Unix(path) if !path.starts_with('/') => return Err(MailerError::Path("socket")),
            Transport::Unix(_) => {}
            // A name without a slash is looked up, as a shell does.
            Transport::Sendmail { path, args } => {
                if path.is_empty() || (path.contains('/') && !path.starts_with('/')) {
                    return Err(MailerError::Path("sendmail"));
                }
                if args.iter().any(|arg| arg.contains(['\n', '\r', '\0'])) {
                    return Err(MailerError::Argument);
                }
            }
        }
        for (name, value) in &self.headers {
            let fits = name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
            if name.is_empty() || !fits || value.contains(['\n', '\r', '\0']) {
                return Err(MailerError::Header(name.clone()));
            }
        }
        if let Some(incoming) = &self.incoming {
            reply_to(&incoming.reply_to)?;
            host_name(&incoming.host).map_err(MailerError::Host)?;
        }
        Ok(())
    }

    /// Every key without the passwords, with its section, in the order in which it is written.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings: Vec<(&str, String)> = vec![("ENABLED", "true".to_owned())];
        match &self.transport {
            Transport::Network(server) => {
                let protocol = server.protocol.unwrap_or_else(|| Protocol::of_port(server.port));
                settings.extend([
                    ("PROTOCOL", protocol.to_string()),
                    ("SMTP_ADDR", server.host.clone()),
                    ("SMTP_PORT", server.port.to_string()),
                ]);
            }
            Transport::Sendmail { path, args } => {
                // With `--` at the end no recipient can be taken for an option, whatever the version.
                let args: Vec<String> =
                    args.iter().map(|arg| shell_quoted(arg)).chain(["--".to_owned()]).collect();
                settings.extend([
                    ("PROTOCOL", "sendmail".to_owned()),
                    ("SENDMAIL_PATH", path.clone()),
                    ("SENDMAIL_ARGS", args.join(" ")),
                ]);
            }
            Transport::Unix(path) => {
                settings.extend([("PROTOCOL", "smtp+unix".to_owned()), ("SMTP_ADDR", path.clone())]);
            }
        }
        settings.push(("FROM", self.from.clone()));
        let optional = [
            ("ENVELOPE_FROM", &self.envelope_from),
            ("USER", &self.user),
            ("SUBJECT_PREFIX", &self.subject_prefix),
            ("HELO_HOSTNAME", &self.helo),
        ];
        settings.extend(optional.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        if self.plain_text {
            settings.push(("SEND_AS_PLAIN_TEXT", "true".to_owned()));
        }
        let own = settings.into_iter().map(|(key, value)| (SECTION, key.to_owned(), value));
        let headers = self.headers.iter().map(|(key, value)| (OVERRIDE_HEADER, key.clone(), value.clone()));
        let incoming = self.incoming.iter().flat_map(Incoming::settings);
        let incoming = incoming.map(|(key, value)| (INCOMING, key.to_owned(), value));
        own.chain(headers).chain(incoming).collect()
    }
}

fn host_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        Err("it is empty")
    } else if host.contains(['/', '\\']) {
        Err("it is a path, for which Forgejo takes a Unix socket; write a name, without https://")
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Err("it has white space")
    } else if host.contains(['[', ']']) {
        Err("an IPv6 address is written without brackets")
    } else if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
        Err("the port has a setting of its own")
    } else {
        Ok(())
    }
}

/// An argument as the shell's rules of quoting read it back.
fn shell_quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', "'\\''"))
    }
}

/// The words of a text by the shell's rules of quoting, without anything else of a shell; `None` for an open quote.
#[cfg(feature = "doctor")]
pub(crate) fn shell_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => loop {
                let held = word.get_or_insert_default();
                match rest.next()? {
                    '\'' => break,
                    c => held.push(c),
                }
            },
            '"' => loop {
                let held = word.get_or_insert_default();
                match rest.next()? {
                    '"' => break,
                    '\\' => match rest.next()? {
                        c @ ('"' | '\\' | '$' | '`') => held.push(c),
                        c => held.extend(['\\', c]),
                    },
                    c => held.push(c),
                }
            },
            '\\' => word.get_or_insert_default().push(rest.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(all(test, feature = "doctor"))]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_and_read_back() {
        for arg in ["plain", "two words", "it's", "\"q\"", "\\", "", "$HOME", "a'b\"c\\d e"] {
            let text = format!("-x {} --", shell_quoted(arg));
            let expected = vec!["-x".to_owned(), arg.to_owned(), "--".to_owned()];
            assert_eq!(shell_words(&text), Some(expected), "{text}");
        }
        assert_eq!(shell_words("'open"), None);
    }
}
