//! Field edits of sites and routes.

use super::rewrite;
use crate::config::FieldEdits;
use edge_http::Fields;
use edge_http::field_names::is_same_variable;

/// Applies the edits to the fields: first `replace`, then `remove`, `set` and `add`. `set` replaces all fields of the
/// name.
pub(super) fn apply(edits: &FieldEdits, fields: &mut Fields) {
    for (name, rules) in &edits.replace {
        rewrite::replace(name, rules, fields);
    }
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

/// Returns whether the edits set, add, remove or replace a field of this name, or one that a backend could take for
/// it, such as a name with `_` in place of `-`.
pub(super) fn edits_field(edits: &FieldEdits, name: &[u8]) -> bool {
    names(edits).any(|edited| is_same_variable(name, edited))
}

/// Returns whether a backend could take the name for that of a field that the edits set, add, remove or replace,
/// although it is another name. Letter case makes no other name.
pub(super) fn is_alias_of_edited(edits: &FieldEdits, name: &[u8]) -> bool {
    names(edits).any(|edited| is_same_variable(name, edited))
        && !names(edits).any(|edited| name.eq_ignore_ascii_case(edited))
}

/// Returns the names of all fields that the edits set, add, remove or replace.
fn names(edits: &FieldEdits) -> impl Iterator<Item = &[u8]> {
    let pairs = edits.set.iter().chain(&edits.add).map(|(name, _)| name);
    let replaced = edits.replace.iter().map(|(name, _)| name);
    edits.remove.iter().chain(pairs).chain(replaced).map(String::as_bytes)
}
