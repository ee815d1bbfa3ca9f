//! Quoting of values so that they are read unchanged, also after Forgejo has written the file.

use super::{Ini, expand::reference};
use thiserror::Error;

/// Reason why a value cannot be represented in app.ini.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// The value contains a line break.
    #[error("the value has a line break")]
    LineEnd,
    /// The value contains a NUL byte.
    #[error("the value has a NUL byte")]
    Nul,
    /// The value contains `%(name)s`, which is always expanded and cannot be escaped.
    #[error(
        "the value has %(name)s, which go-ini replaces by another key's value and which cannot be escaped"
    )]
    Reference,
    /// No quoting lets the value be read unchanged, both at first and after Forgejo has written the file.
    #[error("the value would change once Forgejo has written the file itself")]
    Resave,
}

/// Returns the value as it is to be written: as it is, or in backticks.
///
/// # Errors
/// Returns the reason why no quoting works.
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

/// Returns `true` if `text` after the `=` is read as `value`, at once and after each of three re-saves by Forgejo.
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

/// Returns `true` if a value contains a reference `%(name)s`.
#[must_use]
pub fn has_reference(value: &str) -> bool {
    reference(value).is_some()
}
