//! Why a file cannot be read.

use thiserror::Error;

/// A file that go-ini refuses as a whole.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {reason}; {}", reason.fix())]
pub struct IniError {
    /// The line, from 1.
    pub line: u32,
    /// Why.
    pub reason: Malformed,
}

/// Why a line is refused. The line itself is not shown: it may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A header without `]`.
    #[error("a section header that is not closed")]
    SectionNotClosed,
    /// A header without a name.
    #[error("a section without a name")]
    SectionWithoutName,
    /// Neither `=` nor `:`.
    #[error("neither a comment, a section nor key = value")]
    NoDelimiter,
    /// A key whose quote is not closed.
    #[error("the key's quote is not closed")]
    KeyNotClosed,
    /// Nothing before the `=`.
    #[error("a value without a key")]
    KeyWithoutName,
    /// A value whose backtick or triple quote is not closed before the end of the file.
    #[error("the value's quote is not closed")]
    ValueNotClosed,
}

impl Malformed {
    /// What to write instead.
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
