//! The outcome of a run: exit codes and error messages.

use crate::finding::{Finding, Findings, Place, fix};
use crate::journal::Priority;
use serde_json::{Map, Value, json};
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
    /// Some of the work failed. The results of all of it are fields of the same JSON document.
    #[error("{text}")]
    Partial {
        /// The exit code, 1 or 2.
        code: u8,
        /// The error, its place, and the fix.
        text: String,
        /// The faults in the form of findings; empty if the text is the only one.
        findings: Findings,
        /// The fields of the document beside `error`, `code` and `findings`.
        results: Map<String, Value>,
    },
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
            Self::Partial { code, .. } => *code,
            Self::Configuration(_) | Self::Unusable(_) => 2,
        }
    }

    /// Returns the error as one JSON document: `error`, `code` (the exit code) and `findings`, of which there is at least one. A
    /// failure without findings of its own is one about the program.
    pub fn json(&self, program: &str) -> Value {
        let about = |code, text: &String, advice: &str| {
            let place = Place { key: program.to_owned(), ..Place::default() };
            Findings::new(vec![Finding::error(code, place, text).fix(advice)])
        };
        let (findings, mut document) = match self {
            Self::Configuration(text) => (about("configuration", text, fix(text)), Map::new()),
            // The end of such a text is as often a cause as a fix.
            Self::Failed(text) => (about("failed", text, ""), Map::new()),
            Self::Unusable(findings) => (findings.clone(), Map::new()),
            Self::Partial { text, findings, results, .. } if findings.list().is_empty() => {
                (about("failed", text, ""), results.clone())
            }
            Self::Partial { findings, results, .. } => (findings.clone(), results.clone()),
        };
        document.insert("error".to_owned(), json!(self.to_string()));
        document.insert("code".to_owned(), json!(self.code()));
        document.insert("findings".to_owned(), findings.json());
        Value::Object(document)
    }

    /// Prints the error: as one document on standard output for programs, or as a line on standard error. The faults of a file
    /// begin their lines with the place, as editors expect.
    pub fn print(&self, program: &str, json: bool) {
        match self {
            _ if json => println!("{}", self.json(program)),
            Self::Unusable(findings) => Priority::Error.print_plain(findings),
            _ => eprintln!("{}{program}: {self}", Priority::Error.prefix()),
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

    /// Whatever fails, programs read one object with the same fields.
    #[test]
    fn each_failure_is_one_document_with_findings() {
        let place = Place { file: "a.toml".to_owned(), line: 1, column: 1, key: "b".to_owned() };
        let findings = Findings::new(vec![Finding::error("value", place, "wrong: write c")]);
        let results = Map::from_iter([("done".to_owned(), json!(["x"]))]);
        for (failure, code, found, advice) in [
            (Failure::Configuration("b is missing: write b".to_owned()), 2, "configuration", "write b"),
            (Failure::Failed("/x: No such file or directory (os error 2)".to_owned()), 1, "failed", ""),
            (Failure::Unusable(findings.clone()), 2, "value", "write c"),
            (
                Failure::Partial {
                    code: 1,
                    text: "1 of 2 failed".to_owned(),
                    findings: Findings::default(),
                    results: results.clone(),
                },
                1,
                "failed",
                "",
            ),
            (
                Failure::Partial { code: 1, text: "1 of 2 failed".to_owned(), findings, results },
                1,
                "value",
                "write c",
            ),
        ] {
            let document = failure.json("sample");
            let finding = &document["findings"][0];
            assert_eq!(
                (&document["code"], &finding["code"], &finding["fix"]),
                (&json!(code), &json!(found), &json!(advice))
            );
            assert_eq!(document["error"], json!(failure.to_string()));
            assert_eq!(document["done"].is_array(), matches!(failure, Failure::Partial { .. }), "{document}");
            let place = &finding["place"];
            assert!(place["file"] == "a.toml" || place["key"] == "sample", "{document}");
        }
    }
}
