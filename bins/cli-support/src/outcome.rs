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
    /// Errors of the input that have been printed already: exit code 2.
    Unusable,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        match done {
            Done::Fine => Self::SUCCESS,
            Done::Differences => Self::from(3),
            Done::Unusable => Self::from(2),
        }
    }
}

/// A failed run. The text describes the error, and contains its position and the fix where they are known.
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
    /// Some of the work failed. Its JSON document contains the results of all of the work beside the error.
    #[error("{text}")]
    Partial {
        /// The exit code, 1 or 2.
        code: u8,
        /// The error as one text, for people.
        text: String,
        /// The findings that make up the error; empty if there is only the text.
        findings: Findings,
        /// The fields of the JSON document beside `error`, `code` and `findings`, which replace results of these names.
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

    /// Returns the exit code: that of [`Partial`](Self::Partial), 1 for [`Failed`](Self::Failed), 2 for the other
    /// kinds.
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Partial { code, .. } => *code,
            Self::Configuration(_) | Self::Unusable(_) => 2,
        }
    }

    /// Returns the error as a JSON object with `error` (the text), `code` (the exit code) and `findings`, to which
    /// [`Partial`](Self::Partial) adds its results. A failure without findings gets one with the text as message and
    /// the program as key, of the code `configuration` or `failed`.
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

    /// Prints the error: with `json` as one document on standard output, else on standard error. There it is a line
    /// that begins with the name of the program; only the findings of [`Unusable`](Self::Unusable) are lines of their
    /// own, which begin with their place.
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

/// Returns the message of an error and those of its causes, joined by `: `. A cause with which the text so far ends is
/// omitted.
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
