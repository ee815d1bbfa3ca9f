//! Refused regular expressions.

use thiserror::Error;

/// The reason for which a regular expression is refused. The text of each is the server's own (`regerrs.h`).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternError {
    /// `(?b)`: basic regular expressions, which this implementation does not have.
    #[error("basic regular expressions are not supported here")]
    Basic,
    /// A quantifier without anything before it.
    #[error("quantifier operand invalid")]
    BadRepeat,
    /// Bounds such as `{2,1}` or above 255.
    #[error("invalid repetition count(s)")]
    BadBounds,
    /// A back reference to no group, to an open one, or from lookaround.
    #[error("invalid backreference number")]
    BadReference,
    /// `{` without `}`.
    #[error("braces {{}} not balanced")]
    Braces,
    /// `[` without `]`.
    #[error("brackets [] not balanced")]
    Brackets,
    /// `[[:name:]]` with an unknown name.
    #[error("invalid character class")]
    Class,
    /// `[[.name.]]` with an unknown name.
    #[error("invalid collating element")]
    Collation,
    /// A letter after a backslash that means nothing.
    #[error("invalid escape \\ sequence")]
    Escape,
    /// Letters of `(?…)` that mean nothing.
    #[error("invalid embedded option")]
    Option,
    /// `(` without `)`, or the reverse.
    #[error("parentheses () not balanced")]
    Parentheses,
    /// `[b-a]`, or a class as the end of a range.
    #[error("invalid character range")]
    Range,
    /// Too large once its bounds are expanded.
    #[error("regular expression is too complex")]
    TooComplex,
    /// An unknown director, `***?`.
    #[error("invalid regexp (reg version 0.8)")]
    Version,
}
