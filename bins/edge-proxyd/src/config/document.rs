//! The file as written: every value with its position, every mistake collected.

use super::keys::{Key, Kind};
use super::problem::{Problem, Problems, position};
use edge_proxy::nearest;
use edge_proxy::{ConfigError, ConfigPath};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that was parsed.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Option<Spanned<DeTable<'t>>>,
    problems: RefCell<Vec<Problem>>,
    places: RefCell<HashMap<ConfigPath, Spans>>,
    pub(super) files: RefCell<Vec<PathBuf>>,
}

/// Where a part of the configuration is in the file.
#[derive(Clone)]
struct Spans {
    path: String,
    whole: usize,
    keys: HashMap<String, usize>,
}

/// One table.
pub(super) struct Table<'d, 't> {
    document: &'d Document<'t>,
    path: String,
    at: usize,
    entries: &'d DeTable<'t>,
    may: May,
}

/// What may be in a table.
#[derive(Clone, Copy)]
enum May {
    /// These keys.
    Keys(&'static [Key]),
    /// Names, each with such a value.
    Names(&'static Kind),
}

/// One value.
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
            Problem { line, column, message: error.message().replace('\n', "; ") }
        });
        let problems: Vec<_> = problems.collect();
        let root = problems.is_empty().then_some(root);
        let problems = RefCell::new(problems);
        Self { text, root, problems, places: RefCell::default(), files: RefCell::default() }
    }

    /// The whole file, if it is TOML, with the keys that it may have.
    pub(super) fn root(&self, keys: &'static [Key]) -> Option<Table<'_, 't>> {
        let root = self.root.as_ref()?;
        Some(Table {
            document: self,
            path: String::new(),
            at: 0,
            entries: root.get_ref(),
            may: May::Keys(keys),
        })
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// The files and folders that were named so far.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    pub(super) fn into_problems(self, file: &str) -> Problems {
        Problems::new(file, self.problems.into_inner())
    }

    /// Remembers where what belongs to no list is.
    pub(super) fn place_root(&self, root: &Table<'_, '_>) {
        root.place(ConfigPath::Config);
    }

    /// Reports what the library found wrong, at its place.
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
            return self.wrong(0, format!("{}: {key} = `{}` {}", error.part, error.value, error.fix));
        };
        // A route has its path by either key.
        let other = key == "path" && !spans.keys.contains_key("path") && spans.keys.contains_key("exact");
        let key = if other { "exact" } else { key };
        let first = key.split('.').next().unwrap_or(key);
        let at = ["", "s"].iter().find_map(|plural| spans.keys.get(&format!("{first}{plural}")));
        let at = spans.keys.get(key).or(at).copied().unwrap_or(spans.whole);
        let path = if spans.path.is_empty() { key.into() } else { format!("{}.{key}", spans.path) };
        self.wrong(at, format!("{path} ({}): `{}` {}", error.part, error.value, error.fix));
    }

    fn wrong(&self, at: usize, message: String) {
        let (line, column) = position(self.text, at);
        self.problems.borrow_mut().push(Problem { line, column, message });
    }
}

impl<'d, 't> Table<'d, 't> {
    /// The value of a key of the table of keys.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'d, 't>> {
        let May::Keys(keys) = self.may else { return None };
        let known = keys.iter().find(|known| known.name == key);
        debug_assert!(known.is_some(), "the table of keys has no `{key}`");
        let value = self.entries.get(key)?;
        Some(self.value(key, value, &known?.kind))
    }

    /// The table of a key.
    pub(super) fn table(&self, key: &'static str) -> Option<Self> {
        self.get(key)?.table()
    }

    /// All keys with their values, for tables whose keys are names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'d str, Value<'d, 't>)> {
        let kind = match self.may {
            May::Names(kind) => Some(kind),
            May::Keys(_) => None,
        };
        debug_assert!(kind.is_some(), "the keys of {} are no names", self.path);
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

    /// Reports a key, or the table where it is missing.
    pub(super) fn wrong(&self, key: &str, message: &str) {
        let at = self.entries.get(key).map_or(self.at, |value| value.span().start);
        let path = if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) };
        self.document.wrong(at, format!("{path} {message}"));
    }

    /// Remembers that this part of the configuration is here.
    pub(super) fn place(&self, place: ConfigPath) {
        let mut keys = HashMap::new();
        for (key, value) in self.entries {
            // Of tables inside too: `health.eject`.
            for (inner, value) in value.get_ref().as_table().into_iter().flat_map(|table| table.iter()) {
                keys.insert(format!("{}.{}", key.get_ref(), inner.get_ref()), value.span().start);
            }
            keys.insert(key.get_ref().to_string(), value.span().start);
        }
        let spans = Spans { path: self.path.clone(), whole: self.at, keys };
        self.document.places.borrow_mut().insert(place, spans);
    }

    /// Reports the keys that the table of keys has not.
    pub(super) fn finish(&self) {
        let May::Keys(keys) = self.may else { return };
        let known = || keys.iter().map(|known| known.name);
        for key in self.entries.keys().filter(|key| !known().any(|known| known == key.get_ref().as_ref())) {
            let name = key.get_ref();
            let hint = match nearest(name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut known: Vec<_> = known().collect();
                    known.sort_unstable();
                    format!("known are {}", known.join(", "))
                }
            };
            let inside = if self.path.is_empty() { String::new() } else { format!(" in {}", self.path) };
            self.document.wrong(key.span().start, format!("unknown key `{name}`{inside}: {hint}"));
        }
    }
}

impl<'d, 't> Value<'d, 't> {
    /// Reports the value.
    pub(super) fn wrong(&self, message: &str) {
        let written = self.document.text.get(self.span.clone()).unwrap_or_default();
        let line = written.lines().next().unwrap_or_default();
        let short: String = line.chars().take(80).collect();
        self.document.wrong(self.span.start, format!("{} = {short}: {message}", self.path));
    }

    /// Reports the value without repeating it: it may be a secret that stands where its reference belongs.
    pub(super) fn wrong_unseen(&self, message: &str) {
        self.document.wrong(self.span.start, format!("{}: {message}", self.path));
    }

    /// A table.
    pub(super) fn table(&self) -> Option<Table<'d, 't>> {
        let may = may(self.kind);
        debug_assert!(may.is_some(), "{} is no table by the table of keys", self.path);
        match self.value.as_table() {
            Some(entries) => Some(Table {
                document: self.document,
                path: self.path.clone(),
                at: self.span.start,
                entries,
                may: may?,
            }),
            None => {
                self.wrong("is no table: write it as a section in brackets, or { key = value }");
                None
            }
        }
    }

    /// The tables of an array of tables, `[[key]]`.
    pub(super) fn tables(&self) -> Vec<Table<'d, 't>> {
        if self.value.as_array().is_none() {
            self.wrong("is no list: write the section's name in two brackets, [[name]]");
        }
        self.items().iter().filter_map(Self::table).collect()
    }

    /// The items of an array, with their positions in their paths.
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

/// What may be in a table of this kind, or in the tables of a list of it.
fn may(kind: &'static Kind) -> Option<May> {
    match kind {
        Kind::Table(keys) | Kind::Tables(keys) => Some(May::Keys(keys)),
        Kind::Named(kind) => Some(May::Names(kind)),
        Kind::Either(kinds) => kinds.iter().find_map(may),
        _ => None,
    }
}
