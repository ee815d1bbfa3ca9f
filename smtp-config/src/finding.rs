//! Findings about settings, and their codes.

use crate::section::SECTION;
use std::fmt;

/// Severity of a finding, in ascending order. Displayed in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Severity {
    /// Information that requires no change.
    Note,
    /// A setting that works, but carries a risk, or is probably a mistake.
    Warning,
    /// A setting that does not work, exposes a secret, or stops Forgejo from starting.
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
    ($($name:ident = $text:literal, $severity:ident, $summary:literal;)*) => {
        /// Kind of a finding. The names that [`Code::as_str`] returns are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $summary] #[cfg_attr(feature = "serde", serde(rename = $text))] $name,)*
        }

        impl Code {
            /// All codes, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the stable, machine-readable name, such as `both-passwords`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns the default severity. A setting that stops Forgejo from starting is always an error.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }

            /// Returns a description of the kind, as one sentence with a full stop.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self {
                    $(Self::$name => $summary,)*
                }
            }
        }
    };
}

codes! {
    AliasVersion = "alias-version", Error, "An alias of a key, before the version that reads it.";
    BothPasswords = "both-passwords", Error, "A password and the URI of one: Forgejo does not start.";
    ClientCertificate = "client-certificate", Error, "A client certificate without its files.";
    Deprecated = "deprecated", Warning, "A deprecated key.";
    Duplicate = "duplicate", Warning, "A key that is given more than once: the last one counts.";
    Duration = "duration", Warning, "A duration that cannot be parsed.";
    EnabledNotBoolean = "enabled-not-boolean", Error, "`ENABLED` is not a boolean, which Forgejo reads as false.";
    EnvelopeFromRefused = "envelope-from-refused", Error, "Go refuses `ENVELOPE_FROM`: Forgejo does not start.";
    FromLiteral = "from-literal", Warning, "An address with a domain literal, which not every release of Go accepts.";
    FromMissing = "from-missing", Error, "`FROM` is missing, and `USER` is missing too or not an address.";
    FromRefused = "from-refused", Error, "Go refuses `FROM`: Forgejo does not start.";
    FromSpecials = "from-specials", Error, "A display name with special characters that must be quoted: Forgejo does not start.";
    HeaderFixed = "header-fixed", Warning, "A header that must differ from message to message.";
    HeaderName = "header-name", Error, "A header that cannot be sent.";
    HeaderVersion = "header-version", Warning, "`[mailer.override_header]` before the version that reads it.";
    Host = "host", Error, "A missing or malformed host.";
    IncomingAccount = "incoming-account", Warning, "Incoming mail without an account or a password.";
    IncomingPlaintext = "incoming-plaintext", Error, "Incoming mail is read without TLS.";
    IncomingPort = "incoming-port", Error, "Incoming mail without a port, before the version that infers it.";
    IncomingTlsNotVerified = "incoming-tls-not-verified", Error, "The certificate of the IMAP server is not verified.";
    IncomingTlsPort = "incoming-tls-port", Warning, "TLS on the IMAP port without TLS, or the reverse.";
    KeyCase = "key-case", Error, "A key or section in another case than the one that is read.";
    MailOff = "mail-off", Note, "There is no `[mailer]` section: mail is off.";
    NotBoolean = "not-boolean", Error, "A switch that is not a boolean.";
    Number = "number", Warning, "A number that cannot be parsed.";
    OpenQuote = "open-quote", Warning, "A quote that is not closed and becomes part of the value.";
    PasswordMissing = "password-missing", Warning, "An account without a password: Forgejo logs in with an empty one.";
    PasswordReference = "password-reference", Error, "`%(name)s` in a password.";
    Plaintext = "plaintext", Error, "A password goes over a connection without TLS.";
    Port = "port", Error, "A port that is not valid.";
    ProtocolInferred = "protocol-inferred", Note, "`PROTOCOL` is missing: it follows the port.";
    ProtocolPort = "protocol-port", Warning, "A protocol on the port of another: the connection hangs.";
    ProtocolUnknown = "protocol-unknown", Error, "A protocol that Forgejo does not know: it speaks plain SMTP.";
    ProviderLogin = "provider-login", Warning, "The provider has disabled password authentication, or has announced that it will.";
    ProviderPort = "provider-port", Note, "A port that is not among those that the provider documents.";
    ProviderUser = "provider-user", Warning, "An account or sender that the provider refuses.";
    ReplyTo = "reply-to", Error, "`REPLY_TO_ADDRESS` is refused: Forgejo does not start.";
    ResaveChanges = "resave-changes", Error, "A value that changes when Forgejo writes the file itself.";
    ResaveUnreadable = "resave-unreadable", Error, "A file that cannot be read any more once Forgejo has written it itself.";
    SecretEmpty = "secret-empty", Error, "The file of a password is empty: Forgejo does not start.";
    SecretMissing = "secret-missing", Error, "The file of a password does not exist: Forgejo does not start.";
    SecretUnreadable = "secret-unreadable", Error, "Forgejo's user cannot read the file of a password: Forgejo does not start.";
    SendmailArgs = "sendmail-args", Error, "A recipient can be taken for an option of sendmail.";
    SendmailPath = "sendmail-path", Error, "`SENDMAIL_PATH` is not the path of a program.";
    SendmailQuote = "sendmail-quote", Error, "An open quote in `SENDMAIL_ARGS`: Forgejo drops the arguments.";
    StartTlsOnly = "starttls-only", Note, "The provider offers STARTTLS only; stripped on the way, it exposes the password.";
    StartTlsStrippable = "starttls-strippable", Warning, "STARTTLS that is stripped on the way exposes the password.";
    TlsNotVerified = "tls-not-verified", Error, "The certificate of the server is not verified.";
    UnixAuthentication = "unix-authentication", Warning, "An account over a Unix socket, where Go refuses PLAIN.";
    UnknownKey = "unknown-key", Warning, "A key that Forgejo does not read.";
    UnknownSection = "unknown-section", Warning, "A section that Forgejo does not read, with a name like one that it does.";
    UriForm = "uri-form", Error, "The URI of a password that Forgejo refuses, or reads as another path.";
    UriVersion = "uri-version", Error, "`PASSWD_URI` before the version that reads it.";
    ValueCut = "value-cut", Error, "A value that ends at its first `#` or `;`.";
    Variable = "variable", Error, "A `${NAME}` that app.ini does not expand.";
}

