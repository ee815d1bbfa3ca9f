//! Faults of secrets and files that the configuration refers to. They are found when the secret or the file is read,
//! not when the configuration is parsed.

use cli_support::secret::SecretError;
use std::{fmt, io};

/// A fault of the secret or file that a key of the configuration refers to.
#[derive(Debug)]
pub(crate) struct KeyFault {
    /// The name of the section, such as `shared`.
    section: &'static str,
    /// The name of the key in the section, such as `secret` or `headers.Authorization`.
    key: String,
    /// The value of the key, for the message. `None` if `why` names the file or the variable already, or if the value
    /// is the secret itself.
    value: Option<String>,
    /// The cause and the fix, without the key and its value. Contains no part of a secret.
    pub(crate) why: String,
    /// True if the process lacks the permission to read the file.
    pub(crate) denied: bool,
}

impl KeyFault {
    /// Creates a fault of the key `key` in `section`, without a value. `denied` is false.
    pub(crate) fn new(section: &'static str, key: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { section, key: key.into(), value: None, why: why.to_string(), denied: false }
    }

    /// Sets the value that the message shows, such as a path. It must not be a secret.
    pub(crate) fn value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(value.to_string());
        self
    }

    /// Creates the fault of a key whose secret could not be read, with a fix if the file does not exist or permission
    /// to read it was denied. In the latter case `denied` is true.
    pub(crate) fn of_secret(section: &'static str, key: impl Into<String>, why: &SecretError) -> Self {
        let kind = if let SecretError::Read { why, .. } = why { Some(why.kind()) } else { None };
        let denied = kind == Some(io::ErrorKind::PermissionDenied);
        Self { denied, ..Self::new(section, key, why.describe()) }
    }

    /// Returns the path of the key in the configuration: section and key joined by a dot, such as `shared.secret`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, key, why, .. } = self;
        match &self.value {
            Some(value) => write!(f, "[{section}] {key} = {value:?}: {why}"),
            None => write!(f, "[{section}] {key}: {why}"),
        }
    }
}

impl std::error::Error for KeyFault {}
