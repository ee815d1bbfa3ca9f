//! The errors of a configuration file, with their positions.

use cli_support::finding::{Finding, Findings, Place, reading};
use cli_support::outcome::Failure;
use std::fmt;

/// An error at a position in a configuration file.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The included file that has the error; `None` for the main file.
    pub(crate) file: Option<String>,
    /// The line, from 1; 0 if the file could not be read.
    pub(crate) line: usize,
    /// The column, from 1, in characters.
    pub(crate) column: usize,
    /// The path of the key; empty if the error belongs to none.
    pub(crate) key: String,
    /// The value as written; `None` if there is none to show, or it may be a secret.
    pub(crate) value: Option<String>,
    /// The cause, and in most cases the fix.
    pub(crate) message: String,
}

impl Problem {
    /// Converts the error into a finding, the form that the programs of the workspace share. Its code follows from the
    /// line and the beginning of the message: `unreadable`, `unknown-key`, `missing`, `type`, `syntax` or `value`.
    /// `file` is the name of the main file.
    fn finding(&self, file: &str) -> Finding {
        let Self { line, column, key, value, message, .. } = self;
        let file = self.file.as_deref().unwrap_or(file);
        let place = Place { file: file.into(), line: *line, column: *column, key: key.clone() };
        let code = match message {
            _ if *line == 0 => "unreadable",
            message if message.starts_with("unknown key") => "unknown-key",
            message if message.starts_with("missing") => "missing",
            message if message.starts_with("expected") => "type",
            message if key.is_empty() && message.starts_with("not valid TOML") => "syntax",
            _ => "value",
        };
        Finding::error(code, place, message).value(value.clone())
    }
}

impl From<Finding> for Problem {
    fn from(finding: Finding) -> Self {
        let Finding { place: Place { line, column, key, .. }, value, message, .. } = finding;
        Self { file: None, line, column, key, value, message }
    }
}

/// All errors of a configuration, sorted by file and line, the main file first.
#[derive(Debug)]
pub(crate) struct Problems {
    /// The name of the main file.
    pub(crate) file: String,
    /// The errors, without duplicates.
    pub(crate) list: Vec<Problem>,
}

impl Problems {
    /// Sorts the errors and removes duplicates. `file` is the name of the main file.
    pub(super) fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort();
        list.dedup();
        Self { file: file.into(), list }
    }

    /// Creates the error of a main file that cannot be read, on line 0.
    pub(super) fn unreadable(file: &str, why: &std::io::Error) -> Self {
        Self::new(
            file,
            vec![Problem { message: format!("cannot be read: {}", reading(why)), ..Problem::default() }],
        )
    }

    /// Converts the errors into findings, the form that the programs of the workspace share.
    pub(crate) fn findings(&self) -> Findings {
        Findings::new(self.list.iter().map(|problem| problem.finding(&self.file)).collect())
    }

    /// Logs all errors as one message of the priority "error".
    pub(crate) fn tell(&self) {
        crate::journal::error(self);
    }

    /// Prints the errors: as one JSON document to standard output if `json`, otherwise as text to standard error.
    pub(crate) fn report(&self, json: bool) {
        if json {
            let list = self.list.iter().map(|problem| {
                let Problem { key, value, message, .. } = problem;
                let message = match (key.is_empty(), value) {
                    (true, _) => message.clone(),
                    (_, Some(value)) => format!("{key} = {value}: {message}"),
                    (_, None) => format!("{key}: {message}"),
                };
                serde_json::json!({
                    "file": problem.file.as_ref().unwrap_or(&self.file),
                    "line": problem.line,
                    "column": problem.column,
                    "message": message,
                })
            });
            let mut document = Failure::Unusable(self.findings()).json("edge-proxyd");
            document["ok"] = false.into();
            document["problems"] = list.collect();
            println!("{document}");
        } else {
            eprint!("{self}");
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.iter().try_for_each(|problem| writeln!(f, "{}", problem.finding(&self.file)))
    }
}

/// Returns the line and the column, in characters, of a byte offset. Both count from 1. An offset beyond the text
/// counts as its end.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
