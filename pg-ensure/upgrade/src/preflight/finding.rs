//! Findings and their severity.

use std::fmt;

/// Severity of a finding, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Severity {
    /// Information. No change is needed.
    Note,
    /// The upgrade can continue, but the operator should know the finding.
    Warning,
    /// The upgrade continues only if the operator accepts this finding by its code.
    Consent,
    /// The upgrade cannot continue.
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

/// An error, warning or remark of the preflight, with its fix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "shell", derive(serde::Serialize, serde::Deserialize))]
pub struct Finding {
    /// Stable code of the finding, such as `prepared-transactions`.
    pub code: String,
    /// Severity of the finding.
    pub severity: Severity,
    /// Description of the finding.
    pub what: String,
    /// Fix for the operator. Empty if there is none.
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

/// Returns `true` if no finding is a blocker or requires consent.
#[must_use]
pub fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.severity < Severity::Consent)
}

/// Joins a list of names with commas. Of more than six names, only the first five are shown, followed by the number of
/// the others.
pub(super) fn listed(names: &[String]) -> String {
    /// Maximum number of names shown of a longer list.
    const SHOWN: usize = 5;
    if names.len() <= SHOWN + 1 {
        return names.join(", ");
    }
    format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
}

/// The findings so far, and the codes that the operator accepts.
pub(super) struct FindingList<'a> {
    pub(super) findings: Vec<Finding>,
    pub(super) accepted: &'a [String],
}

impl FindingList<'_> {
    /// Adds a finding.
    fn add(&mut self, code: &str, severity: Severity, what: String, fix: String) {
        self.findings.push(Finding { code: code.to_owned(), severity, what, fix });
    }

    /// Adds a finding that prevents the upgrade.
    pub(super) fn blocker(&mut self, code: &str, what: String, fix: impl Into<String>) {
        self.add(code, Severity::Blocker, what, fix.into());
    }

    /// Adds a finding that requires consent, with the way to accept it in its fix. If the operator accepts its code,
    /// adds a warning without a fix instead.
    pub(super) fn consent(&mut self, code: &str, what: String, fix: &str) {
        if self.accepted.iter().any(|accepted| accepted == code) {
            self.add(code, Severity::Warning, format!("{what} (accepted)"), String::new());
        } else {
            let join = if fix.is_empty() { "" } else { ", or " };
            self.add(code, Severity::Consent, what, format!("{fix}{join}accept it by --accept {code}"));
        }
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, code: &str, what: String, fix: &str) {
        self.add(code, Severity::Warning, what, fix.to_owned());
    }

    /// Adds a note.
    pub(super) fn note(&mut self, code: &str, what: String) {
        self.add(code, Severity::Note, what, String::new());
    }
}
