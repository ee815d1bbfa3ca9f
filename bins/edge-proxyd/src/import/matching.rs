//! The paths of a `location`.

use super::notes::Notes;
use super::parse::Directive;
use super::pattern::{IGNORE_CASE, Shape, shapes};

/// The paths that a location matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Matching {
    /// Exactly this path.
    Exact(String),
    /// Paths with this prefix. The boolean is true with the modifier `^~`: regular expressions of the same level are
    /// not tried.
    Prefix(String, bool),
    /// Paths that a regular expression matches: its alternatives, or `None` if they cannot be converted. The boolean is
    /// true if letter case is ignored.
    Pattern(Option<Vec<Shape>>, bool),
}

/// Returns the modifier of a `location`, `=`, `^~`, `~*` or `~`, and its path or regular expression. The modifier is
/// empty if there is none. `None` if there are other than one or two arguments.
pub(super) fn modifier_and_path(directive: &Directive) -> Option<(&str, &str)> {
    match directive.arguments.as_slice() {
        [modifier, path] => Some((modifier, path)),
        // nginx accepts modifiers without a space too.
        [path] => Some(
            ["=", "^~", "~*", "~"]
                .into_iter()
                .find_map(|modifier| Some((modifier, path.strip_prefix(modifier)?)))
                .unwrap_or(("", path)),
        ),
        _ => None,
    }
}

/// Returns the paths that a `location` matches, percent-encoded unless it is a regular expression. `None` for a named
/// location; and, with a note, for one with other than one or two arguments, or whose path does not begin with `/`.
pub(super) fn place(directive: &Directive, notes: &mut Notes) -> Option<Matching> {
    let Some((modifier, path)) = modifier_and_path(directive) else {
        notes.closed(directive, "not a location that import can read: left out");
        return None;
    };
    if path.starts_with('@') {
        return None;
    }
    if matches!(modifier, "~" | "~*") {
        return Some(Matching::Pattern(shapes(path), modifier == "~*" || path.starts_with(IGNORE_CASE)));
    }
    if !path.starts_with('/') {
        notes.harmless(directive, "never matches a path, since paths begin with /");
        return None;
    }
    let path = encode_path(path);
    Some(match modifier {
        "=" => Matching::Exact(path),
        "^~" => Matching::Prefix(path, true),
        _ => Matching::Prefix(path, false),
    })
}

/// Percent-encodes a path of the configuration, since nginx compares decoded paths and edge-proxyd encoded ones. `%`
/// itself and bytes other than printable ASCII are encoded, and also `?#"<>\^` , `` ` `` and `{|}`.
pub(super) fn encode_path(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'%' | b'?' | b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            )
        {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
