//! The faults of secrets and files that keys name, which are found only when those are read.

use cli_support::outcome::chain;
use cli_support::secret::SecretError;
use std::{fmt, io};

/// The fault of what a key names.
#[derive(Debug)]
pub(crate) struct KeyFault {
    section: &'static str,
    key: String,
    /// The value. `None` where `why` names the file or the variable, and where it would be the secret itself.
    value: Option<String>,
    /// The fault and its fix, without the key and the value. No part of a secret is in it.
    pub(crate) why: String,
    /// True if this user may not read the file.
    pub(crate) denied: bool,
}

impl KeyFault {
    /// Creates the fault of a key of a section.
    pub(crate) fn new(section: &'static str, key: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { section, key: key.into(), value: None, why: why.to_string(), denied: false }
    }

    /// Sets the value, such as a path.
    pub(crate) fn value(mut self, value: impl fmt::Display) -> Self {
        self.value = Some(value.to_string());
        self
    }

    /// Creates the fault of a key whose secret cannot be read.
    pub(crate) fn of_secret(section: &'static str, key: impl Into<String>, why: &SecretError) -> Self {
        let kind = if let SecretError::Read { why, .. } = why { Some(why.kind()) } else { None };
        let fix = match kind {
            Some(io::ErrorKind::NotFound) => {
                ": write the secret to this file, or the path of the file that has it"
            }
            Some(io::ErrorKind::PermissionDenied) => ": let the service read it",
            _ => "",
        };
        let denied = kind == Some(io::ErrorKind::PermissionDenied);
        Self { denied, ..Self::new(section, key, format_args!("{}{fix}", chain(why))) }
    }

    /// Returns the path of the key in the configuration, such as `shared.secret`.
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
