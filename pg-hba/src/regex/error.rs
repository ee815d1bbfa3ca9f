//! Errors of regular expressions.

use thiserror::Error;

/// Error of a regular expression. Displayed as the server's message (`regerrs.h`).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternError {
    /// A basic regular expression (`(?b)`), which the server accepts but this implementation does not support.
    #[error("basic regular expressions are not supported here")]
    Basic,
    /// A quantifier does not follow an atom, or the text after `(?` or `***` is not valid.
    #[error("quantifier operand invalid")]
    BadRepeat,
    /// The bounds of a quantifier are reversed, such as `{2,1}`, above 255, or contain other characters.
    #[error("invalid repetition count(s)")]
    BadBounds,
    /// A back reference is to a group that does not exist or is not closed yet, or is in a lookaround constraint.
    #[error("invalid backreference number")]
    BadReference,
    /// A `{` has no matching `}`.
    #[error("braces {{}} not balanced")]
    Braces,
    /// A `[` has no matching `]`.
    #[error("brackets [] not balanced")]
    Brackets,
    /// The name in `[[:name:]]` is not a character class.
    #[error("invalid character class")]
    Class,
    /// The name in `[[.name.]]` or `[[=name=]]` is not a collating element.
    #[error("invalid collating element")]
    Collation,
    /// A backslash is at the end; or precedes a letter without a meaning or digits that are not valid; or, in brackets,
    /// the letter of a constraint or the number of a group.
    #[error("invalid escape \\ sequence")]
    Escape,
    /// A letter in `(?…)` at the start is not an option, or another character than a letter precedes the parenthesis.
    #[error("invalid embedded option")]
    Option,
    /// Parentheses are not balanced.
    #[error("parentheses () not balanced")]
    Parentheses,
    /// A character range is reversed, such as `[b-a]`, begins or ends in a class, or shares an end with another, as in
    /// `[a-c-e]`.
    #[error("invalid character range")]
    Range,
    /// After expansion of its bounds, the regular expression has more than 43,350 characters and branches or 1,300,000
    /// transitions between its characters, or it is nested 200 groups deep or more, or has more than some 500 groups in a
    /// row.
    #[error("regular expression is too complex")]
    TooComplex,
    /// The director `***?` is used, which is unknown.
    #[error("invalid regexp (reg version 0.8)")]
    Version,
}
