//! What a finding is.

use crate::mailer::SECTION;
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Works, with a risk.
    Warning,
    /// Does not do what it says.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $severity:ident;)*) => {
        /// What is found. [`Code::as_str`] is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// How bad it is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

codes! {
    /// Another name of a key, before the version that has it.
    AliasVersion = "alias-version", Error;
    /// A password and the file of one: Forgejo ends at once.
    BothPasswords = "both-passwords", Error;
    /// A key of the past.
    Deprecated = "deprecated", Warning;
    /// `ENABLED` is no boolean, which Forgejo takes for false.
    EnabledNotBoolean = "enabled-not-boolean", Error;
    /// Go refuses `ENVELOPE_FROM`.
    EnvelopeFromRefused = "envelope-from-refused", Error;
    /// There is no `FROM`, and `USER` is no address or is missing too.
    FromMissing = "from-missing", Error;
    /// Go refuses the address.
    FromRefused = "from-refused", Error;
    /// A display name with characters that belong in quotes.
    FromSpecials = "from-specials", Warning;
    /// A header that cannot be sent.
    HeaderName = "header-name", Error;
    /// `[mailer.override_header]` before the version that has it.
    HeaderVersion = "header-version", Warning;
    /// A header that Forgejo needs to differ from message to message.
    HeaderFixed = "header-fixed", Warning;
    /// No server, or one that cannot be.
    Host = "host", Error;
    /// Incoming mail is read over a connection without TLS.
    IncomingPlaintext = "incoming-plaintext", Error;
    /// Incoming mail has no port, before the version that infers it.
    IncomingPort = "incoming-port", Error;
    /// Incoming mail's certificate is not verified.
    IncomingTlsNotVerified = "incoming-tls-not-verified", Error;
    /// A switch that is no boolean.
    NotBoolean = "not-boolean", Error;
    /// `%(name)s` in a password.
    PasswordReference = "password-reference", Error;
    /// A password goes over a connection without TLS.
    Plaintext = "plaintext", Error;
    /// A port that is none.
    Port = "port", Error;
    /// There is no `PROTOCOL`: it follows the port.
    ProtocolInferred = "protocol-inferred", Note;
    /// A protocol on the port of another.
    ProtocolPort = "protocol-port", Warning;
    /// No such protocol: Forgejo runs it as plain SMTP.
    ProtocolUnknown = "protocol-unknown", Error;
    /// `REPLY_TO_ADDRESS` that Forgejo ends at.
    ReplyTo = "reply-to", Error;
    /// A value that changes when Forgejo writes the file itself.
    ResaveChanges = "resave-changes", Error;
    /// A file that cannot be read any more once Forgejo has written it itself.
    ResaveUnreadable = "resave-unreadable", Error;
    /// A recipient that could be taken for an option of sendmail.
    SendmailArgs = "sendmail-args", Error;
    /// A STARTTLS that is stripped on the way sends the password in clear.
    StartTlsStrippable = "starttls-strippable", Warning;
    /// The server's certificate is not verified.
    TlsNotVerified = "tls-not-verified", Error;
    /// A user over a Unix socket, where Go refuses PLAIN.
    UnixAuthentication = "unix-authentication", Warning;
    /// `PASSWD_URI` with a path that Go decodes, or another scheme than `file:`.
    UriForm = "uri-form", Error;
    /// `PASSWD_URI` before the version that has it.
    UriVersion = "uri-version", Error;
    /// A value that is read up to a `#` or `;` only.
    ValueCut = "value-cut", Error;
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The section, empty for the file.
    pub section: String,
    /// The key, empty for the file.
    pub key: String,
    /// The line, from 1, where there is one.
    pub line: Option<u32>,
    /// What Forgejo does, and what to write instead. Never a secret.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}[{}]", self.severity, self.code.as_str())?;
        if let Some(line) = self.line {
            write!(out, " line {line}")?;
        }
        let colon = if self.key.is_empty() { "" } else { ": " };
        let section = match self.section.as_str() {
            "" | SECTION => String::new(),
            other => format!("[{other}] "),
        };
        write!(out, ": {section}{}{colon}{}", self.key, self.message)
    }
}
