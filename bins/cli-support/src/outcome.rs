//! The outcome of a run: exit codes and error messages.

use crate::finding::Findings;
use crate::journal::Priority;
use std::process::ExitCode;
use thiserror::Error;

/// The outcome of a successful run, which determines its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Success without findings: exit code 0.
    Fine,
    /// Differences, findings or warnings: exit code 3.
    Differences,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        match done {
            Done::Fine => Self::SUCCESS,
            Done::Differences => Self::from(3),
        }
    }
}

/// A failed run. The text describes the error, its position and the fix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The usage or the configuration is not valid: exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// The operation failed: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// An input file has errors, each with its position: exit code 2.
    #[error("{0}")]
    Unusable(Findings),
}

impl From<Findings> for Failure {
    fn from(findings: Findings) -> Self {
        Self::Unusable(findings)
    }
}

impl Failure {
    /// Creates a [`Failed`](Self::Failed) from an error and its causes.
    pub fn because(why: &dyn std::error::Error) -> Self {
        Self::Failed(chain(why))
    }

    /// Returns the exit code, 1 or 2.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Configuration(_) | Self::Unusable(_) => 2,
        }
    }

    /// Prints the error: with `json` as an object `{"error", "code"}` on standard output, otherwise on standard error
    /// after the name of the program. The errors of a file are also listed as `findings` in the object; without `json`
    /// their lines begin with the position instead of the name.
    pub fn print(&self, program: &str, json: bool) {
        match (self, json) {
            (Self::Unusable(findings), true) => {
                let (error, code, findings) = (self.to_string(), self.code(), findings.json());
                println!("{}", serde_json::json!({"error": error, "code": code, "findings": findings}));
            }
            (_, true) => println!("{}", serde_json::json!({"error": self.to_string(), "code": self.code()})),
            (Self::Unusable(findings), false) => Priority::Error.print_plain(findings),
            (_, false) => eprintln!("{}{program}: {self}", Priority::Error.prefix()),
        }
    }

    /// Prints the error like [`print`](Self::print), and returns its exit code.
    pub fn exit(&self, program: &str, json: bool) -> ExitCode {
        self.print(program, json);
        ExitCode::from(self.code())
    }
}

/// Returns the line that a program prints if a check found nothing: `edge.toml: OK: 2 listeners, 1 site`. `details` may
/// be empty.
///
/// ```
/// use cli_support::outcome::ok;
/// assert_eq!(ok("databases.toml", "2 roles"), "databases.toml: OK: 2 roles");
/// assert_eq!(ok("app.ini", ""), "app.ini: OK");
/// ```
pub fn ok(subject: impl std::fmt::Display, details: &str) -> String {
    if details.is_empty() { format!("{subject}: OK") } else { format!("{subject}: OK: {details}") }
}

/// Formats a count with its noun, to which `s` is appended unless the count is 1.
///
/// ```
/// use cli_support::outcome::counted;
/// assert_eq!((counted(1, "rule").as_str(), counted(2, "rule").as_str()), ("1 rule", "2 rules"));
/// ```
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Joins an error and its causes with colons. A cause with which the text ends already is omitted.
pub fn chain(why: &dyn std::error::Error) -> String {
    let mut text = why.to_string();
    let mut beneath = why.source();
    while let Some(cause) = beneath {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        beneath = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[derive(Debug, Error)]
    #[error("outer: {0}")]
    struct Repeating(#[source] std::io::Error);

    #[test]
    fn each_cause_is_said_once() {
        let inner = || std::io::Error::other("inner");
        assert_eq!(chain(&Outer(inner())), "outer: inner");
        assert_eq!(chain(&Repeating(inner())), "outer: inner");
        assert_eq!(Failure::because(&Outer(inner())).code(), 1);
        assert_eq!(Failure::Configuration(String::new()).code(), 2);
    }
}
