//! Helpers for reading the rows of a snapshot.

use crate::acl::{Acl, AclError, ObjectKind};
use crate::name::{ContainsNul, Name, NameError, Text};
use crate::owned::Owned;
use crate::version::Version;
use std::borrow::Cow;
use std::collections::BTreeMap;
use thiserror::Error;

/// Error of interpreting a query's result: a defect of this crate, or a server other than PostgreSQL.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The JSON does not have the expected structure.
    #[error("the snapshot does not have the expected shape")]
    Shape(#[source] serde_json::Error),
    /// A name is not a valid identifier.
    #[error("the snapshot holds an invalid name")]
    Name(#[from] NameError),
    /// A text contains a NUL byte.
    #[error("the snapshot holds a text with a NUL byte")]
    Text(#[from] ContainsNul),
    /// An ACL item is malformed.
    #[error("the snapshot holds an access control list that cannot be parsed")]
    Acl(#[from] AclError),
    /// A value is not one that this crate knows; the value.
    #[error("the snapshot holds the unknown value {0:?}")]
    Value(String),
}

/// A string borrowed from the JSON if possible.
pub(crate) type Str<'a> = Cow<'a, str>;
/// ACL items, or `None` for NULL.
pub(crate) type List<'a> = Option<Vec<Str<'a>>>;
/// Cache of names: role names recur in most rows, and each is allocated once.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<Box<str>, Name>);

impl Names {
    /// Returns the name for a text, from the cache or validated and added.
    ///
    /// # Errors
    /// Returns an error if it is not a valid name.
    pub(crate) fn get(&mut self, text: &str) -> Result<Name, NameError> {
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let name = Name::new(text)?;
        self.0.insert(text.into(), name.clone());
        Ok(name)
    }

    /// Returns the name for a text that may be NULL, for which it is `None`.
    ///
    /// # Errors
    /// Returns an error if the text is not a valid name.
    pub(crate) fn maybe(&mut self, text: Option<&Str<'_>>) -> Result<Option<Name>, NameError> {
        text.map(|text| self.get(text)).transpose()
    }
}

/// Returns owner and ACL of an object. A NULL ACL stands for the default ACL of the kind of object.
///
/// # Errors
/// Returns an error if the ACL cannot be parsed.
pub(crate) fn owned(
    kind: ObjectKind,
    owner: Name,
    acl: &List<'_>,
    version: Version,
) -> Result<Owned, SnapshotError> {
    Ok(match acl {
        Some(items) => Owned { owner, acl: Acl::parse(items)? },
        None => Owned::new(kind, &owner, version),
    })
}

/// Converts a string to a [`Text`].
///
/// # Errors
/// Returns [`SnapshotError::Text`] if it contains a NUL byte.
pub(crate) fn text(text: &str) -> Result<Text, SnapshotError> {
    Ok(Text::new(text)?)
}

/// Converts a string that may be NULL, for which the result is `None`, to a [`Text`].
///
/// # Errors
/// Returns [`SnapshotError::Text`] if it contains a NUL byte.
pub(crate) fn maybe_text(found: Option<&Str<'_>>) -> Result<Option<Text>, SnapshotError> {
    found.map(|found| text(found)).transpose()
}
