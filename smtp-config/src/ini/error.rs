//! Errors of parsing app.ini.

use thiserror::Error;

/// Error of parsing app.ini, as go-ini reports it. Forgejo does not start with such a file. Displayed with position,
/// kind and fix.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{line}:{column}: {reason}: {}", reason.fix())]
pub struct IniError {
    /// Line number, from 1. For a value of several lines, that of its first line.
    pub line: u32,
    /// Column of the first character that is not white space, in characters, from 1.
    pub column: u32,
    /// Kind of the error.
    pub reason: SyntaxError,
}

/// Kind of a syntax error. The line itself is not included, since it may contain a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxError {
    /// A section header has no closing `]`.
    #[error("unclosed section header")]
    SectionNotClosed,
    /// A section header has no name.
    #[error("section without a name")]
    SectionWithoutName,
    /// A line contains neither `=` nor `:`.
    #[error("not a comment, a section or key = value")]
    NoDelimiter,
    /// The quote of a key is not closed.
    #[error("unclosed quote around the key")]
    KeyNotClosed,
    /// Nothing precedes the `=` or `:`.
    #[error("value without a key")]
    KeyWithoutName,
    /// The backtick or triple quote of a value is not closed before the end of the file.
    #[error("unclosed quote around the value")]
    ValueNotClosed,
}

impl SyntaxError {
    /// Returns the action that corrects this kind of error, as an imperative phrase.
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
