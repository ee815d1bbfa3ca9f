//! Field edits of sites and routes.

use crate::Fields;
use crate::config::FieldEdits;

/// Applies the edits: removals first, then `set`, then `add`.
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

/// Returns whether the edits name a field of which `name` is an alias: equal once `_` and `.` become `-`, as CGI, WSGI
/// and PHP read names.
pub(super) fn have_alias(edits: &FieldEdits, name: &[u8]) -> bool {
    let pairs = edits.set.iter().chain(&edits.add).map(|(name, _)| name);
    edits.remove.iter().chain(pairs).any(|edited| is_alias(name, edited.as_bytes()))
}

/// Returns whether `name` is another spelling of `of`, but not the same name.
pub(super) fn is_alias(name: &[u8], of: &[u8]) -> bool {
    name.len() == of.len()
        && !name.eq_ignore_ascii_case(of)
        && name.iter().zip(of).all(|(a, b)| folded(*a) == folded(*b))
}

/// Folds a byte of a field name as CGI-like gateways do.
pub(super) const fn folded(b: u8) -> u8 {
    match b {
        b'_' | b'.' => b'-',
        _ => b.to_ascii_lowercase(),
    }
}
