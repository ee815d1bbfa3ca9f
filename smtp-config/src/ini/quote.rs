//! Quoting of values so that they are read back unchanged, also after Forgejo has written the file itself.

use super::{Ini, expand::reference};
use thiserror::Error;

/// A reason for which a value cannot be written to app.ini.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// A line break inside the value.
    #[error("the value has a line break")]
    LineEnd,
    /// A NUL byte in the value.
    #[error("the value has a NUL byte")]
    Nul,
    /// `%(name)s` is expanded wherever it stands, and cannot be escaped.
    #[error(
        "the value has %(name)s, which go-ini replaces by another key's value and which cannot be escaped"
    )]
    Reference,
    /// It would be read, but not after Forgejo has written the file itself.
    #[error("the value would change once Forgejo has written the file itself")]
    Resave,
}

/// Returns the value in the quotes that go-ini needs.
///
/// # Errors
///
/// The reason for which no quoting works: see [`Unrepresentable`].
pub fn quote(value: &str) -> Result<String, Unrepresentable> {
    if value.contains(['\n', '\r']) {
        return Err(Unrepresentable::LineEnd);
    }
    if value.contains('\0') {
        return Err(Unrepresentable::Nul);
    }
    if reference(value).is_some() {
        return Err(Unrepresentable::Reference);
    }
    let candidates = [value.to_owned(), format!("`{value}`")];
    candidates.into_iter().find(|text| survives(text, value)).ok_or(Unrepresentable::Resave)
}

/// Tests that a text after the `=` is read as the value, and still is after one, two and three re-saves by Forgejo.
#[must_use]
pub fn survives(text: &str, value: &str) -> bool {
    let mut file = format!("[s]\nK = {text}\nL = 1\n");
    for _ in 0..4 {
        let Ok(ini) = Ini::parse(&file) else { return false };
        let other = ini.value("s", "L");
        if ini.value("s", "K").as_deref() != Some(value) || other.as_deref() != Some("1") {
            return false;
        }
        file = ini.write();
    }
    true
}

/// Tests for a `%(name)s` in a value.
#[must_use]
pub fn has_reference(value: &str) -> bool {
    reference(value).is_some()
}
