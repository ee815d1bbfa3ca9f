//! Comments: the text to be set, and its SQL.

use crate::name::Text;

/// The text to be set, if it is another; an empty one stands for none.
pub(crate) fn changed(found: Option<&Text>, wanted: Option<&Text>) -> Option<Option<Text>> {
    let wanted = Some(wanted?).filter(|text| !text.as_str().is_empty());
    (found != wanted).then(|| wanted.cloned())
}

/// A comment as the server keeps it: an empty text is none.
pub(crate) fn stored(text: Option<&Text>) -> Option<Text> {
    text.filter(|text| !text.as_str().is_empty()).cloned()
}

/// The statement that sets a comment on an object, such as `SCHEMA "x"`.
pub(crate) fn sql(on: &str, text: Option<&Text>) -> String {
    format!("COMMENT ON {on} IS {}", text.map_or_else(|| "NULL".to_owned(), Text::quoted))
}

/// A comment as a desired state has it: an empty text says that there is to be none.
pub(crate) fn imported(text: Option<&Text>) -> Text {
    text.cloned().unwrap_or_else(|| Text::new("").expect("a text"))
}
