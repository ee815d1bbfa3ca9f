//! How a value is written so that it is read back, now and after Forgejo has written the file itself.

use super::{Ini, expand::reference};
use thiserror::Error;

/// Why a value cannot stand in app.ini.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// A line end inside of a value.
    #[error("it has a line end")]
    LineEnd,
    /// A NUL byte.
    #[error("it has a NUL byte")]
    Nul,
    /// `%(name)s` is expanded wherever it stands, and cannot be escaped.
    #[error("it has %(name)s, which go-ini takes for another key's name and which cannot be escaped")]
    Reference,
    /// It would be read, but not after Forgejo has written the file itself.
    #[error("it is read as meant, but no longer once Forgejo has written the file itself")]
    Resave,
}

/// The value as it is to stand after the `=`.
///
/// # Errors
///
/// Why it cannot be had: see [`Unrepresentable`].
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

/// Whether a text after the `=` is read as the value, and still after one, two and three re-saves by Forgejo.
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

/// Whether a value has a `%(name)s`.
#[must_use]
pub fn has_reference(value: &str) -> bool {
    reference(value).is_some()
}
