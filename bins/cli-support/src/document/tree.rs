//! The nodes of a document with their paths and positions.

use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// A step of a path: a key, or the index of a list item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Key of a table.
    Key(String),
    /// Index of a list item, from 0.
    Index(usize),
}

/// The steps from the root to a node.
pub(super) type Path = Vec<Step>;

/// A key with its value, or an item of a list. `span` is the byte range of the value, `key` that of the key.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) path: Path,
    pub(super) span: Range<usize>,
    key: Option<Range<usize>>,
    /// `true` for a value that is neither a table nor a list that contains tables.
    pub(super) is_leaf: bool,
    pub(super) is_table: bool,
    /// Content of the value if it is a string.
    pub(super) string: Option<String>,
}

impl Node {
    /// Returns the byte offset of the key, or, for a list item and the root, that of the value.
    pub(super) fn key_start(&self) -> usize {
        self.key.as_ref().map_or(self.span.start, |key| key.start)
    }

    /// Returns `true` if the node has a key, `false` for an item of a list and for the table at which the listing
    /// began.
    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Returns the value as written in `text`, the text of the file; empty if the text does not contain the range.
    pub(super) fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.span.clone()).unwrap_or_default()
    }
}

/// Returns a copy of the table at a path, with its byte range. A path ends at its first index of a list. If there is no
/// table at the path, the table is empty, and the range is that of the last value on the path.
pub(super) fn part<'t>(root: &Spanned<DeTable<'t>>, path: &Path) -> (Range<usize>, DeTable<'t>) {
    let mut span = root.span();
    let mut table = root.get_ref();
    for step in path {
        let Step::Key(key) = step else { break };
        let Some(value) = table.get(key.as_str()) else { return (span, DeTable::new()) };
        span = value.span();
        let Some(inner) = value.get_ref().as_table() else { return (span, DeTable::new()) };
        table = inner;
    }
    (span, table.clone())
}

/// Returns the table at `path` without the removed nodes and everything below them. `path` changes during the call, and
/// is restored before it returns.
pub(super) fn prune<'t>(table: DeTable<'t>, path: &mut Path, removed: &BTreeSet<Path>) -> DeTable<'t> {
    let mut kept = DeTable::new();
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        if !removed.contains(path) {
            kept.insert(key, pruned_value(value, path, removed));
        }
        path.pop();
    }
    kept
}

/// Returns the value at `path` without the removed nodes. Items of a list behind a removed one move up.
fn pruned_value<'t>(
    value: Spanned<DeValue<'t>>,
    path: &mut Path,
    removed: &BTreeSet<Path>,
) -> Spanned<DeValue<'t>> {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(prune(table, path, removed)),
        DeValue::Array(array) => {
            let mut kept = DeArray::new();
            for (index, item) in array.iter().enumerate() {
                path.push(Step::Index(index));
                if !removed.contains(path) {
                    kept.push(pruned_value(item.clone(), path, removed));
                }
                path.pop();
            }
            DeValue::Array(kept)
        }
        other => other,
    };
    Spanned::new(span, value)
}

/// Returns the table at a path, which comes first, and the nodes below it, except for removed nodes and what is below
/// these. If the table itself is removed, the result is empty.
pub(super) fn nodes(root: &Spanned<DeTable<'_>>, path: &Path, removed: &BTreeSet<Path>) -> Vec<Node> {
    let (span, table) = part(root, path);
    let mut found =
        vec![Node { path: path.clone(), span, key: None, is_leaf: false, is_table: true, string: None }];
    let kept = |node: &Path| !removed.iter().any(|gone| node.starts_with(gone));
    let mut open = vec![(path.clone(), Open::Table(&table))];
    while let Some((path, inner)) = open.pop() {
        let mut add = |step: Step, key: Option<Range<usize>>, value: &'_ Spanned<DeValue<'_>>| {
            let mut path = path.clone();
            path.push(step);
            let is_leaf = match value.get_ref() {
                DeValue::Table(_) => false,
                DeValue::Array(list) => !list.iter().any(|item| item.get_ref().is_table()),
                _ => true,
            };
            let string = value.get_ref().as_str().map(str::to_owned);
            let is_table = value.get_ref().is_table();
            found.push(Node { path: path.clone(), span: value.span(), key, is_leaf, is_table, string });
            path
        };
        let mut next = Vec::new();
        match inner {
            Open::Table(table) => {
                for (key, value) in table {
                    let path = add(Step::Key(key.get_ref().to_string()), Some(key.span()), value);
                    next.push((path, value.get_ref()));
                }
            }
            Open::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    let path = add(Step::Index(index), None, value);
                    next.push((path, value.get_ref()));
                }
            }
        }
        for (path, value) in next {
            match value {
                DeValue::Table(table) => open.push((path, Open::Table(table))),
                DeValue::Array(array) => open.push((path, Open::Array(array))),
                _ => {}
            }
        }
    }
    found.retain(|node| kept(&node.path));
    found
}

/// A table or array whose entries have yet to be listed.
enum Open<'d, 't> {
    Table(&'d DeTable<'t>),
    Array(&'d DeArray<'t>),
}

/// Returns the node for a byte range: one whose key or value has exactly this range, else the deepest whose value
/// begins there, else the smallest whose value contains the start of the range, else the first node. If a key and a
/// value have the range, `key` selects the node of the key.
///
/// # Panics
/// Panics if `nodes` is empty.
pub(super) fn node_at(nodes: &[Node], span: &Range<usize>, key: bool) -> Node {
    let by_key = nodes.iter().find(|node| node.key.as_ref() == Some(span));
    let by_value = || nodes.iter().filter(|node| node.span == *span).max_by_key(|node| node.path.len());
    let starts =
        || nodes.iter().filter(|node| node.span.start == span.start).max_by_key(|node| node.path.len());
    let around = || {
        let all = nodes.iter().filter(|node| node.span.start <= span.start && span.start < node.span.end);
        all.min_by_key(|node| node.span.len())
    };
    let found = by_key.filter(|_| key).or_else(by_value).or(by_key).or_else(starts).or_else(around);
    found.unwrap_or(&nodes[0]).clone()
}

/// Returns the node with a path as text, else the deepest node on the way to it, else the first node.
///
/// # Panics
/// Panics if `nodes` is empty.
pub(super) fn nearest_node<'n>(nodes: &'n [Node], key: &str) -> &'n Node {
    let contains = |node: &&Node| {
        let path = display(&node.path);
        key == path
            || key.strip_prefix(&path).is_some_and(|rest| rest.starts_with(['.', '[']))
            || path.is_empty()
    };
    nodes.iter().filter(contains).max_by_key(|node| node.path.len()).unwrap_or(&nodes[0])
}

/// Returns the last key of a path; for a list item, the key of the list. Empty for the root.
pub(super) fn last_key(path: &Path) -> &str {
    let keys = path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.unwrap_or_default()
}

/// Formats a path, such as `site[0].hosts`.
pub(super) fn display(path: &Path) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
