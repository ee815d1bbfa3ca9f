//! A parsed configuration file, with the position of every value. Errors are collected, so that all can be reported at
//! once.

use super::keys::{Key, Kind};
use super::named_file::NamedFile;
use super::problem::{Problem, position};
use cli_support::document::syntax_message;
use cli_support::words::nearest;
use edge_proxy::{ConfigError, ConfigPath};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed configuration file, with the errors found in it so far.
pub(super) struct Document<'t> {
    /// The name of an included file; `None` for the main file.
    file: Option<String>,
    /// The text of the file.
    text: &'t str,
    /// The top-level table. `None` if the text is not valid TOML.
    root: Option<Spanned<DeTable<'t>>>,
    /// The errors so far, in the order in which they were found.
    problems: RefCell<Vec<Problem>>,
    /// The positions of the parts of the configuration, by which errors of the library are placed in the file.
    places: RefCell<HashMap<ConfigPath, Spans>>,
    /// The files and folders that values name, in the order in which the values were read.
    files: RefCell<Vec<NamedFile>>,
}

/// The positions of a part of the configuration, as byte offsets.
#[derive(Clone)]
struct Spans {
    /// The path of its table, such as `site[0]`; empty for the top level.
    path: String,
    /// The offset of the table.
    whole: usize,
    /// The offset of the value of each key; also of each key of a table in it, such as `health.eject`.
    keys: HashMap<String, usize>,
}

/// A table of the file, with its path and the entries that it may have.
pub(super) struct Table<'d, 't> {
    /// The document that contains the table.
    document: &'d Document<'t>,
    /// The path of the table, such as `site[0]`; empty for the top level.
    path: String,
    /// The byte offset of the table in the text.
    at: usize,
    /// The entries in the file.
    entries: &'d DeTable<'t>,
    /// The entries that are valid.
    may: AllowedEntries,
}

/// The entries that are valid in a table.
#[derive(Clone, Copy)]
enum AllowedEntries {
    /// These keys only.
    Keys(&'static [Key]),
    /// Arbitrary names as keys, each with a value of this kind.
    Names(&'static Kind),
}

/// A value of the file, with its path, its position and the kind that it must have.
pub(super) struct Value<'d, 't> {
    /// The document that contains the value.
    pub(super) document: &'d Document<'t>,
    /// The path of the key, such as `site[0].hosts[1]`.
    pub(super) path: String,
    /// The byte range of the value in the text.
    pub(super) span: Range<usize>,
    /// The value as TOML.
    pub(super) value: &'d DeValue<'t>,
    /// The kind that is valid for the key.
    pub(super) kind: &'static Kind,
}

impl<'t> Document<'t> {
    /// Parses the main file. Syntax errors are recorded as errors of the document, which then has no root.
    pub(super) fn new(text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let problems = errors.iter().map(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            let message = syntax_message(error.message());
            Problem { line, column, message, ..Problem::default() }
        });
        let problems: Vec<_> = problems.collect();
        let root = problems.is_empty().then_some(root);
        let problems = RefCell::new(problems);
        Self { file: None, text, root, problems, places: RefCell::default(), files: RefCell::default() }
    }

    /// Parses an included file. `file` is its name in errors.
    pub(super) fn parse_included(file: &str, text: &'t str) -> Self {
        let document = Self { file: Some(file.into()), ..Self::new(text) };
        for problem in document.problems.borrow_mut().iter_mut() {
            problem.file = Some(file.into());
        }
        document
    }

    /// Returns true if a table of this file was recorded by [`Table::place`] as the part `place` of the configuration.
    pub(super) fn has(&self, place: ConfigPath) -> bool {
        self.places.borrow().contains_key(&place)
    }

    /// Returns the top-level table, in which `keys` are valid. `None` if the text is not valid TOML.
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

    /// Returns true if no errors have been found so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Returns the paths of the keys that have an error so far, with repetitions. An error of syntax has an empty path.
    pub(super) fn faulty_keys(&self) -> Vec<String> {
        self.problems.borrow().iter().map(|problem| problem.key.clone()).collect()
    }

    /// Returns true if an error of the library does not follow from errors of the file: its part of the configuration
    /// has no faulty key, nor has the upstream that it names. `faulty` are the paths of the keys with an error in all
    /// files. False if the file has an error of syntax.
    pub(super) fn is_independent(&self, error: &ConfigError, faulty: &[String]) -> bool {
        let path = self.places.borrow().get(&error.place).map(|spans| spans.path.clone()).unwrap_or_default();
        // Settings outside the lists are independent by their first key, such as `limits`.
        let part = if path.is_empty() { error.key.split('.').next().unwrap_or_default() } else { &path };
        let named = format!("upstream.{}", error.value);
        let below = |key: &String, part: &str| {
            key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        // Without a valid key at the top nothing is known of the lists.
        faulty.iter().all(|key| !key.is_empty() && !below(key, part) && !below(key, &named))
    }

    /// Records a file or folder, with the position of the value that names it.
    pub(super) fn name_file(&self, path: PathBuf, value: &Value<'_, '_>) {
        let (line, column) = position(self.text, value.span.start);
        let (key, file) = (value.path.clone(), self.file.clone());
        self.files.borrow_mut().push(NamedFile { path, key, file, line, column });
    }

    /// Returns the recorded files and folders.
    pub(super) fn files(&self) -> Vec<NamedFile> {
        self.files.borrow().clone()
    }

    /// Returns the errors, in the order in which they were added.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// Records the position of the top-level table and its keys, for errors of settings outside the lists.
    pub(super) fn place_root(&self, root: &Table<'_, '_>) {
        root.place(ConfigPath::Config);
    }

    /// Adds an error that the library found, at the position of the key. Keys that have another name in the file than
    /// in the library are renamed. If the key is not in the file, the position is that of the table; if the table is
    /// not, it is the beginning of the file.
    pub(super) fn report(&self, error: &ConfigError) {
        let places = self.places.borrow();
        let key = match error.key {
            "targets" => "target".to_owned(),
            "to" => "redirect".to_owned(),
            other => other
                .replace("request_fields", "request_headers")
                .replace("response_fields", "response_headers"),
        };
        let key = key.as_str();
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

    /// Adds an error at the byte offset `at`. `key` is the path of the key, and `value` the value as written, `None` if
    /// it is not to be shown.
    fn report_error(&self, at: usize, key: &str, value: Option<String>, message: String) {
        let (line, column) = position(self.text, at);
        let file = self.file.clone();
        self.add(Problem { file, line, column, key: key.into(), value, message });
    }

    /// Adds an error that another reader found.
    pub(super) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }
}

impl<'d, 't> Table<'d, 't> {
    /// Returns the value of a key. `None` if the file does not have it. Panics in debug builds if the key is not a
    /// valid one of the table.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'d, 't>> {
        let AllowedEntries::Keys(keys) = self.may else { return None };
        let known = keys.iter().find(|known| known.name == key);
        debug_assert!(known.is_some(), "the table of keys lacks `{key}`");
        let value = self.entries.get(key)?;
        Some(self.value(key, value, &known?.kind))
    }

    /// Returns the table under a key. `None` if the key is missing, or its value is not a table; the latter is
    /// reported.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        self.get(key)?.table()
    }