/// A finding about a setting. Displayed on one line with position, severity, code, setting, problem and fix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Kind of the finding.
    pub code: Code,
    /// Severity, which may be higher than [`Code::severity`].
    pub severity: Severity,
    /// Name of the section. Empty for the whole file.
    pub section: String,
    /// Name of the key. Empty for a section or the whole file.
    pub key: String,
    /// Effective value. `None` if it may contain a secret, and if there is no value.
    pub value: Option<String>,
    /// Number of the line with the last assignment of the key, or with the header, from 1. `None` if there is neither.
    pub line: Option<u32>,
    /// Column of the key in characters, from 1; 1 for a header. `None` if there is no line.
    pub column: Option<u32>,
    /// Description of the problem and its effect. Contains no secret.
    pub problem: String,
    /// Action that resolves the finding, as an imperative phrase. Empty if no change is needed.
    pub fix: String,
}

impl Finding {
    /// Returns problem and fix as one text.
    #[must_use]
    pub fn message(&self) -> String {
        if self.fix.is_empty() { self.problem.clone() } else { format!("{}: {}", self.problem, self.fix) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(out, "{line}:{column}: ")?;
        }
        write!(out, "{}[{}]: ", self.severity, self.code.as_str())?;
        if !matches!(self.section.as_str(), "" | SECTION) {
            write!(out, "[{}] ", self.section)?;
        }
        match &self.value {
            Some(value) => write!(out, "{} = {value}: ", self.key)?,
            None if self.key.is_empty() => {}
            None => write!(out, "{}: ", self.key)?,
        }
        out.write_str(&self.message())
    }
}
