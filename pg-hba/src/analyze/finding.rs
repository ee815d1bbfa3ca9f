//! Findings, their codes and severities, and waivers.

use std::fmt;
use thiserror::Error;

/// Severity of a finding, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Information; no change is needed.
    Note,
    /// A probable mistake or a weak setting.
    Warning,
    /// A security risk, or a line that the server rejects.
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

/// Kind of a finding, with a stable code from HBA001 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// HBA001: the server rejects the line, and does not load the file.
    Refused,
    /// HBA002: the rule is shadowed, so that no connection reaches it.
    Shadowed,
    /// HBA003: no rule admits the superuser (lockout).
    Lockout,
    /// HBA004: `trust` for public addresses.
    PublicTrust,
    /// HBA005: a clear-text password over an unencrypted connection from public addresses.
    PublicCleartext,
    /// HBA006: the method `md5`, which is deprecated.
    Md5,
    /// HBA007: the method `password`, by which the server receives the clear-text password.
    Password,
    /// HBA008: a host name, so that the rule depends on DNS.
    HostName,
    /// HBA009: an address with host bits set, or in an unusual notation.
    AddressForm,
    /// HBA010: a mask that is not contiguous.
    HoledMask,
    /// HBA011: a line that has another meaning in another version.
    VersionDependent,
    /// HBA012: a role that does not exist.
    UnknownRole,
    /// HBA013: a rule that cannot match on this server.
    Impossible,
    /// HBA014: `ident` over TCP, which trusts the client host.
    Ident,
    /// HBA015: the method `radius`, which later versions do not support.
    Radius,
    /// HBA016: an analysis that could not be completed.
    Undecided,
    /// HBA017: `trust` for the superuser from other addresses than loopback.
    SuperuserTrust,
    /// HBA018: `trust` for all users over TCP from other addresses than loopback.
    EverybodyTrust,
    /// HBA019: `trust` over the Unix-domain socket, for every operating system user.
    LocalTrust,
    /// HBA020: `trust` for `samenet`, `samehost` or a host name, so that it depends on interfaces or DNS.
    IndirectTrust,
}

impl Code {
    /// All codes, in numerical order.
    pub const ALL: [Self; 20] = [
        Self::Refused,
        Self::Shadowed,
        Self::Lockout,
        Self::PublicTrust,
        Self::PublicCleartext,
        Self::Md5,
        Self::Password,
        Self::HostName,
        Self::AddressForm,
        Self::HoledMask,
        Self::VersionDependent,
        Self::UnknownRole,
        Self::Impossible,
        Self::Ident,
        Self::Radius,
        Self::Undecided,
        Self::SuperuserTrust,
        Self::EverybodyTrust,
        Self::LocalTrust,
        Self::IndirectTrust,
    ];

    /// Returns the severity of findings of this kind.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Refused | Self::Lockout | Self::PublicTrust => Severity::Error,
            Self::Ident | Self::Radius | Self::Undecided | Self::HostName | Self::Impossible => {
                Severity::Note
            }
            Self::Shadowed
            | Self::PublicCleartext
            | Self::Md5
            | Self::Password
            | Self::AddressForm
            | Self::HoledMask
            | Self::VersionDependent
            | Self::UnknownRole
            | Self::SuperuserTrust
            | Self::EverybodyTrust
            | Self::LocalTrust
            | Self::IndirectTrust => Severity::Warning,
        }
    }

    /// Returns a description of the kind, in one sentence.
    #[must_use]
    pub fn summary(self) -> &'static str {
        match self {
            Self::Refused => "The server refuses the line.",
            Self::Shadowed => "No connection reaches the rule.",
            Self::Lockout => "The superuser has no way in.",
            Self::PublicTrust => "Connections from public addresses are trusted.",
            Self::PublicCleartext => "A password goes in clear from public addresses.",
            Self::Md5 => "The method md5 accepts MD5 hashes.",
            Self::Password => "The server sees the password.",
            Self::HostName => "A host name depends on DNS.",
            Self::AddressForm => "An address has host bits or an unusual form.",
            Self::HoledMask => "A mask has holes.",
            Self::VersionDependent => "The line means something else in another version.",
            Self::UnknownRole => "A role does not exist.",
            Self::Impossible => "The rule cannot match on this server.",
            Self::Ident => "ident over TCP believes the client.",
            Self::Radius => "RADIUS is removed in later versions.",
            Self::Undecided => "The question could not be answered.",
            Self::SuperuserTrust => "The superuser is trusted from more than loopback.",
            Self::EverybodyTrust => "Everybody is trusted over TCP from more than loopback.",
            Self::LocalTrust => "Every user of the machine is trusted over the socket.",
            Self::IndirectTrust => "Trust depends on networks of the server or on DNS.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HBA{:03}", *self as u32 + 1)
    }
}

/// A finding about a line, or about the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Kind of the finding.
    pub code: Code,
    /// Line number, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Name of the included file. `None` for the file that was given.
    pub file: Option<String>,
    /// Description of the problem.
    pub reason: String,
    /// Fix for the user.
    pub fix: String,
    /// Reason of the waiver that applies to the finding, if any.
    pub waived: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{file}: ")?;
        }
        if self.line > 0 {
            write!(out, "line {}: ", self.line)?;
        }
        write!(out, "{} {}: {}; {}", self.code.severity(), self.code, self.reason, self.fix)?;
        self.waived.iter().try_for_each(|reason| write!(out, " (waived: {reason})"))
    }
}

/// A waiver: findings of one code are accepted, for a stated reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    code: Code,
    line: Option<u32>,
    reason: String,
}

/// Error of parsing or creating a waiver.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaiverError {
    /// The text is not of the form `CODE=REASON` or `CODE:LINE=REASON`.
    #[error(
        "{0:?} is not a valid waiver: write CODE=REASON or CODE:LINE=REASON, such as HBA004:12=lab network only"
    )]
    Form(String),
    /// A waiver of this code gives no reason.
    #[error("the waiver of {0} has no reason; say why it is accepted")]
    NoReason(Code),
}

impl Waiver {
    /// Returns the reason if this waiver applies to the finding.
    pub(super) fn covers(&self, finding: &Finding) -> Option<&str> {
        let there = self.code == finding.code && self.line.is_none_or(|line| line == finding.line);
        there.then_some(self.reason.as_str())
    }

    /// Creates a waiver for one code, on one line or, without a line, in the whole file.
    ///
    /// # Errors
    /// Returns [`WaiverError::NoReason`] if the reason is empty.
    pub fn new(code: Code, line: Option<u32>, reason: &str) -> Result<Self, WaiverError> {
        if reason.trim().is_empty() {
            return Err(WaiverError::NoReason(code));
        }
        Ok(Self { code, line, reason: reason.trim().to_owned() })
    }
}

impl std::str::FromStr for Waiver {
    type Err = WaiverError;

    fn from_str(text: &str) -> Result<Self, WaiverError> {
        let form = || WaiverError::Form(text.to_owned());
        let (what, reason) = text.split_once('=').ok_or_else(form)?;
        let (code, line) = what.split_once(':').map_or((what, None), |(code, line)| (code, Some(line)));
        let code = Code::ALL.into_iter().find(|known| known.to_string() == code).ok_or_else(form)?;
        let line = line.map(str::parse).transpose().map_err(|_| form())?;
        Self::new(code, line, reason)
    }
}