    /// Returns all entries of a table with arbitrary names, as pairs of name and value. Empty, or a panic in debug
    /// builds, for a table with fixed keys.
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

    /// Creates the value of a key of this table, with its path and the kind that it must have.
    fn value(&self, key: &str, value: &'d Spanned<DeValue<'t>>, kind: &'static Kind) -> Value<'d, 't> {
        let path = if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) };
        Value { document: self.document, path, span: value.span(), value: value.get_ref(), kind }
    }

    /// Adds an error at the value of a key, or at the table if the key is missing. The value is not shown.
    pub(super) fn report_error(&self, key: &str, message: &str) {
        let at = self.entries.get(key).map_or(self.at, |value| value.span().start);
        let path = if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) };
        self.document.report_error(at, &path, None, message.into());
    }

    /// Records the position of this table and its keys, for errors of the library about the part `place`.
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

    /// Reports the keys of the table that are not valid, each with the likely fix: the advice for a key of another
    /// proxy, the most similar key, or all keys. Does nothing for a table with arbitrary names.
    pub(super) fn finish(&self) {
        let AllowedEntries::Keys(keys) = self.may else { return };
        let known = || keys.iter().map(|known| known.name);
        for key in self.entries.keys().filter(|key| !known().any(|known| known == key.get_ref().as_ref())) {
            let name = key.get_ref();
            let hint = match (super::foreign::hint_for(name, &self.path), nearest(name, known())) {
                (Some(write), _) => write,
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
    /// Adds an error at the value, which shows the first line of the value, up to 80 characters.
    pub(super) fn report_error(&self, message: &str) {
        let written = self.document.text.get(self.span.clone()).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        let short: String = line.chars().take(80).collect();
        self.document.report_error(self.span.start, &self.path, Some(short), message.into());
    }

    /// Adds an error at the value without showing the value, since it may be a secret that was written in place of a
    /// reference.
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

    /// Returns the tables of an array of tables, `[[key]]`. Empty if the value is not an array, which is reported.
    /// Items that are not tables are reported and left out.
    pub(super) fn tables(&self) -> Vec<Table<'d, 't>> {
        if self.value.as_array().is_none() {
            self.report_error(
                "expected a list of tables: write the section's name in double brackets, [[name]]",
            );
        }
        self.items().iter().filter_map(Self::table).collect()
    }

    /// Returns the items of an array; their paths end in their index, such as `[0]`. Empty if the value is not an
    /// array.
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

/// Returns the value of an error of the library in backticks. `None` if it is empty.
fn in_backticks(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| format!("`{value}`"))
}

/// Returns the entries that are valid in a table of this kind, or in the tables of a list of this kind. `None` if the
/// kind has no tables.
fn allowed_entries(kind: &'static Kind) -> Option<AllowedEntries> {
    match kind {
        Kind::Table(keys) | Kind::Tables(keys) => Some(AllowedEntries::Keys(keys)),
        Kind::Named(kind) => Some(AllowedEntries::Names(kind)),
        Kind::Either(kinds) => kinds.iter().find_map(allowed_entries),
        _ => None,
    }
}
