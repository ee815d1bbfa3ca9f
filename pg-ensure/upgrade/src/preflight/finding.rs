//! Findings and their severity.

use std::fmt;

/// The severity of a finding, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Severity {
    /// For the record.
    Note,
    /// The upgrade can go on; the operator should know of it.
    Warning,
    /// It goes on only when this finding is accepted by name.
    Consent,
    /// It cannot go on.
    Blocker,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Consent => "consent",
            Self::Blocker => "blocker",
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Finding {
    /// Its name, such as `prepared-transactions`.
    pub code: String,
    /// The finding's severity.
    pub severity: Severity,
    /// The finding in words.
    pub what: String,
    /// The fix; empty for notes.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.severity, self.code, self.what)?;
        if !self.fix.is_empty() {
            write!(out, "; {}", self.fix)?;
        }
        Ok(())
    }
}

/// Returns true if an upgrade may continue with these findings.
#[must_use]
pub fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Consent)
}

/// The first of some names, and the number of the others.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    if names.len() <= SHOWN + 1 {
        return names.join(", ");
    }
    format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
}

/// Findings so far, and those whose names were accepted.
pub(super) struct List<'a> {
    pub(super) findings: Vec<Finding>,
    pub(super) accepted: &'a [String],
}

impl List<'_> {
    fn add(&mut self, code: &str, severity: Severity, what: String, fix: String) {
        self.findings.push(Finding { code: code.to_owned(), severity, what, fix });
    }

    pub(super) fn blocker(&mut self, code: &str, what: String, fix: impl Into<String>) {
        self.add(code, Severity::Blocker, what, fix.into());
    }

    pub(super) fn consent(&mut self, code: &str, what: String, fix: &str) {
        if self.accepted.iter().any(|accepted| accepted == code) {
            self.add(code, Severity::Warning, format!("{what} (accepted)"), String::new());
        } else {
            let join = if fix.is_empty() { "" } else { ", or " };
            self.add(code, Severity::Consent, what, format!("{fix}{join}accept it by --accept {code}"));
        }
    }

    pub(super) fn warning(&mut self, code: &str, what: String, fix: &str) {
        self.add(code, Severity::Warning, what, fix.to_owned());
    }

    pub(super) fn note(&mut self, code: &str, what: String) {
        self.add(code, Severity::Note, what, String::new());
    }
}
