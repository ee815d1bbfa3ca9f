//! Names and texts that PostgreSQL can hold, and how they are written in SQL.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The longest identifier in bytes: `NAMEDATALEN - 1`. The server would cut a longer one off.
pub const MAX_IDENTIFIER: usize = 63;

/// An identifier: not empty, at most 63 bytes, without NUL. Taken exactly as it is: no case is folded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A text that is not a valid [`Name`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("a name is empty; write one of 1 to 63 bytes")]
    Empty,
    /// It holds NUL.
    #[error("the name {0:?} holds a NUL byte, which no PostgreSQL name can")]
    Nul(String),
    /// It is too long.
    #[error("the name {name:?} is {length} bytes long; PostgreSQL keeps at most 63, so shorten it")]
    TooLong {
        /// The rejected name.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty, too long, or holds NUL.
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

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As SQL: always in double quotes, so that no keyword and no case matters.
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

/// A text that a literal can hold: anything without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

/// A text holds a NUL byte, which PostgreSQL cannot store.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the text holds a NUL byte, which PostgreSQL cannot store")]
pub struct ContainsNul;

impl Text {
    /// Checks a text.
    ///
    /// # Errors
    /// When it holds NUL.
    pub fn new(text: &str) -> Result<Self, ContainsNul> {
        if text.contains('\0') { Err(ContainsNul) } else { Ok(Self(text.into())) }
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As SQL, whatever `standard_conforming_strings` says: with a backslash inside, as an escape string.
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

/// The SQL of an identifier. The text must be a valid name; see [`Name`].
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

/// The SQL of a text without NUL.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 3);
    if text.contains('\\') {
        // A space keeps the E from joining a word before it.
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
