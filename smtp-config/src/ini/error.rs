//! Errors of the reader.

use thiserror::Error;

/// A file that go-ini refuses as a whole: Forgejo does not start with it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{line}:{column}: {reason}: {}", reason.fix())]
pub struct IniError {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// The kind of the fault.
    pub reason: Malformed,
}

/// The fault of a line. The line itself is not shown: it may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A header without `]`.
    #[error("unclosed section header")]
    SectionNotClosed,
    /// A header without a name.
    #[error("section without a name")]
    SectionWithoutName,
    /// Neither `=` nor `:`.
    #[error("not a comment, a section or key = value")]
    NoDelimiter,
    /// A key whose quote is not closed.
    #[error("unclosed quote around the key")]
    KeyNotClosed,
    /// Nothing before the `=`.
    #[error("value without a key")]
    KeyWithoutName,
    /// A value whose backtick or triple quote is not closed before the end of the file.
    #[error("unclosed quote around the value")]
    ValueNotClosed,
}

impl Malformed {
    /// Returns the advice on what to write.
    #[must_use]
    pub fn fix(self) -> &'static str {
        match self {
            Self::SectionNotClosed => "end it with ]",
            Self::SectionWithoutName => "name it, or remove the line",
            Self::NoDelimiter => "write key = value, or # before a comment",
            Self::KeyNotClosed => "close the quote, or write the key without",
            Self::KeyWithoutName => "write a key before the =",
            Self::ValueNotClosed => {
                "close it; a value that begins with three quotes or a backtick must end so"
            }
        }
    }
}
