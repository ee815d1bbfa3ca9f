//! Sections of app.ini that this crate reads and writes.

/// Name of the section for outgoing mail.
pub const SECTION: &str = "mailer";

/// Name of the section for headers that Forgejo sets on every message, read from version 8.
pub const OVERRIDE_HEADER: &str = "mailer.override_header";

/// Name of the section for incoming mail.
pub const INCOMING: &str = "email.incoming";

/// Section, key and value of a setting. The value is not quoted.
pub type Setting = (&'static str, String, String);
