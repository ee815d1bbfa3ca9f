//! Errors of a file and their positions.

use std::fmt;

/// One error of a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// The line, from 1; 0 if the file could not be read.
    pub(crate) line: usize,
    /// The column, from 1, in characters.
    pub(crate) column: usize,
    /// The key, the value and the fix.
    pub(crate) message: String,
}

/// All errors of a file, in the order of its lines.
#[derive(Debug)]
pub(crate) struct Problems {
    pub(crate) file: String,
    pub(crate) list: Vec<Problem>,
}

impl Problems {
    /// Sorts the errors and removes duplicates.
    pub(super) fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort();
        list.dedup();
        Self { file: file.into(), list }
    }

    pub(super) fn unreadable(file: &str, why: &std::io::Error) -> Self {
        Self::new(file, vec![Problem { line: 0, column: 0, message: format!("cannot be read: {why}") }])
    }

    /// Prints the errors: to standard error for people, to standard output as JSON.
    pub(crate) fn report(&self, json: bool) {
        if json {
            let list = self.list.iter().map(|problem| {
                serde_json::json!({
                    "file": self.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.message,
                })
            });
            println!("{}", serde_json::json!({ "ok": false, "problems": list.collect::<Vec<_>>() }));
        } else {
            eprint!("{self}");
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Problem { line, column, message } in &self.list {
            match line {
                0 => writeln!(f, "{}: {message}", self.file)?,
                _ => writeln!(f, "{}:{line}:{column}: {message}", self.file)?,
            }
        }
        Ok(())
    }
}

/// Returns line and column of a byte offset, both from 1.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
