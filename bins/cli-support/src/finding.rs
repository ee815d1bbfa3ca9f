//! Findings: errors and warnings with their position, for display and as JSON.
//!
//! For display, a finding is one line, `file:line:column: severity[code]: key = value: message`, which editors and
//! terminals can open. In JSON it is an object with `code`, `severity`, `place`, `value`, `message` and `fix`.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Information that does not change the exit code.
    Note,
    /// The input can be used, with a risk: exit code 3.
    Warning,
    /// The input cannot be used: exit code 2.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Position of a finding in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Name of the file, as the user gave it.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 for the file as a whole.
    pub column: usize,
    /// Path of the key, such as `site[0].hosts`; empty if there is none.
    pub key: String,
}

/// An error or a warning of a check, with its fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, machine-readable name of the kind of finding.
    pub code: Cow<'static, str>,
    /// Severity of the finding.
    pub severity: Severity,
    /// Position in the file.
    pub place: Place,
    /// Value as written. `None` if there is none or it may be a secret.
    pub value: Option<String>,
    /// Description of the error, with its fix.
    pub message: String,
    /// The fix alone: the part of the message that [`fix`] returns, unless [`Finding::fix`](Self::fix) set another.
    pub fix: String,
}

impl Finding {
    /// Creates a finding of severity error, without a value. The message has the form `error: fix`, from which the fix
    /// is taken.
    pub fn error(code: impl Into<Cow<'static, str>>, place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        let fix = fix(&message).to_owned();
        Self { code: code.into(), severity: Severity::Error, place, value: None, message, fix }
    }

    /// Sets the severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Sets the fix, for a message that does not contain one. The message stays.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Sets the value as written in the file; `None` removes it.
    #[must_use]
    pub fn value(mut self, value: Option<String>) -> Self {
        self.value = value;
        self
    }
}

/// Returns the fix in a message: the part after the first `: `, else after the first `; `, else the whole message.
pub fn fix(message: &str) -> &str {
    let after = |mark: &str| message.split_once(mark).map(|(_, fix)| fix).filter(|fix| !fix.is_empty());
    after(": ").or_else(|| after("; ")).unwrap_or(message)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column, key } = &self.place;
        match (file.is_empty(), line) {
            (true, _) => {}
            (false, 0) => write!(f, "{file}: ")?,
            (false, _) => write!(f, "{file}:{line}:{column}: ")?,
        }
        write!(f, "{}[{}]: ", self.severity, self.code)?;
        match (&self.value, key.is_empty()) {
            (Some(value), false) => write!(f, "{key} = {value}: ")?,
            (None, false) => write!(f, "{key}: ")?,
            (_, true) => {}
        }
        f.write_str(&self.message)
    }
}

/// Returns the message about a file that cannot be read because of `why`: the error, and the fix for a missing file, one
/// that is not UTF-8, and one without permission.
///
/// ```
/// let why = std::io::Error::from(std::io::ErrorKind::NotFound);
/// assert_eq!(cli_support::finding::reading(&why), "entity not found: name a file that exists");
/// ```
pub fn reading(why: &std::io::Error) -> String {
    match why.kind() {
        std::io::ErrorKind::NotFound => format!("{why}: name a file that exists"),
        std::io::ErrorKind::InvalidData => "not UTF-8: save the file as UTF-8".to_owned(),
        std::io::ErrorKind::PermissionDenied => format!("{why}: let this user read it"),
        _ => format!("{why}: name a file that can be read"),
    }
}

/// The findings of one input, in order of line and column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Sorts findings by line, column and message, and removes duplicates.
    pub fn new(mut list: Vec<Finding>) -> Self {
        list.sort_by(|a, b| {
            let place = |finding: &Finding| (finding.place.line, finding.place.column);
            place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message))
        });
        list.dedup();
        Self(list)
    }

    /// Creates the finding (code `unreadable`) of a file that cannot be read because of `why`, with a fix for a missing
    /// file, one that is not UTF-8, and one without permission. The place is the file as a whole.
    pub fn unreadable(file: &str, why: &std::io::Error) -> Self {
        let place = Place { file: file.to_owned(), ..Place::default() };
        Self(vec![Finding::error("unreadable", place, reading(why))])
    }

    /// Returns these findings and `others` in one list, sorted and without duplicates like those of [`new`](Self::new).
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self::new([self.0, others.0].concat())
    }

    /// Returns the findings.
    pub fn list(&self) -> &[Finding] {
        &self.0
    }

    /// Returns the findings as a JSON array of objects.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_place_key_value_error_and_fix() {
        let place = Place { file: "a.toml".to_owned(), line: 2, column: 5, key: "port".to_owned() };
        let finding = Finding::error("value", place.clone(), "not a valid port: write 587");
        let finding = finding.value(Some("\"x\"".to_owned()));
        assert_eq!(
            finding.to_string(),
            "a.toml:2:5: error[value]: port = \"x\": not a valid port: write 587"
        );
        assert_eq!(finding.fix, "write 587");
        let json = Findings::new(vec![finding]).json();
        assert_eq!((&json[0]["severity"], &json[0]["place"]["line"]), (&"error".into(), &2.into()), "{json}");
        let hidden = Finding::error("value", place, "must be one of a, b; did you mean `a`?");
        assert_eq!(
            hidden.to_string(),
            "a.toml:2:5: error[value]: port: must be one of a, b; did you mean `a`?"
        );
        assert_eq!(hidden.fix, "did you mean `a`?");
        let nowhere = Place { key: "server".to_owned(), ..Place::default() };
        let note = Finding::error("note", nowhere, "is a standby").severity(Severity::Note);
        assert_eq!(note.to_string(), "note[note]: server: is a standby");
    }
}
