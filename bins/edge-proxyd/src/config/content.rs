//! The reader of the content of a response.

use super::document::Table;
use cli_support::finding::reading;

/// Reads the keys `body` or `file`, which is read at once, and `content_type`. Returns the content and its media type,
/// which is by default `text/html` for a file with the extension `.html`, otherwise `text/plain`, both in UTF-8. The
/// content is empty without either key. Reported are both keys together, in which case the file counts, a file that
/// cannot be read, and an empty media type.
pub(super) fn content(table: &Table<'_, '_>) -> (Vec<u8>, String) {
    let text = |key| table.get(key).and_then(|value| value.text());
    let mut body = text("body").unwrap_or_default().as_bytes().to_vec();
    let mut content_type = "text/plain; charset=utf-8";
    if let Some(value) = table.get("file") {
        if table.get("body").is_some() {
            table.report_error("file", "excludes `body`: write one of them");
        }
        if let Some(path) = value.path() {
            if path.extension().is_some_and(|extension| extension == "html") {
                content_type = "text/html; charset=utf-8";
            }
            match std::fs::read(&path) {
                Ok(content) => body = content,
                Err(why) => value.report_error(&format!("cannot be read: {}", reading(&why))),
            }
        }
    }
    if let Some(value) = table.get("content_type")
        && value.value.as_str() == Some("")
    {
        value.report_error("not a valid media type: expected one such as text/html; charset=utf-8");
    }
    (body, text("content_type").unwrap_or(content_type).into())
}
