//! The sections of app.ini that this crate reads and writes.

/// The section of the mailer.
pub const SECTION: &str = "mailer";

/// The section of the headers that Forgejo sets on every message, from version 8 on.
pub const OVERRIDE_HEADER: &str = "mailer.override_header";

/// The section of incoming mail.
pub const INCOMING: &str = "email.incoming";

/// A key with its section and value.
pub type Setting = (&'static str, String, String);
