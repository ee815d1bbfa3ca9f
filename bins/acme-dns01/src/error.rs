//! Errors of settings that cannot be used, and the reading of secrets.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cli_support::document::Source;
use cli_support::finding::Finding;
use cli_support::secret::{Reference, SecretError};
use secrecy::{ExposeSecret, SecretSlice};
use std::path::Path;

/// Error of a configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A value of the settings, or the content of a file that they name, is not valid.
    #[error("{key}: {why}")]
    Value {
        /// Path of the key in the settings, such as `provider.NAME.token`.
        key: String,
        /// Description of the error, and the fix.
        why: String,
    },
    /// A secret cannot be read.
    #[error("{key}: {why}")]
    Secret {
        /// Path of the key in the settings, such as `provider.NAME.token`.
        key: String,
        /// Error of reading the secret.
        #[source]
        why: SecretError,
    },
    /// The HTTP client cannot be created, or the folder of certificates cannot be opened. The text is the reason.
    #[error("{0}")]
    Environment(String),
}

impl BuildError {
    /// Returns the error as a finding at the position of the key that has to be changed. `section` is the path of the
    /// table that contains the settings, empty if they are the whole file. `None` for errors that no change of the file
    /// corrects.
    #[must_use]
    pub fn finding(&self, source: &Source<'_>, section: &str) -> Option<Finding> {
        let (code, key, why) = match self {
            Self::Value { key, why } => ("value", key, why.clone()),
            Self::Secret { key, why } => ("secret", key, cli_support::outcome::chain(why)),
            Self::Environment(_) => return None,
        };
        let key = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        let mut finding = source.fault_at(&key, why);
        finding.code = code.into();
        // A URL with a user may have a password.
        finding.value = finding.value.filter(|value| !(value.contains("://") && value.contains('@')));
        Some(finding)
    }
}

/// Creates a [`BuildError::Value`].
#[expect(clippy::needless_pass_by_value, reason = "errors are handed over by their owners")]
pub(crate) fn value_error(key: impl Into<String>, why: impl ToString) -> BuildError {
    BuildError::Value { key: key.into(), why: why.to_string() }
}

/// Reads a file of root certificates. `key` is named in the error.
///
/// # Errors
/// Returns a [`BuildError::Value`] if it cannot be read within 2 s, or is not a regular file of text.
pub(crate) fn read_roots(key: &str, path: &Path) -> Result<String, BuildError> {
    let text = cli_support::bounded::read_text(path);
    text.map_err(|why| value_error(key, format!("{}: {why}", path.display())))
}

/// Reads a secret. `key` is named in the error.
///
/// # Errors
/// Returns a [`BuildError::Secret`] if it cannot be read.
pub(crate) fn read(key: &str, reference: &Reference) -> Result<secrecy::SecretString, BuildError> {
    reference.read().map_err(|why| BuildError::Secret { key: key.to_owned(), why })
}

/// Reads a secret, and decodes it as base64 or else as base64url with or without padding. `key` is named in the error.
///
/// # Errors
/// Returns a [`BuildError::Secret`] if it cannot be read, and a [`BuildError::Value`] if it is neither.
pub(crate) fn decode_secret(key: &str, reference: &Reference) -> Result<SecretSlice<u8>, BuildError> {
    let text = read(key, reference)?;
    let text = text.expose_secret();
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')));
    bytes.map(Into::into).map_err(|_| value_error(key, "the secret is not valid base64"))
}
