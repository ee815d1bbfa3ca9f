//! Faults of meaning beside faults of form, in one run.

use super::tree::{self, Node, Path, Step};
use super::{Source, blank};
use crate::finding::{Finding, Findings};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

impl Source<'_> {
    /// Deserializes the table of the file at `part` and passes it to `interpret`, which checks its meaning. If keys or
    /// values have errors, `interpret` is called with the rest of the file, without the parts at fault, so that one run
    /// reports errors of both kinds; findings that follow from the removed parts are dropped. The source passed to
    /// `interpret` is the text with spaces in place of the removed parts, so that positions are those of the file.
    ///
    /// # Errors
    /// Returns the errors of keys and values, and those that `interpret` returns.
    pub fn interpret<T: DeserializeOwned, R>(
        &self,
        part: &[&str],
        interpret: impl FnOnce(&Source<'_>, T) -> Result<R, Findings>,
    ) -> Result<R, Findings> {
        let form = match self.deserialize_part::<T>(part) {
            Ok(read) => return interpret(self, read),
            Err(form) => form,
        };
        let path: Path = part.iter().map(|key| Step::Key((*key).to_owned())).collect();
        let (_, _, removed) = self.deserialize_rest::<T>(&path);
        let text = blank::without(self.text, &self.root, &removed);
        let Ok(rest) = Source::parse_with(&self.file, &text, self.words, self.parser) else {
            return Err(form);
        };
        let Ok(read) = rest.deserialize_part::<T>(part) else { return Err(form) };
        let Err(meaning) = interpret(&rest, read) else { return Err(form) };
        let aside = SetAside::new(self, &removed);
        let meaning = meaning.list().iter().filter_map(|finding| aside.relevant(self, &rest, finding));
        Err(form.and(Findings::new(meaning.collect())))
    }
}

/// The removed parts of a file, and the names by which other parts refer to them.
struct SetAside {
    keys: Vec<String>,
    names: BTreeSet<String>,
    nodes: Vec<Node>,
}

impl SetAside {
    /// Collects the paths of the removed nodes, and the names of removed tables: their keys, and every string in them.
    fn new(source: &Source<'_>, removed: &BTreeSet<Path>) -> Self {
        let nodes = tree::nodes(&source.root, &Path::new(), &BTreeSet::new());
        let mut names = BTreeSet::new();
        // Others refer to a table by its names; a single value that was set aside has none.
        let is_of_table = |node: &Node| {
            removed
                .iter()
                .any(|path| node.path.starts_with(path) && (node.path.len() > path.len() || !node.is_leaf))
        };
        for node in nodes.iter().filter(|node| is_of_table(node)) {
            names.extend(node.string.clone());
            if let (false, Some(Step::Key(name))) = (node.is_leaf, node.path.last()) {
                names.insert(name.clone());
            }
        }
        Self { keys: removed.iter().map(tree::display).collect(), names, nodes }
    }

    /// Converts a finding about the rest of the file to one about the whole file, in which the items of lists have
    /// other indices. Returns `None` if the finding follows from a removed part: its key is removed or below a removed
    /// key, its message quotes the last key of a removed path, or its value or message contains the name of a removed
    /// table. A finding about another file is returned unchanged.
    fn relevant(&self, source: &Source<'_>, rest: &Source<'_>, finding: &Finding) -> Option<Finding> {
        let mut finding = finding.clone();
        if finding.place.file != source.file {
            return Some(finding);
        }
        finding.place.key = self.original_key(rest, &finding.place.key);
        let key = &finding.place.key;
        let is_below = |aside: &String| {
            key.strip_prefix(aside.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let value = finding.value.as_deref().unwrap_or_default().trim_matches(['"', '\'']);
        let message = &finding.message;
        let quoted = |word: &str| {
            ["`{}`", "\"{}\"", "--{} "].iter().any(|form| message.contains(&form.replace("{}", word)))
        };
        let mentions = |aside: &String| {
            let last = aside.rsplit(['.', ']']).next().unwrap_or_default();
            !last.is_empty() && (quoted(last) || message.contains(&format!(" {last} = ")))
        };
        let follows = self.keys.iter().any(|aside| is_below(aside) || mentions(aside))
            || self.names.iter().any(|name| !name.is_empty() && (name == value || quoted(name)));
        (!follows).then_some(finding)
    }

    /// Returns the path in the whole file of a path in the rest, where lists may have lost items. Nodes of the two
    /// correspond if they begin at the same byte and their paths have the same keys. A path without a counterpart is
    /// returned unchanged.
    fn original_key(&self, rest: &Source<'_>, key: &str) -> String {
        let nodes = tree::nodes(&rest.root, &Path::new(), &BTreeSet::new());
        let node = tree::nearest_node(&nodes, key);
        let tail = key.strip_prefix(&tree::display(&node.path)).unwrap_or_default();
        let shape = |path: &Path| {
            let keys =
                path.iter().map(|step| if let Step::Key(key) = step { Some(key.clone()) } else { None });
            keys.collect::<Vec<_>>()
        };
        let wanted = shape(&node.path);
        let same = |other: &&Node| other.span.start == node.span.start && shape(&other.path) == wanted;
        // Of a list of tables the first may have been set aside.
        let original = self.nodes.iter().find(same).map_or(&node.path, |original| &original.path);
        tree::display(original) + tail
    }
}
