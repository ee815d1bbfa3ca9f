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
    AliasVersion = "alias-version", Error, "`USERNAME` or `PASSWORD` in `[mailer]`, which this version of Forgejo does not read.";
    BothPasswords = "both-passwords", Error, "Both a password and the URI of a password file are set: Forgejo does not start.";
    ClientCertificate = "client-certificate", Error, "`USE_CLIENT_CERT` is on, and the file of the certificate or of its key is not set: no message is sent.";
    Deprecated = "deprecated", Warning, "A key or value that Forgejo has deprecated.";
    Duplicate = "duplicate", Warning, "A key is assigned more than once in a section: the last value applies.";
    Duration = "duration", Warning, "`SENDMAIL_TIMEOUT` is not a duration.";
    EnabledNotBoolean = "enabled-not-boolean", Error, "`ENABLED` is not a boolean, which Forgejo reads as false.";
    EnvelopeFromRefused = "envelope-from-refused", Error, "`ENVELOPE_FROM` is not a valid address for Go: Forgejo does not start.";
    FromLiteral = "from-literal", Warning, "An address has a domain literal (`[192.0.2.1]`) that not every release of Go accepts.";
    FromMissing = "from-missing", Error, "`FROM` is missing, and `USER` is missing too or not an address.";
    FromRefused = "from-refused", Error, "`FROM` is not a valid address for Go: Forgejo does not start.";
    FromSpecials = "from-specials", Error, "The display name in `FROM` has special characters without quotes: Forgejo does not start.";
    FromUnicode = "from-unicode", Warning, "An address of the sender has characters other than ASCII, which servers without SMTPUTF8 refuse.";
    HeaderFixed = "header-fixed", Warning, "A header is set that must differ from message to message, such as `Date`.";
    HeaderName = "header-name", Error, "The name of a header has characters other than letters, digits and `-`, or its value has a line break.";
    HeaderVersion = "header-version", Warning, "`[mailer.override_header]` is set, which this version of Forgejo does not read.";
    HeloName = "helo-name", Warning, "`HELO_HOSTNAME` has characters that no host name or address literal has: servers refuse EHLO.";
    Host = "host", Error, "The server is missing, or is not a host name in ASCII, an address or the absolute path of a socket.";
    IncomingAccount = "incoming-account", Warning, "Incoming mail has no user name or no password: the login fails.";
    IncomingPlaintext = "incoming-plaintext", Error, "Incoming mail is read without TLS.";
    IncomingPort = "incoming-port", Error, "Incoming mail has no port, and this version of Forgejo does not infer it.";
    IncomingTlsNotVerified = "incoming-tls-not-verified", Error, "Forgejo accepts any certificate of the IMAP server.";
    IncomingTlsPort = "incoming-tls-port", Warning, "`USE_TLS` is on for port 143, or off for port 993.";
    KeyCase = "key-case", Error, "The name of a key or section is written in another case than Forgejo reads it, so that it has no effect.";
    MailOff = "mail-off", Note, "There is no `[mailer]` section: mail is off.";
    NotBoolean = "not-boolean", Error, "The value of a boolean key is not a boolean: the default applies.";
    Number = "number", Warning, "`MAXIMUM_MESSAGE_SIZE` is not a number: the default applies.";
    OpenQuote = "open-quote", Warning, "A value begins with a quote that is not closed, which becomes part of the value.";
    PasswordMissing = "password-missing", Warning, "A user name is set without a password: Forgejo authenticates with an empty one.";
    PasswordReference = "password-reference", Error, "A password contains `%(name)s`, which is replaced by the value of that key.";
    Plaintext = "plaintext", Error, "The password is sent over a connection without TLS.";
    Port = "port", Error, "The port is not a number from 1 to 65535.";
    ProtocolInferred = "protocol-inferred", Note, "`PROTOCOL` is missing: Forgejo infers it from the port or the host.";
    ProtocolPort = "protocol-port", Warning, "The port is that of another protocol: the connection hangs or TLS fails.";
    ProtocolUnknown = "protocol-unknown", Error, "`PROTOCOL` has an unknown value: Forgejo uses SMTP without TLS.";
    ProviderLogin = "provider-login", Warning, "The provider has disabled password authentication, or has announced that it will.";
    ProviderPort = "provider-port", Note, "The port is not among those that the provider documents.";
    ProviderUser = "provider-user", Warning, "The provider rejects the user name, or replaces or rejects the sender.";
    ReplyTo = "reply-to", Error, "Forgejo rejects `REPLY_TO_ADDRESS` and does not start.";
    ResaveChanges = "resave-changes", Error, "A value is read differently once Forgejo has written app.ini itself.";
    ResaveUnreadable = "resave-unreadable", Error, "app.ini cannot be parsed any more once Forgejo has written it itself.";
    SecretEmpty = "secret-empty", Error, "The file of a password is empty or has only white space: Forgejo does not start.";
    SecretMissing = "secret-missing", Error, "The file of a password does not exist: Forgejo does not start.";
    SecretUnreadable = "secret-unreadable", Error, "Forgejo's user cannot read the file of a password: Forgejo does not start.";
    SendmailArgs = "sendmail-args", Error, "`SENDMAIL_ARGS` does not end in `--`, so that sendmail may parse a recipient as an option.";
    SendmailPath = "sendmail-path", Error, "`SENDMAIL_PATH` contains white space, so that no program is found.";
    SendmailQuote = "sendmail-quote", Error, "A quote in `SENDMAIL_ARGS` is not closed: Forgejo drops the arguments.";
    StartTlsOnly = "starttls-only", Note, "STARTTLS is used with a provider that offers nothing else: an attacker who removes it gets the password.";
    StartTlsStrippable = "starttls-strippable", Warning, "STARTTLS is used: an attacker who removes it from the server's reply gets the password.";
    TlsNotVerified = "tls-not-verified", Error, "Forgejo accepts any certificate of the SMTP server.";
    UnixAuthentication = "unix-authentication", Warning, "A user name is set for SMTP over a Unix-domain socket, where Go refuses PLAIN.";
    UnknownKey = "unknown-key", Warning, "A key that Forgejo does not read.";
    UnknownSection = "unknown-section", Warning, "The name of a section that Forgejo does not read differs by one edit from one that it reads.";
    UriForm = "uri-form", Error, "Forgejo rejects the URI of a password file, or opens another path than the written one.";
    UriVersion = "uri-version", Error, "`PASSWD_URI` or `PASSWORD_URI` is set, which this version of Forgejo does not read.";
    ValueCut = "value-cut", Error, "A value is cut at its first `#` or `;`, which begins a comment.";
    Variable = "variable", Error, "A value begins with `${NAME}`, which go-ini does not expand.";
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
