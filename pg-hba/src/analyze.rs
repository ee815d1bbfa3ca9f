//! Findings: what is wrong or dangerous in rules that the server accepts.

use crate::address::is_private;
use crate::diff::{Diff, diff};
use crate::document::{Content, Document, Refused};
use crate::method::Method;
use crate::regex::Pattern;
use crate::rule::{Address, ConnectionType, Database, Rule, User};
use crate::server::Server;
use crate::shadow::shadowed;
use std::collections::BTreeSet;
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

/// What an analysis knows beyond the file.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// The superuser that must keep a way in; `postgres` when absent.
    pub superuser: Option<String>,
    /// Every role that exists, when that is known.
    pub roles: Option<BTreeSet<String>>,
    /// A server that the file is to be read by next, to find lines that change their meaning.
    pub next: Option<Server>,
    /// What is accepted.
    pub waivers: Vec<Waiver>,
}

/// Analyses a file.
///
/// ```
/// use pg_hba::{Analysis, Code, Document, Server, Version, analyze};
/// let server = Server::new(Version::V18);
/// let text = "local all postgres peer\nhost all all 0.0.0.0/0 trust\nhost app app 10.0.0.1/32 md5\n";
/// let findings = analyze(&Document::parse(text, &server), &server, &Analysis::default());
/// let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
/// assert_eq!(codes, [Code::PublicTrust, Code::Shadowed, Code::Md5]);
/// ```
#[must_use]
pub fn analyze(document: &Document, server: &Server, analysis: &Analysis) -> Vec<Finding> {
    let mut found = Findings { found: Vec::new() };
    match document.rules() {
        Err(Refused(errors)) => {
            for error in errors {
                let fix = error.fix().unwrap_or_else(|| "correct the line".to_owned());
                let reason = format!("the server refuses it, at column {}: {}", error.column, error.reason);
                found.push(Code::Refused, error.line, error.file, reason, fix);
            }
        }
        Ok(rules) => {
            rules.iter().for_each(|rule| found.rule(rule, analysis));
            found.forms(document);
            found.reach(&rules);
            found.lockout(&rules, analysis.superuser.as_deref().unwrap_or("postgres"));
        }
    }
    if let Some(next) = &analysis.next {
        found.versions(document, server, next);
    }
    let mut found = found.found;
    for finding in &mut found {
        let waiver = analysis.waivers.iter().find(|waiver| {
            waiver.code == finding.code && waiver.line.is_none_or(|line| line == finding.line)
        });
        finding.waived = waiver.map(|waiver| waiver.reason.clone());
    }
    found.sort_by_key(|finding| (finding.file.clone(), finding.line, finding.code));
    found
}

struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    fn push(&mut self, code: Code, line: u32, file: Option<String>, reason: String, fix: impl Into<String>) {
        self.found.push(Finding { code, line, file, reason, fix: fix.into(), waived: None });
    }

    fn at(&mut self, code: Code, rule: &Rule, reason: impl Into<String>, fix: impl Into<String>) {
        self.push(code, rule.origin.line, rule.origin.file.clone(), reason.into(), fix);
    }

    fn rule(&mut self, rule: &Rule, analysis: &Analysis) {
        let public = rule.connection != ConnectionType::Local && is_public(&rule.address);
        match rule.method {
            Method::Trust if public => self.at(
                Code::PublicTrust,
                rule,
                format!(
                    "anybody at {} may be any of these users",
                    crate::render::address_text(&rule.address)
                ),
                "narrow the address, or use scram-sha-256",
            ),
            Method::Md5 => self.at(
                Code::Md5,
                rule,
                "md5 hashes can be replayed, and PostgreSQL 18 warns of them",
                "store SCRAM verifiers and write scram-sha-256",
            ),
            Method::Password | Method::Ldap | Method::Pam | Method::Radius | Method::Bsd => {
                let clear =
                    rule.connection != ConnectionType::Local && rule.connection != ConnectionType::HostSsl;
                if clear && public {
                    let reason = format!("{} sends the password as it is, over TCP without TLS", rule.method);
                    self.at(Code::PublicCleartext, rule, reason, "make it a hostssl record");
                }
                if rule.method == Method::Password {
                    self.at(
                        Code::Password,
                        rule,
                        "the server sees the password itself",
                        "write scram-sha-256",
                    );
                }
                if rule.method == Method::Radius {
                    self.at(
                        Code::Radius,
                        rule,
                        "versions after 18 have no radius",
                        "plan for another method",
                    );
                }
            }
            Method::Ident if rule.connection != ConnectionType::Local => self.at(
                Code::Ident,
                rule,
                "ident believes whatever the client's machine says",
                "use scram-sha-256 or cert",
            ),
            _ => {}
        }
        match &rule.address {
            Address::Host(name) => {
                let reason = format!("{name:?} takes a reverse and a forward look-up at each connection");
                self.at(Code::HostName, rule, reason, "write the address, or hold DNS to be trustworthy");
            }
            Address::Network(network) => match network.to_net() {
                None => self.at(
                    Code::HoledMask,
                    rule,
                    format!("the mask {} has holes: it takes addresses from many ranges", network.mask()),
                    "write a prefix length",
                ),
                Some(net) if net.network() != network.address() => self.at(
                    Code::AddressForm,
                    rule,
                    format!("{network} has host bits; the server ignores them and takes {net}"),
                    format!("write {net}"),
                ),
                Some(_) => {}
            },
            _ => {}
        }
        if !rule.possible {
            self.at(
                Code::Impossible,
                rule,
                "it cannot match on this server",
                "turn the encryption on, or drop it",
            );
        }
        if let Some(roles) = &analysis.roles {
            for user in &rule.users {
                if let User::Name(name) | User::Member(name) = user
                    && !roles.contains(name)
                {
                    self.at(
                        Code::UnknownRole,
                        rule,
                        format!("no role is named {name:?}"),
                        "correct the name, or drop it",
                    );
                }
            }
        }
    }

    /// Addresses whose text is not the usual form of what they mean.
    fn forms(&mut self, document: &Document) {
        for line in document.lines() {
            let Content::Rule(rule) = &line.content else { continue };
            let (Address::Network(network), Some(field)) = (&rule.address, line.fields.get(3)) else {
                continue;
            };
            let written = field[0].text.split('/').next().unwrap_or_default();
            if written.parse() != Ok(network.address()) {
                let reason = format!(
                    "{written:?} is read as {}: numbers may be octal, hexadecimal or short",
                    network.address()
                );
                self.at(Code::AddressForm, rule, reason, format!("write {network}"));
            }
        }
    }

    fn reach(&mut self, rules: &[Rule]) {
        match shadowed(rules) {
            Ok(dead) => {
                for dead in dead.iter().filter(|dead| rules[dead.rule].possible) {
                    let lines: Vec<String> =
                        dead.by.iter().map(|&by| rules[by].origin.line.to_string()).collect();
                    let reason = if lines.is_empty() {
                        "no connection can match it".to_owned()
                    } else {
                        format!("every connection it is for is decided before, by line {}", lines.join(", "))
                    };
                    self.at(
                        Code::Shadowed,
                        &rules[dead.rule],
                        reason,
                        "move it up, or drop it: nothing changes",
                    );
                }
            }
            Err(why) => {
                self.push(Code::Undecided, 0, None, format!("shadowed rules: {why}"), "simplify the rules");
            }
        }
    }

    /// No way for the superuser is no rule that may admit it into its own database or `postgres`.
    fn lockout(&mut self, rules: &[Rule], superuser: &str) {
        if !crate::guard::admits(rules, superuser) {
            let reason = format!("no rule lets {superuser:?} in, from anywhere");
            self.push(Code::Lockout, 0, None, reason, format!("write first: local all {superuser} peer"));
        }
    }

    fn versions(&mut self, document: &Document, server: &Server, next: &Server) {
        let again = Document::parse(document.text(), next);
        let other: Vec<_> = again.lines().iter().map(|line| (line.origin.line, &line.content)).collect();
        let version = next.version();
        for line in document.lines().iter().filter(|line| line.origin.file.is_none()) {
            let Content::Rule(rule) = &line.content else { continue };
            let reason = match other.iter().find(|(number, _)| *number == line.origin.line) {
                Some((_, Content::Rule(same))) if means_same(rule, same) => continue,
                Some((_, Content::Rule(_))) => format!(
                    "PostgreSQL {version} reads names with a slash as patterns, {} as names",
                    server.version()
                ),
                Some((_, Content::Refused(error))) => {
                    format!("PostgreSQL {version} refuses it: {}", error.reason)
                }
                _ => format!("PostgreSQL {version} does not see it as a rule"),
            };
            self.at(Code::VersionDependent, rule, reason, "write it so that both versions agree");
        }
    }
}

fn means_same(one: &Rule, other: &Rule) -> bool {
    one == other
        || diff(std::slice::from_ref(one), std::slice::from_ref(other)) == Diff::Equal
            && patterns(one) == patterns(other)
}

fn patterns(rule: &Rule) -> Vec<&Pattern> {
    let databases = rule.databases.iter().filter_map(|database| match database {
        Database::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    let users = rule.users.iter().filter_map(|user| match user {
        User::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    databases.chain(users).collect()
}

fn is_public(address: &Address) -> bool {
    match address {
        Address::All => true,
        Address::Network(network) => network.to_net().is_none_or(|net| !is_private(&net)),
        Address::Host(_) | Address::SameHost | Address::SameNet => false,
    }
}
