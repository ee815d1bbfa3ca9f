//! Findings, their codes and severities, and waivers.

use std::fmt;
use thiserror::Error;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A fact that is worth knowing.
    Note,
    /// Likely a mistake, or weak.
    Warning,
    /// Dangerous, or the server refuses it.
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

/// The kind of a finding. The code of each never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// HBA001: the server refuses the line.
    Refused,
    /// HBA002: no connection reaches the rule.
    Shadowed,
    /// HBA003: the superuser has no way in.
    Lockout,
    /// HBA004: `trust` from public addresses.
    PublicTrust,
    /// HBA005: a password in the clear from public addresses.
    PublicCleartext,
    /// HBA006: the method `md5`.
    Md5,
    /// HBA007: `password`, which the server sees.
    Password,
    /// HBA008: a host name, which depends on DNS.
    HostName,
    /// HBA009: host bits set, or an address in an unusual form.
    AddressForm,
    /// HBA010: a mask with holes.
    HoledMask,
    /// HBA011: the line means something else in another version.
    VersionDependent,
    /// HBA012: a role that does not exist.
    UnknownRole,
    /// HBA013: the rule cannot match on this server.
    Impossible,
    /// HBA014: `ident` over TCP, which believes the client.
    Ident,
    /// HBA015: RADIUS, which later versions remove.
    Radius,
    /// HBA016: the question could not be answered.
    Undecided,
    /// HBA017: `trust` lets the superuser in from more than loopback.
    SuperuserTrust,
    /// HBA018: `trust` lets everybody in over TCP from more than loopback.
    EverybodyTrust,
    /// HBA019: `trust` for every user of the machine, over the socket.
    LocalTrust,
    /// HBA020: `trust` for `samenet`, `samehost` or a host name, which depends on networks and DNS.
    IndirectTrust,
}

impl Code {
    /// All codes, in the order of their numbers.
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

    /// Returns the severity.
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

    /// Returns one sentence about the kind.
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

/// A finding about a line or the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of the finding.
    pub code: Code,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The included file, if the line is of one.
    pub file: Option<String>,
    /// The reason for the finding.
    pub reason: String,
    /// The advice on what to write.
    pub fix: String,
    /// The reason it was waived for.
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

/// A finding that is accepted, for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    code: Code,
    line: Option<u32>,
    reason: String,
}

/// A text that is not a valid waiver.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaiverError {
    /// A waiver has a form.
    #[error(
        "{0:?} is not a valid waiver: write CODE=REASON or CODE:LINE=REASON, such as HBA004:12=lab network only"
    )]
    Form(String),
    /// A waiver of this code gives no reason.
    #[error("the waiver of {0} has no reason; say why it is accepted")]
    NoReason(Code),
}

impl Waiver {
    /// The reason, if this finding is waived by it.
    pub(super) fn covers(&self, finding: &Finding) -> Option<&str> {
        let there = self.code == finding.code && self.line.is_none_or(|line| line == finding.line);
        there.then_some(self.reason.as_str())
    }

    /// A waiver of one code, on one line or everywhere.
    ///
    /// # Errors
    /// Without a reason.
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
