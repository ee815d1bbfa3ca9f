//! Deserialization of TOML files that reports every error with its position.
//!
//! A deserializer stops at the first error. Here the faulty part is removed and the rest is deserialized again, until
//! there is no error left, so that one run reports all errors. [`Source::interpret`] looks for errors of meaning in the
//! rest as well. The messages are those of this family rather than of serde.

mod blank;
mod message;
mod partial;
mod tree;

use crate::finding::{Finding, Findings, Place};
use crate::words::Words;
use message::DeserializerMessage;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};
use tree::{Node, Path, Step};

pub use message::syntax as syntax_message;

/// Number of findings after which deserialization looks for no more.
const MAX_FINDINGS: usize = 200;

/// A parser of a file format. It returns the table of the text, with the byte range of every value, or else the syntax
/// errors, each as a byte offset and a description that contains the fix.
pub type Parser = for<'t> fn(&'t str) -> Result<Spanned<DeTable<'t>>, Vec<(usize, String)>>;

/// A parsed file, whose parts can be located by key and position.
#[derive(Clone, Debug)]
pub struct Source<'t> {
    file: String,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    words: Words,
    parser: Parser,
}

/// Parses TOML.
///
/// # Errors
/// Returns all syntax errors, each with the byte offset at which it begins, 0 if the parser knows none.
fn toml_parser<'t>(text: &'t str) -> Result<Spanned<DeTable<'t>>, Vec<(usize, String)>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(root);
    }
    let fault = |error: &toml::de::Error| {
        (error.span().map_or(0, |span| span.start), message::syntax(error.message()))
    };
    Err(errors.iter().map(fault).collect())
}

/// Deserializes the TOML text of a file into a type. `file` is the name for messages.
///
/// # Errors
/// Returns all errors of the file, at most 200.
pub fn read<T: DeserializeOwned>(file: &str, text: &str, words: Words) -> Result<T, Findings> {
    Source::parse(file, text, words)?.deserialize()
}

impl<'t> Source<'t> {
    /// Parses a TOML file. `file` is its name for messages, `words` provides hints for messages.
    ///
    /// # Errors
    /// Returns all syntax errors, with the code `syntax`.
    pub fn parse(file: &str, text: &'t str, words: Words) -> Result<Self, Findings> {
        Self::parse_with(file, text, words, toml_parser)
    }

    /// Parses a file of another format with `parser`. `file` is its name for messages, `words` provides hints for
    /// messages.
    ///
    /// # Errors
    /// Returns the syntax errors that the parser reports, with the code `syntax`.
    pub fn parse_with(file: &str, text: &'t str, words: Words, parser: Parser) -> Result<Self, Findings> {
        let root = parser(text).map_err(|errors| {
            let fault = |(at, message): (usize, String)| {
                let (line, column) = position(text, at);
                let place = Place { file: file.to_owned(), line, column, key: String::new() };
                Finding::error("syntax", place, message)
            };
            Findings::new(errors.into_iter().map(fault).collect())
        })?;
        Ok(Self { file: file.to_owned(), text, root, words, parser })
    }

