//! Sections of app.ini that this crate reads and writes, and their settings.

use crate::edit::Change;
use crate::ini::Unrepresentable;
use thiserror::Error;

/// Name of the section for outgoing mail.
pub const SECTION: &str = "mailer";

/// Name of the section for headers that Forgejo sets on every message, read from version 8.
pub const OVERRIDE_HEADER: &str = "mailer.override_header";

/// Name of the section for incoming mail.
pub const INCOMING: &str = "email.incoming";

/// One setting of app.ini: a key of a section, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name of the section, such as `mailer`.
    pub section: &'static str,
    /// Name of the key, such as `SMTP_ADDR`.
    pub key: String,
    /// Value as Forgejo is to read it, without quotes.
    pub value: String,
}

impl Setting {
    /// Creates a setting. Nothing is validated.
    #[must_use]
    pub fn new(section: &'static str, key: &str, value: &str) -> Self {
        Self { section, key: key.to_owned(), value: value.to_owned() }
    }

    /// Returns the change that writes the setting to app.ini.
    #[must_use]
    pub fn to_change(&self) -> Change {
        Change::set(self.section, &self.key, &self.value)
    }
}

/// Error of writing a setting in a form for Forgejo: its value cannot be represented. The value is not included, since it
/// may be a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{key}: {reason}")]
pub struct SettingError {
    /// Name of the key.
    pub key: String,
    /// Reason why the value cannot be represented.
    pub reason: Unrepresentable,
}
