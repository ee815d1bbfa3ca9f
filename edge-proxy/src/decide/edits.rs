//! Edits that sites and routes make.

use crate::Fields;
use crate::config::FieldEdits;

/// Makes the edits: removals first, then `set`, then `add`.
pub(super) fn apply(edits: &FieldEdits, fields: &mut Fields) {
    for name in &edits.remove {
        fields.remove_named(name.as_bytes());
    }
    for (name, value) in &edits.set {
        fields.remove_named(name.as_bytes());
        fields.push(name.as_bytes(), value.as_bytes());
    }
    for (name, value) in &edits.add {
        fields.push(name.as_bytes(), value.as_bytes());
    }
}

/// Whether these edits speak of a field of which this name is an alias: the same after `_` and `.` became `-`, as CGI,
/// WSGI and PHP see names.
pub(super) fn have_alias(edits: &FieldEdits, name: &[u8]) -> bool {
    let pairs = edits.set.iter().chain(&edits.add).map(|(name, _)| name);
    edits.remove.iter().chain(pairs).any(|edited| is_alias(name, edited.as_bytes()))
}

/// Whether the first name is another spelling of the second, not the same.
pub(super) fn is_alias(name: &[u8], of: &[u8]) -> bool {
    name.len() == of.len()
        && !name.eq_ignore_ascii_case(of)
        && name.iter().zip(of).all(|(a, b)| folded(*a) == folded(*b))
}

/// A byte as those see it who fold names.
pub(super) const fn folded(b: u8) -> u8 {
    match b {
        b'_' | b'.' => b'-',
        _ => b.to_ascii_lowercase(),
    }
}
