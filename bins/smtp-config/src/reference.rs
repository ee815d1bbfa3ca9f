//! References to secrets, on the command line and in a file of settings.

use cli_support::secret::{Reference, ReferenceError};
use serde::Deserialize;
use std::convert::Infallible;
use std::fmt;

/// Reference to a secret in a file of settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct SecretReference(pub(crate) Reference);

/// Value of an option for a secret: a reference, or the error of any other text, which is not kept since it may be the
/// secret.
#[derive(Clone, Debug)]
pub(crate) struct SecretArgument(pub(crate) Result<Reference, NotAReference>);

/// Error of a text that is not a reference to a secret. Displayed with the fix, and without the text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotAReference {
    /// The text has none of the forms.
    Form(ReferenceError),
    /// The path after `file:`, or one after `age:`, is relative. Contains the form to write.
    RelativePath(&'static str),
}

impl fmt::Display for NotAReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(why) => why.fmt(out),
            Self::RelativePath(form) => {
                write!(
                    out,
                    "the path of a reference to a secret must be absolute: write {form}, with the path from / on"
                )
            }
        }
    }
}

/// Parses a reference to a secret. Never fails: any other text becomes an error in the [`SecretArgument`].
pub(crate) fn reference(text: &str) -> Result<SecretArgument, Infallible> {
    Ok(SecretArgument(text.parse().map_err(|why| relative_path(text).unwrap_or(NotAReference::Form(why)))))
}

impl TryFrom<String> for SecretReference {
    type Error = NotAReference;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let relative = relative_path(&text);
        // The text may be a misplaced secret, and is overwritten in memory.
        Reference::try_from(text).map(Self).map_err(|why| relative.unwrap_or(NotAReference::Form(why)))
    }
}

/// Returns the error of a text that would be a reference if its paths were absolute. `None` for other texts.
fn relative_path(text: &str) -> Option<NotAReference> {
    let form = match text.split_once(':')? {
        ("file", path) if !path.is_empty() && !path.starts_with('/') => "file:/path",
        ("age", paths) => {
            let (file, identity) = paths.split_once("?identity=")?;
            if file.starts_with('/') && identity.starts_with('/') {
                return None;
            }
            "age:/path?identity=/path"
        }
        _ => return None,
    };
    Some(NotAReference::RelativePath(form))
}
