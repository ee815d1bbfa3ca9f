//! The parsed document: every value with its position, every error collected.

use super::keys::{Key, Kind};
use super::named_file::NamedFile;
use super::problem::{Problem, position};
use cli_support::words::nearest;
use edge_proxy::{ConfigError, ConfigPath};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed file of the configuration, with the errors found in it so far.
pub(super) struct Document<'t> {
    /// The name of an included file; `None` for the main one.
    file: Option<String>,
    text: &'t str,
    root: Option<Spanned<DeTable<'t>>>,
    problems: RefCell<Vec<Problem>>,
    places: RefCell<HashMap<ConfigPath, Spans>>,
    files: RefCell<Vec<NamedFile>>,
}

/// The positions of a part of the configuration: byte offsets of the whole, and of each key.
#[derive(Clone)]
struct Spans {
    path: String,
    whole: usize,
    keys: HashMap<String, usize>,
}

/// A table of the file, with its path and the entries that it may have.
pub(super) struct Table<'d, 't> {
    document: &'d Document<'t>,
    path: String,
    at: usize,
    entries: &'d DeTable<'t>,
    may: AllowedEntries,
}

/// The entries that a table may have.
#[derive(Clone, Copy)]
enum AllowedEntries {
    /// These keys only.
    Keys(&'static [Key]),
    /// Arbitrary names, each with a value of this kind.
    Names(&'static Kind),
}

/// A value of the file, with its path, its position and the kind that it must have.
pub(super) struct Value<'d, 't> {
    pub(super) document: &'d Document<'t>,
    pub(super) path: String,
    pub(super) span: Range<usize>,
    pub(super) value: &'d DeValue<'t>,
    pub(super) kind: &'static Kind,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let problems = errors.iter().map(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let said = error.message().replace('\n', "; ");
            let message =
                format!("not valid TOML, {said}: write key = value, [section], [[list of sections]]");
            Problem { line, column, message, ..Problem::default() }
        });
        let problems: Vec<_> = problems.collect();
        let root = problems.is_empty().then_some(root);
        let problems = RefCell::new(problems);
        Self { file: None, text, root, problems, places: RefCell::default(), files: RefCell::default() }
    }

    /// Parses an included file of this name.
    pub(super) fn parse_included(file: &str, text: &'t str) -> Self {
        let document = Self { file: Some(file.into()), ..Self::new(text) };
        for problem in document.problems.borrow_mut().iter_mut() {
            problem.file = Some(file.into());
        }
        document
    }

    /// Returns true if a part of the configuration is written in this file.
    pub(super) fn has(&self, place: ConfigPath) -> bool {
        self.places.borrow().contains_key(&place)
    }

    /// Returns the whole file with the keys that it may have, if it is valid TOML.
    pub(super) fn root(&self, keys: &'static [Key]) -> Option<Table<'_, 't>> {
        let root = self.root.as_ref()?;
        Some(Table {
            document: self,
            path: String::new(),
            at: 0,
            entries: root.get_ref(),
            may: AllowedEntries::Keys(keys),
        })
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Records a file or folder that a value names.
    pub(super) fn name_file(&self, path: PathBuf, value: &Value<'_, '_>) {
        let (line, column) = position(self.text, value.span.start);
        let (key, file) = (value.path.clone(), self.file.clone());
        self.files.borrow_mut().push(NamedFile { path, key, file, line, column });
    }

    /// Returns the files and folders named so far.
    pub(super) fn files(&self) -> Vec<NamedFile> {
        self.files.borrow().clone()
    }

    /// Takes the errors.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Records the position of settings outside the lists.
    pub(super) fn place_root(&self, root: &Table<'_, '_>) {
        root.place(ConfigPath::Config);
    }

    /// Reports an error of the library at its position in the file.
    pub(super) fn report(&self, error: &ConfigError) {
        let places = self.places.borrow();
        let key = match error.key {
            "targets" => "target",
            "to" => "redirect",
            "request_fields" => "request_headers",
            "response_fields" => "response_headers",
            other => other,
        };
        let Some(spans) = places.get(&error.place) else {
            return self.report_error(
                0,
                key,
                in_backticks(&error.value),
                format!("{}: {}", error.part, error.fix),
            );
        };
        // The path of a route is under one of two keys.
        let written = |name: &&str| spans.keys.contains_key(*name);
        let other =
            ["exact", "begins"].into_iter().find(written).filter(|_| key == "path" && !written(&"path"));
        let key = other.unwrap_or(key);
        let first = key.split('.').next().unwrap_or(key);
        let at = ["", "s"].iter().find_map(|plural| spans.keys.get(&format!("{first}{plural}")));
        let at = spans.keys.get(key).or(at).copied().unwrap_or(spans.whole);
        let path = if spans.path.is_empty() { key.into() } else { format!("{}.{key}", spans.path) };
        self.report_error(at, &path, in_backticks(&error.value), error.fix.to_string());
    }

    fn report_error(&self, at: usize, key: &str, value: Option<String>, message: String) {
        let (line, column) = position(self.text, at);
        let file = self.file.clone();
        self.add(Problem { file, line, column, key: key.into(), value, message });
    }

    /// Adds an error, such as one of another reader.
    pub(super) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }
}

