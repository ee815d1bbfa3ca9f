//! What a finding is: its code, how bad it is, and how it is waived.

use std::fmt;
use thiserror::Error;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
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

/// What a finding is about. The code of each never changes.
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
    /// HBA006: MD5.
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
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 16] = [
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
    ];

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Refused | Self::Lockout | Self::PublicTrust => Severity::Error,
            Self::Ident | Self::Radius | Self::Undecided | Self::HostName | Self::Impossible => {
                Severity::Note
            }
            _ => Severity::Warning,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HBA{:03}", *self as u32 + 1)
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The included file, if the line is of one.
    pub file: Option<String>,
    /// Why.
    pub reason: String,
    /// What to do about it.
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

/// Why a waiver is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaiverError {
    /// A waiver has a form.
    #[error("{0:?} is no waiver: write CODE=REASON or CODE:LINE=REASON, such as HBA004:12=lab network only")]
    Form(String),
    /// Nobody can judge a waiver without its reason.
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
