//! Comments: the text to be set, and its SQL.

use crate::name::Text;

/// Returns the comment to be set; the inner `None` removes it. `None` if nothing is declared, or it is already so. A declared empty
/// text stands for no comment.
pub(crate) fn changed(found: Option<&Text>, wanted: Option<&Text>) -> Option<Option<Text>> {
    let wanted = Some(wanted?).filter(|text| !text.as_str().is_empty());
    (found != wanted).then(|| wanted.cloned())
}

/// Returns a comment as the server keeps it. `None` for an empty text.
pub(crate) fn stored(text: Option<&Text>) -> Option<Text> {
    text.filter(|text| !text.as_str().is_empty()).cloned()
}

/// Returns the statement that sets a comment on an object, such as `SCHEMA "x"`, or removes it.
pub(crate) fn sql(on: &str, text: Option<&Text>) -> String {
    format!("COMMENT ON {on} IS {}", text.map_or_else(|| "NULL".to_owned(), Text::quoted))
}

/// Returns a comment as a desired state has it: an empty text if there is none.
pub(crate) fn imported(text: Option<&Text>) -> Text {
    text.cloned().unwrap_or_else(|| Text::new("").expect("a text"))
}