impl<'d, 't> Table<'d, 't> {
    /// Returns the value of a key, which must be in the table of keys. `None` if the file does not have the key.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'d, 't>> {
        let AllowedEntries::Keys(keys) = self.may else { return None };
        let known = keys.iter().find(|known| known.name == key);
        debug_assert!(known.is_some(), "the table of keys lacks `{key}`");
        let value = self.entries.get(key)?;
        Some(self.value(key, value, &known?.kind))
    }

    /// Returns the table under a key. `None` if the key is missing, or not a table, which is reported.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        self.get(key)?.table()
    }

    /// Iterates over all keys and values, for tables whose keys are names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'d str, Value<'d, 't>)> {
        let kind = match self.may {
            AllowedEntries::Names(kind) => Some(kind),
            AllowedEntries::Keys(_) => None,
        };
        debug_assert!(kind.is_some(), "the keys of {} are not names", self.path);
        kind.into_iter().flat_map(|kind| {
            let one = |(key, value): (&'d Spanned<_>, &'d Spanned<_>)| {
                let key: &'d std::borrow::Cow<'t, str> = key.get_ref();
                (key.as_ref(), self.value(key, value, kind))
            };
            self.entries.iter().map(one)
        })
    }

    fn value(&self, key: &str, value: &'d Spanned<DeValue<'t>>, kind: &'static Kind) -> Value<'d, 't> {
        let path = if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) };
        Value { document: self.document, path, span: value.span(), value: value.get_ref(), kind }
    }

    /// Reports an error at a key, or at the table if the key is missing.
    pub(super) fn report_error(&self, key: &str, message: &str) {
        let at = self.entries.get(key).map_or(self.at, |value| value.span().start);
        let path = if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) };
        self.document.report_error(at, &path, None, message.into());
    }

    /// Records the position of this part of the configuration.
    pub(super) fn place(&self, place: ConfigPath) {
        let mut keys = HashMap::new();
        for (key, value) in self.entries {
            // Includes inner tables: `health.eject`.
            for (inner, value) in value.get_ref().as_table().into_iter().flat_map(|table| table.iter()) {
                keys.insert(format!("{}.{}", key.get_ref(), inner.get_ref()), value.span().start);
            }
            keys.insert(key.get_ref().to_string(), value.span().start);
        }
        let spans = Spans { path: self.path.clone(), whole: self.at, keys };
        self.document.places.borrow_mut().insert(place, spans);
    }

    /// Reports the keys of the table that are not allowed. To be called when all others have been read.
    pub(super) fn finish(&self) {
        let AllowedEntries::Keys(keys) = self.may else { return };
        let known = || keys.iter().map(|known| known.name);
        for key in self.entries.keys().filter(|key| !known().any(|known| known == key.get_ref().as_ref())) {
            let name = key.get_ref();
            let hint = match (super::foreign::hint_for(name), nearest(name, known())) {
                (Some(write), _) => write.into(),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => {
                    let mut known: Vec<_> = known().collect();
                    known.sort_unstable();
                    format!("known keys are {}", known.join(", "))
                }
            };
            let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
            self.document.report_error(key.span().start, &path, None, format!("unknown key: {hint}"));
        }
    }
}

impl<'d, 't> Value<'d, 't> {
    /// Reports an error at the value.
    pub(super) fn report_error(&self, message: &str) {
        let written = self.document.text.get(self.span.clone()).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        let short: String = line.chars().take(80).collect();
        self.document.report_error(self.span.start, &self.path, Some(short), message.into());
    }

    /// Reports an error without repeating the value, which may be a secret in place of a reference.
    pub(super) fn report_secret_error(&self, message: &str) {
        self.document.report_error(self.span.start, &self.path, None, message.into());
    }

    /// Returns the value as a table. `None` if it is not one, which is reported.
    pub(super) fn table(&self) -> Option<Table<'d, 't>> {
        let may = allowed_entries(self.kind);
        debug_assert!(may.is_some(), "{} is not a table according to the table of keys", self.path);
        match self.value.as_table() {
            Some(entries) => Some(Table {
                document: self.document,
                path: self.path.clone(),
                at: self.span.start,
                entries,
                may: may?,
            }),
            None => {
                self.report_error("expected a table: write it as a section in brackets, or { key = value }");
                None
            }
        }
    }

    /// Returns the tables of an array of tables, `[[key]]`.
    pub(super) fn tables(&self) -> Vec<Table<'d, 't>> {
        if self.value.as_array().is_none() {
            self.report_error(
                "expected a list of tables: write the section's name in double brackets, [[name]]",
            );
        }
        self.items().iter().filter_map(Self::table).collect()
    }

    /// Returns the items of an array, with their positions in their paths.
    pub(super) fn items(&self) -> Vec<Self> {
        let kind = if let Kind::List(item) = self.kind { item } else { self.kind };
        let items = self.value.as_array().into_iter().flat_map(|array| array.iter()).enumerate();
        items
            .map(|(i, item)| Self {
                document: self.document,
                path: format!("{}[{i}]", self.path),
                span: item.span(),
                value: item.get_ref(),
                kind,
            })
            .collect()
    }
}

/// Returns the value of an error of the library, in backticks. `None` if it is empty.
fn in_backticks(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| format!("`{value}`"))
}

/// Returns the entries allowed in a table of this kind, or in the tables of a list of it. `None` if the kind has no table.
fn allowed_entries(kind: &'static Kind) -> Option<AllowedEntries> {
    match kind {
        Kind::Table(keys) | Kind::Tables(keys) => Some(AllowedEntries::Keys(keys)),
        Kind::Named(kind) => Some(AllowedEntries::Names(kind)),
        Kind::Either(kinds) => kinds.iter().find_map(allowed_entries),
        _ => None,
    }
}
