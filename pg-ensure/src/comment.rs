//! Comments on objects: comparison, and SQL.

use crate::name::Text;

/// Returns the comment to be set, where an inner `None` removes the comment. The outer `None` stands for no change: no
/// comment is declared, or the declared one is set already. A declared empty text stands for no comment.
pub(crate) fn changed(found: Option<&Text>, wanted: Option<&Text>) -> Option<Option<Text>> {
    let wanted = Some(wanted?).filter(|text| !text.as_str().is_empty());
    (found != wanted).then(|| wanted.cloned())
}

/// Returns the comment as the server stores it: `None` for an empty text.
pub(crate) fn stored(text: Option<&Text>) -> Option<Text> {
    text.filter(|text| !text.as_str().is_empty()).cloned()
}

/// Returns the statement that sets the comment on an object, such as `SCHEMA "x"`, or removes it for `None`.
pub(crate) fn sql(on: &str, text: Option<&Text>) -> String {
    format!("COMMENT ON {on} IS {}", text.map_or_else(|| "NULL".to_owned(), Text::quoted))
}

/// Returns a comment in the form of a desired state: an empty text if there is none.
pub(crate) fn imported(text: Option<&Text>) -> Text {
    text.cloned().unwrap_or_else(|| Text::new("").expect("a text"))
}
