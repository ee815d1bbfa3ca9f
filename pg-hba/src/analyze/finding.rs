//! Findings of an analysis, their codes and severities, and waivers.

use std::fmt;
use thiserror::Error;

/// Severity of a finding, in ascending order: notes first. Displayed as `note`, `warning` and `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Information that requires no change: `Ident`, `Radius`, `Undecided`, `HostName` and `Impossible`.
    Note,
    /// A probable mistake or a weak setting: every code that is neither a note nor an error.
    Warning,
    /// A security risk (`PublicTrust`, `Lockout`), or a line that the server rejects (`Refused`).
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

/// Kind of a finding, with a stable code from HBA001 on, by which waivers name it. Displayed as the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// HBA001: the server rejects the line, and therefore does not load the file; or the file has no rule.
    Refused,
    /// HBA002: the rule is shadowed: earlier rules decide every connection that it matches, or it matches none.
    Shadowed,
    /// HBA003: no rule admits the superuser to `postgres` or to the database of its own name (lockout); see
    /// [`crate::admits`].
    Lockout,
    /// HBA004: `trust` over TCP for `all`, for a network that is not within private, loopback, link-local or shared
    /// ranges, or for a mask that is not contiguous.
    PublicTrust,
    /// HBA005: a method in which the client sends a clear-text password (`password`, `ldap`, `pam`, `radius`, `bsd`),
    /// for the addresses of HBA004, in a record of another type than `local` and `hostssl`.
    PublicCleartext,
    /// HBA006: the method `md5`, which is deprecated (from PostgreSQL 18).
    Md5,
    /// HBA007: the method `password`, by which the server receives the clear-text password. Reported for every
    /// connection type.
    Password,
    /// HBA008: a host name as the address, so that the rule depends on a reverse and a forward lookup in DNS.
    HostName,
    /// HBA009: an address with host bits set, which the server ignores, or in another notation than the usual one, such
    /// as octal.
    AddressForm,
    /// HBA010: a mask that is not contiguous.
    HoledMask,
    /// HBA011: a line that has another meaning, or is rejected, in the version
    /// [`Analysis::next`](super::Analysis::next). Included files are not compared.
    VersionDependent,
    /// HBA012: a role named in the user field, or `+role`, that is not in [`Analysis::roles`](super::Analysis::roles).
    UnknownRole,
    /// HBA013: a rule that cannot match on this server, as `hostssl` while TLS is off.
    Impossible,
    /// HBA014: `ident` in a TCP record, which trusts the client host.
    Ident,
    /// HBA015: the method `radius`, which PostgreSQL 19 does not support.
    Radius,
    /// HBA016: the analysis for shadowed rules could not be completed; see [`crate::Undecidable`].
    Undecided,
    /// HBA017: `trust` by which the superuser can connect, over the Unix-domain socket or from an address other than
    /// loopback.
    SuperuserTrust,
    /// HBA018: `trust` for all users and databases over TCP, from addresses that are neither loopback nor public.
    EverybodyTrust,
    /// HBA019: `trust` for all users and databases over the Unix-domain socket, thus for every operating system user.
    LocalTrust,
    /// HBA020: `trust` for `samenet`, `samehost` or a host name other than `localhost`, so that it depends on
    /// interfaces or DNS.
    IndirectTrust,
}

impl Code {
    /// All codes, in numerical order, from HBA001 to HBA020.
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

    /// Returns the severity of all findings of this kind.
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

    /// Returns a description of the kind, as one sentence with a full stop.
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
    /// Formats as `HBA` and three digits, such as `HBA004`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HBA{:03}", *self as u32 + 1)
    }
}

/// A finding about a line, or about the file as a whole. Displayed on one line, with file, line, severity, code,
/// reason, fix and waiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Kind of the finding.
    pub code: Code,
    /// Number of the first physical line, from 1. 0 for the file as a whole.
    pub line: u32,
    /// Column in bytes, from 1. 0 for the line as a whole.
    pub column: u32,
    /// Path of the included file that contains the line, resolved against the folder of the including file. `None` for
    /// the analysed file itself.
    pub file: Option<String>,
    /// Description of the problem, without a full stop.
    pub reason: String,
    /// Action that resolves the finding, as an imperative phrase.
    pub fix: String,
    /// Reason of the waiver that applies to the finding, or `stated by the policy` for a rule of
    /// [`Analysis::policy`](super::Analysis::policy). `None` if it is not waived. The finding is reported either way.
    pub waived: Option<String>,
}

impl fmt::Display for Finding {
    /// Formats as `file: line n, column n: severity code: reason; fix (waived: reason)`, without the parts that are
    /// absent.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{file}: ")?;
        }
        if self.line > 0 {
            write!(out, "line {}", self.line)?;
            if self.column > 0 {
                write!(out, ", column {}", self.column)?;
            }
            write!(out, ": ")?;
        }
        write!(out, "{} {}: {}; {}", self.code.severity(), self.code, self.reason, self.fix)?;
        self.waived.iter().try_for_each(|reason| write!(out, " (waived: {reason})"))
    }
}

/// A waiver, which marks the findings of one code, in the whole file or in one line, as accepted for a stated reason.
/// Parsed from `CODE=REASON` or `CODE:LINE=REASON`.
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
    /// The text is not of the form `CODE=REASON` or `CODE:LINE=REASON`, or the code is unknown. Contains the text.
    #[error(
        "{0:?} is not a valid waiver: write CODE=REASON or CODE:LINE=REASON, such as HBA004:12=lab network only"
    )]
    Form(String),
    /// The reason of a waiver is blank. Contains the waiver's code.
    #[error("the waiver of {0} has no reason; say why it is accepted")]
    NoReason(Code),
}

impl Waiver {
    /// Returns the reason if this waiver applies to the finding: the code is the same and, for a waiver with a line,
    /// the line. The file is not compared. `None` if it does not apply.
    pub(super) fn covers(&self, finding: &Finding) -> Option<&str> {
        let there = self.code == finding.code && self.line.is_none_or(|line| line == finding.line);
        there.then_some(self.reason.as_str())
    }

    /// Creates a waiver for one code. With `line`, it applies to findings in that line of any file; otherwise, to all
    /// findings of the code. White space around the reason is removed.
    ///
    /// # Errors
    /// Returns [`WaiverError::NoReason`] if the reason is blank.
    pub fn new(code: Code, line: Option<u32>, reason: &str) -> Result<Self, WaiverError> {
        if reason.trim().is_empty() {
            return Err(WaiverError::NoReason(code));
        }
        Ok(Self { code, line, reason: reason.trim().to_owned() })
    }
}

impl std::str::FromStr for Waiver {
    type Err = WaiverError;

    /// Parses `CODE=REASON` or `CODE:LINE=REASON`, such as `HBA004:12=lab network only`.
    ///
    /// # Errors
    /// Returns [`WaiverError::Form`] for another form or an unknown code, and [`WaiverError::NoReason`] if the reason
    /// is blank.
    fn from_str(text: &str) -> Result<Self, WaiverError> {
        let form = || WaiverError::Form(text.to_owned());
        let (what, reason) = text.split_once('=').ok_or_else(form)?;
        let (code, line) = what.split_once(':').map_or((what, None), |(code, line)| (code, Some(line)));
        let code = Code::ALL.into_iter().find(|known| known.to_string() == code).ok_or_else(form)?;
        let line = line.map(str::parse).transpose().map_err(|_| form())?;
        Self::new(code, line, reason)
    }
}
