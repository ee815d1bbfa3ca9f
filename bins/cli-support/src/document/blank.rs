//! Texts of TOML in which parts are replaced by blanks, so that every other part keeps its position.

use super::tree::{self, Node, Path};
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::DeTable;

/// Returns the text of a file with spaces in place of the nodes in `removed` and of all nodes below them, so that every
/// other part keeps its position. `root` is the parsed text. Line ends are kept. The result may not be valid TOML.
pub(super) fn without(text: &str, root: &Spanned<DeTable<'_>>, removed: &BTreeSet<Path>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let nodes = tree::nodes(root, &Path::new(), &BTreeSet::new());
    for node in nodes.iter().filter(|node| removed.iter().any(|path| node.path.starts_with(path))) {
        blank(&mut bytes, node);
    }
    // Only whole characters were replaced.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Replaces a node by spaces: a value with its key and an adjacent comma, an inline table as a whole, and of a table
/// with a header the line of the header only. Tables that only dotted keys imply, and lists of tables, are left alone,
/// since their contents are nodes of their own.
fn blank(bytes: &mut [u8], node: &Node) {
    let is = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let (mut start, mut end) = (node.key_start().min(node.span.start), node.span.end.min(bytes.len()));
    if !node.is_leaf && !is(node.span.start, b"{") {
        // A table of its own: its header, unless keys imply it. What is in it are nodes too.
        if is(node.span.start, b"[") {
            let line = bytes[node.span.start..].iter().position(|byte| *byte == b'\n');
            let line_end = line.map_or(bytes.len(), |line| node.span.start + line);
            fill(bytes, node.span.start, line_end);
        }
        return;
    }
    if node.has_key() {
        // The first part of a dotted key belongs to the value as well.
        while start > 0 && !is(start - 1, b"\n{,") {
            start -= 1;
        }
    }
    // Inside of brackets a comma belongs to it: the one behind, or else the one before.
    let blanks = b" \t\r\n";
    let behind = (end..bytes.len()).find(|at| !is(*at, blanks));
    let before = (0..start).rev().find(|at| !is(*at, blanks));
    match (behind, before) {
        (Some(behind), _) if is(behind, b",") => end = behind + 1,
        (_, Some(before)) if is(before, b",") => start = before,
        _ => {}
    }
    fill(bytes, start, end);
}

/// Replaces the bytes from `start` up to, and without, `end` by spaces, except for LF and CR.
fn fill(bytes: &mut [u8], start: usize, end: usize) {
    bytes[start..end].iter_mut().filter(|byte| !matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_keeps_its_position_and_is_valid() {
        let text =
            "a = 1\nb.c = \"é\" # why\nd = { e = 1, f = [1, 2] }\n[[g]]\nh = 1\n[g.i]\nj = 1\n[[g]]\nh = 2\n";
        let (root, errors) = DeTable::parse_recoverable(text);
        assert!(errors.is_empty());
        let nodes = tree::nodes(&root, &Path::new(), &BTreeSet::new());
        for node in nodes.iter().filter(|node| !node.path.is_empty()) {
            let removed = BTreeSet::from([node.path.clone()]);
            let rest = without(text, &root, &removed);
            assert_eq!(rest.len(), text.len());
            let (left, errors) = DeTable::parse_recoverable(&rest);
            let path = tree::display(&node.path);
            assert!(errors.is_empty(), "{path}: {rest}");
            // Everything else is there, where it was.
            let spans = |nodes: Vec<Node>| {
                let leaves = nodes.into_iter().filter(|node| node.is_leaf && !node.span.is_empty());
                leaves.map(|node| (node.span.start, node.span.end)).collect::<BTreeSet<_>>()
            };
            let kept = nodes.iter().filter(|other| !other.path.starts_with(&node.path)).cloned().collect();
            let (found, kept) = (spans(tree::nodes(&left, &Path::new(), &BTreeSet::new())), spans(kept));
            assert_eq!(found, kept, "{path}: {rest}");
        }
    }
}
