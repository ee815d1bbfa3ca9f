//! References to secrets on the command line.

use cli_support::secret::{Reference, ReferenceError};
use std::convert::Infallible;

/// Value of an option for a secret: a reference, or the error of any other text, which is not kept since it may be the
/// secret.
#[derive(Clone, Debug)]
pub(crate) struct SecretArgument(pub(crate) Result<Reference, ReferenceError>);

/// Parses a reference to a secret. Never fails: any other text becomes `SecretArgument(None)`.
pub(crate) fn reference(text: &str) -> Result<SecretArgument, Infallible> {
    Ok(SecretArgument(text.parse()))
}
