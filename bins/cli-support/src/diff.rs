//! What changed between two texts.

use similar::TextDiff;

/// A unified diff with three lines around each change, or an empty text where nothing changed.
///
/// ```
/// let text = cli_support::diff::unified("a\nb\n", "a\nc\n", "app.ini");
/// assert_eq!(text, "--- app.ini\n+++ app.ini\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
/// ```
pub fn unified(old: &str, new: &str, name: &str) -> String {
    TextDiff::from_lines(old, new).unified_diff().context_radius(3).header(name, name).to_string()
}
