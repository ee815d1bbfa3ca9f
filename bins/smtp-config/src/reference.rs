//! References to secrets on the command line.

use cli_support::secret::Reference;
use std::convert::Infallible;

/// A text that was given for a secret: a reference, or something else, which is not repeated since it may be the secret.
#[derive(Clone, Debug)]
pub(crate) struct SecretArgument(pub(crate) Option<Reference>);

/// Parses a reference to a secret.
pub(crate) fn reference(text: &str) -> Result<SecretArgument, Infallible> {
    Ok(SecretArgument(text.parse().ok()))
}
