//! Identifiers and text values that PostgreSQL can store, and their SQL syntax.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Maximum length of an identifier in bytes: `NAMEDATALEN - 1`. The server would truncate longer ones.
pub const MAX_IDENTIFIER: usize = 63;

/// An identifier: 1 to 63 bytes without NUL. It is case-sensitive, as if quoted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Error of a text that cannot be an identifier in PostgreSQL.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The identifier is empty.
    #[error("a name is empty; write one of 1 to 63 bytes")]
    Empty,
    /// The identifier contains a NUL byte. Contains the identifier.
    #[error("the name {0:?} holds a NUL byte, which no PostgreSQL name can")]
    Nul(String),
    /// The identifier is longer than [`MAX_IDENTIFIER`] bytes.
    #[error("the name {name:?} is {length} bytes long; PostgreSQL keeps at most 63, so shorten it")]
    TooLong {
        /// The rejected identifier.
        name: String,
        /// Length of the identifier in bytes.
        length: usize,
    },
}

impl Name {
    /// Creates an identifier. It is not case-folded.
    ///
    /// # Errors
    /// Returns a [`NameError`] if the identifier is empty, too long, or contains a NUL byte.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.contains('\0') {
            return Err(NameError::Nul(name.to_owned()));
        }
        if name.len() > MAX_IDENTIFIER {
            return Err(NameError::TooLong { name: name.to_owned(), length: name.len() });
        }
        Ok(Self(name.into()))
    }

    /// Returns the identifier as a string slice, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the identifier in double quotes, with quotes in it doubled.
    #[must_use]
    pub fn quoted(&self) -> String {
        identifier(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

/// A text value without NUL bytes, such as a comment or the value of a setting.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

/// Error of a text that contains a NUL byte, which PostgreSQL cannot store.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the text holds a NUL byte, which PostgreSQL cannot store")]
pub struct ContainsNul;

impl Text {
    /// Creates a text value.
    ///
    /// # Errors
    /// Returns [`ContainsNul`] if the text contains a NUL byte.
    pub fn new(text: &str) -> Result<Self, ContainsNul> {
        if text.contains('\0') { Err(ContainsNul) } else { Ok(Self(text.into())) }
    }

    /// Returns the text as a string slice, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text as an SQL string constant. If it contains a backslash, the constant is an escape string with a
    /// leading space (` E'…'`), which does not depend on `standard_conforming_strings`.
    #[must_use]
    pub fn quoted(&self) -> String {
        literal(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for Text {
    type Error = ContainsNul;

    fn try_from(text: &str) -> Result<Self, ContainsNul> {
        Self::new(text)
    }
}

/// Quotes a name as an SQL identifier.
pub(crate) fn identifier(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Returns a text without NUL bytes as an SQL string constant; see [`Text::quoted`].
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 3);
    if text.contains('\\') {
        // The space separates the E from a preceding word.
        out.push_str(" E");
    }
    out.push('\'');
    for c in text.chars() {
        if c == '\'' || c == '\\' {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}