    /// Returns the text of the file.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// Deserializes the file.
    ///
    /// # Errors
    /// Returns the errors of keys and values, at most 200. A key that is missing at the top level ends the search.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Findings> {
        self.deserialize_part(&[])
    }

    /// Deserializes one table of the file; `part` are the keys that lead to it, none for the whole file. A missing
    /// table is deserialized as an empty one.
    ///
    /// # Errors
    /// Returns the errors of keys and values, at most 200, or one error if there is something other than a table at
    /// `part`. A key that is missing in the table itself ends the search.
    pub fn deserialize_part<T: DeserializeOwned>(&self, part: &[&str]) -> Result<T, Findings> {
        let part: Path = part.iter().map(|key| Step::Key((*key).to_owned())).collect();
        let nodes = tree::nodes(&self.root, &Path::new(), &BTreeSet::new());
        if let Some(node) = nodes.iter().find(|node| node.path == part && !node.is_table) {
            let (key, place) = (tree::last_key(&part), tree::display(&part));
            let message = format!("expected a table: write a section [{key}], or {{ key = value }}");
            return Err(Findings::new(vec![Finding::error(
                "type",
                self.place_at(node.span.start, place),
                message,
            )]));
        }
        let (read, found, _) = self.deserialize_rest(&part);
        read.filter(|_| found.is_empty()).ok_or_else(|| Findings::new(found))
    }

    /// Deserializes the table at `part`. After each error, the node that is at fault is removed and the rest is
    /// deserialized again. Returns the value of the rest, the findings, and the paths of the removed nodes. The value
    /// is `None` if an error is about the table itself, the same node is at fault twice, or there are 200 findings.
    fn deserialize_rest<T: DeserializeOwned>(
        &self,
        part: &Path,
    ) -> (Option<T>, Vec<Finding>, BTreeSet<Path>) {
        let mut removed = BTreeSet::new();
        let mut found = Vec::new();
        loop {
            let why = match self.attempt::<T>(part, &removed) {
                Ok(read) => return (Some(read), found, removed),
                Err(why) => why,
            };
            let said = DeserializerMessage::new(why.message());
            let node = self.faulty_node::<T>(part, &removed, &why, &said);
            // A key that is missing because it was removed has been reported already.
            let missing = said.missing_key().map(|key| {
                let mut path = node.path.clone();
                path.push(Step::Key(key.to_owned()));
                path
            });
            if missing.is_none_or(|path| !removed.contains(&path)) {
                found.push(self.fault(&node, &said));
            }
            // The root cannot be removed, so the search ends there.
            if node.path.len() <= part.len() || found.len() >= MAX_FINDINGS || !removed.insert(node.path) {
                return (None, found, removed);
            }
        }
    }

    /// Deserializes the table at `part` without the removed nodes.
    ///
    /// # Errors
    /// Returns the first error of the deserializer.
    fn attempt<T: DeserializeOwned>(
        &self,
        part: &Path,
        removed: &BTreeSet<Path>,
    ) -> Result<T, toml::de::Error> {
        let (span, table) = tree::part(&self.root, part);
        let kept = tree::prune(table, &mut part.clone(), removed);
        T::deserialize(Deserializer::from(Spanned::new(span, kept)))
    }

    /// Returns the node that the error `why`, whose message is `said`, is about, among the nodes of the table at `part`
    /// that are not removed. Inside an enum, where serde loses the position, it is the first value whose removal
    /// changes the error; a value that is required itself is taken only if there is no other and the message can be
    /// about it. If no removal changes the error, it is the enum.
    fn faulty_node<T: DeserializeOwned>(
        &self,
        part: &Path,
        removed: &BTreeSet<Path>,
        why: &toml::de::Error,
        said: &DeserializerMessage<'_>,
    ) -> Node {
        let nodes = tree::nodes(&self.root, part, removed);
        let span = why.span().unwrap_or_default();
        let node = tree::node_at(&nodes, &span, said.is_about_key());
        if let Some(key) = said.unknown_key() {
            let named = |inner: &&Node| {
                inner.path.starts_with(&node.path) && inner.path.last() == Some(&Step::Key(key.to_owned()))
            };
            return nodes.iter().filter(named).min_by_key(|inner| inner.path.len()).unwrap_or(&node).clone();
        }
        if node.is_leaf || said.missing_key().is_some() || said.is_about_key() {
            return node;
        }
        // serde loses the position inside tagged and untagged enums. The faulty node is the one whose removal changes
        // the error or makes it disappear.
        let inside = |inner: &&Node| inner.is_leaf && inner.path.len() > node.path.len();
        let mut required = None;
        for inner in nodes.iter().filter(|inner| inner.path.starts_with(&node.path)).filter(inside) {
            let mut fewer = removed.clone();
            fewer.insert(inner.path.clone());
            let other = self.attempt::<T>(part, &fewer).err();
            if other.as_ref().is_some_and(|other| other.message() == why.message()) {
                continue;
            }
            // Without the tag of an enum nothing in the enum is read, so that every other error disappears.
            let missing = other
                .as_ref()
                .and_then(|other| DeserializerMessage::new(other.message()).missing_key().map(str::to_owned));
            if missing.is_none_or(|key| tree::last_key(&inner.path) != key) {
                return inner.clone();
            }
            if said.may_be_of(tree::last_key(&inner.path), inner.text(self.text)) {
                required = Some(inner.clone());
            }
        }
        required.unwrap_or(node)
    }

    /// Creates the finding for a node and a message. A missing key is appended to the path of the node. The value is
    /// included unless it is secret, a list or a table, or the message is about the key.
    fn fault(&self, node: &Node, said: &DeserializerMessage<'_>) -> Finding {
        let mut key = tree::display(&node.path);
        if let Some(missing) = said.missing_key() {
            key = if key.is_empty() { missing.to_owned() } else { format!("{key}.{missing}") };
        }
        let place = self.place_at(if said.is_about_key() { node.key_start() } else { node.span.start }, key);
        let secret = self.is_secret(&node.path);
        // A list or table in the wrong place may contain secrets.
        let single = node.is_leaf && !node.text(self.text).starts_with(['[', '{']);
        let shown = single && !secret && !said.is_about_key() && said.missing_key().is_none();
        let value = shown.then(|| self.excerpt(&node.span));
        let written = if secret { "" } else { node.text(self.text) };
        let (code, message) = said.message(written, tree::last_key(&node.path), &self.words, secret);
        Finding::error(code, place, message).value(value)
    }

    /// Returns `true` if a key of the path is one of [`Words::secrets`].
    fn is_secret(&self, path: &Path) -> bool {
        path.iter().any(|step| matches!(step, Step::Key(key) if self.words.is_secret(key)))
    }

    /// Returns the first line of the value at a byte range of the text as written, at most 80 characters of it.
    fn excerpt(&self, span: &Range<usize>) -> String {
        let written = self.text.get(span.clone()).unwrap_or_default();
        written.lines().next().unwrap_or_default().chars().take(80).collect()
    }

    /// Returns the place of a byte offset of the text, with `key` as the path of its key.
    fn place_at(&self, at: usize, key: String) -> Place {
        let (line, column) = position(self.text, at);
        Place { file: self.file.clone(), line, column, key }
    }

    /// Creates the finding of an error (code `value`) in the value of a key, given by its path such as `incoming.host`
    /// or `certificate[1].names`. The value is included unless it is secret or a table. For a missing key, the position
    /// is that of the nearest table or list that contains it, and there is no value.
    pub fn fault_at(&self, key: &str, message: impl Into<String>) -> Finding {
        let nodes = tree::nodes(&self.root, &Path::new(), &BTreeSet::new());
        let node = tree::nearest_node(&nodes, key);
        let exact = tree::display(&node.path) == key;
        let value = (exact && node.is_leaf && !self.is_secret(&node.path)).then(|| self.excerpt(&node.span));
        let place = self.place_at(node.span.start, key.to_owned());
        Finding::error("value", place, message).value(value)
    }

    /// Creates the finding of an error (code `value`) at a byte offset of the file. Its key and its value are those of
    /// the node there; the value is left out if it is secret or a table.
    pub fn fault_at_byte(&self, at: usize, message: impl Into<String>) -> Finding {
        let nodes = tree::nodes(&self.root, &Path::new(), &BTreeSet::new());
        let node = tree::node_at(&nodes, &(at..at), false);
        let value = (node.is_leaf && !self.is_secret(&node.path)).then(|| self.excerpt(&node.span));
        Finding::error("value", self.place_at(at, tree::display(&node.path)), message).value(value)
    }

    /// Creates the finding of an error like [`fault_at_byte`](Self::fault_at_byte), at a line and a column in bytes,
    /// both from 1. A line behind the end counts as the end of the file.
    pub fn fault_at_position(&self, line: usize, column: usize, message: impl Into<String>) -> Finding {
        let start = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        self.fault_at_byte(start + column.saturating_sub(1), message)
    }

    /// Returns the path, such as `tailnet_ranges[1]`, of a string equal to `text`: the first among the nodes whose path
    /// as text begins with `key`. `None` if there is none.
    pub fn path_of_text(&self, key: &str, text: &str) -> Option<String> {
        let nodes = tree::nodes(&self.root, &Path::new(), &BTreeSet::new());
        let below = nodes.iter().filter(|node| tree::display(&node.path).starts_with(key));
        below.filter(|node| node.string.as_deref() == Some(text)).map(|node| tree::display(&node.path)).next()
    }
}

/// Returns the line and column of a byte offset, both from 1; the column is in characters. An offset beyond the text,
/// or within a character, counts as the end.
pub fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[begin..].chars().count() + 1)
}

#[cfg(test)]
mod tests;
