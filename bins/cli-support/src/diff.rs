//! Unified diffs of two texts.

use similar::TextDiff;

/// Returns a unified diff from `old` to `new` with three lines of context, or an empty string if the texts are equal.
/// `name` is the file name in both lines of the header.
///
/// ```
/// let text = cli_support::diff::unified("a\nb\n", "a\nc\n", "app.ini");
/// assert_eq!(text, "--- app.ini\n+++ app.ini\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
/// ```
pub fn unified(old: &str, new: &str, name: &str) -> String {
    TextDiff::from_lines(old, new).unified_diff().context_radius(3).header(name, name).to_string()
}
