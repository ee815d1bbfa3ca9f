//! app.ini as go-ini reads and writes it with Forgejo's options: no continuation lines, inline comments, `" = "`
//! between key and value, no alignment.

mod boolean;
mod error;
mod expand;
mod parse;
mod quote;
mod write;

pub use boolean::boolean;
pub use error::{IniError, SyntaxError};
pub use quote::{Unrepresentable, has_reference, quote, survives};

use std::collections::HashMap;
use std::ops::Range;

/// Name of the section for keys before the first header, which go-ini also searches for `%(name)s`.
pub const DEFAULT_SECTION: &str = "DEFAULT";

/// A parsed file: sections in order, each with its keys in order. `Debug` prints the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ini {
    text: String,
    sections: Vec<Section>,
    by_name: HashMap<String, usize>,
    entries: Vec<Entry>,
    headers: Vec<Header>,
}

/// A section with its keys. A section that occurs several times in the text is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    name: String,
    comment: String,
    keys: Vec<Key>,
    /// Indexes of the keys. `None` for a small section.
    by_name: Option<HashMap<String, usize>>,
}

/// Number of keys from which a section has an index.
const INDEX_FROM: usize = 16;

/// A key with its value, in which `%(name)s` is not expanded. `Debug` does not print the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
    value: String,
    comment: String,
    automatic: bool,
}

/// An assignment in the text, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of the section.
    pub section: String,
    /// Name of the key. A key `-` is named `#` and its number in the section.
    pub key: String,
    /// Number of the first line, from 1.
    pub line: u32,
    /// Column of the key in characters, from 1.
    pub column: u32,
    /// Byte range of its line or lines, including the last line ending.
    pub span: Range<usize>,
}

/// A section header in the text, with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name of the section.
    pub section: String,
    /// Line number, from 1.
    pub line: u32,
    /// Byte range of the line, including the line ending.
    pub span: Range<usize>,
}

impl Ini {
    /// Parses a file as go-ini does with Forgejo's options. A byte order mark is skipped.
    ///
    /// # Errors
    /// Returns the first error. Forgejo does not start with such a file.
    pub fn parse(text: &str) -> Result<Self, IniError> {
        parse::parse(text, true)
    }

    /// Parses a file for its values only: text, entries and headers are empty.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub(crate) fn parse_values(text: &str) -> Result<Self, IniError> {
        parse::parse(text, false)
    }

    /// Returns the text that was parsed, to which entries and headers refer by byte ranges.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the sections in order of their first occurrence. The first is [`DEFAULT_SECTION`], also if it has no
    /// keys.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Returns every assignment in the text, in order, including those that a later one overrides.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns every section header in the text, in order.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// Returns the section with exactly this name. `None` if there is none.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.by_name.get(name).and_then(|at| self.sections.get(*at))
    }

    /// Returns the value of a key, with `%(name)s` expanded. A key that is missing in section `a.b` is looked up in
    /// `a`. Returns `None` if it is missing there too.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        let (section, key) = self.find(section, key)?;
        Some(expand::expand(self, section, key))
    }

    /// Returns the text that go-ini 1.67 writes, as when Forgejo stores a generated token. Comments are kept, blank
    /// lines are not.
    #[must_use]
    pub fn write(&self) -> String {
        write::write(self)
    }

    /// Sets the unexpanded value of a key, as Forgejo's code does. A missing section or key is created.
    /// [`entries`](Self::entries) and [`text`](Self::text) are not updated.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        let at = self.section_index(section);
        let section = &mut self.sections[at];
        let at = section.position(key);
        match at.and_then(|at| section.keys.get_mut(at)) {
            Some(held) => value.clone_into(&mut held.value),
            None => section.put(Key {
                name: key.to_owned(),
                value: value.to_owned(),
                comment: String::new(),
                automatic: false,
            }),
        }
    }

    /// Returns a copy of the default section and of the named ones that exist, without positions.
    pub(crate) fn excerpt(&self, sections: &[&str]) -> Self {
        let mut out = Self::empty();
        for name in [DEFAULT_SECTION].iter().chain(sections) {
            if let Some(held) = self.section(name) {
                let at = out.section_index(name);
                out.sections[at] = held.clone();
            }
        }
        out
    }

    /// Creates a file with an empty default section.
    fn empty() -> Self {
        let mut out = Self {
            text: String::new(),
            sections: Vec::new(),
            by_name: HashMap::new(),
            entries: Vec::new(),
            headers: Vec::new(),
        };
        out.section_index(DEFAULT_SECTION);
        out
    }

    /// Returns the index of a section, which is created if it is missing.
    fn section_index(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.sections.len();
        self.by_name.insert(name.to_owned(), at);
        self.sections.push(Section {
            name: name.to_owned(),
            comment: String::new(),
            keys: Vec::new(),
            by_name: None,
        });
        at
    }

    /// Returns a key with its section, which may be a parent of the named one. `None` if the key is in none of them.
    fn find(&self, section: &str, key: &str) -> Option<(&Section, &Key)> {
        let mut name = section;
        loop {
            let found = self.section(name);
            if let Some(found) = found
                && let Some(key) = found.key(key)
            {
                return Some((found, key));
            }
            name = &name[..name.rfind('.')?];
        }
    }
}

impl Section {
    /// Returns the name of the section.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the keys in order of their first occurrence. Repeated keys occur once, with the last value.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the key with exactly this name. `None` if there is none; parent sections are not searched.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.position(name).and_then(|at| self.keys.get(at))
    }

    /// Returns the index of a key. `None` if it is missing.
    fn position(&self, name: &str) -> Option<usize> {
        if self.keys.len() < INDEX_FROM {
            return self.keys.iter().position(|key| key.name == name);
        }
        self.by_name.as_ref()?.get(name).copied()
    }

    /// Adds a key, or replaces the one with the same name, which keeps its position.
    fn put(&mut self, key: Key) {
        if let Some(at) = self.position(&key.name) {
            self.keys[at] = key;
            return;
        }
        self.keys.push(key);
        // The index is built once the section has become large, and then updated.
        let from = if self.keys.len() == INDEX_FROM { 0 } else { self.keys.len() - 1 };
        if self.keys.len() >= INDEX_FROM {
            let names = self.keys[from..].iter().enumerate();
            self.by_name.get_or_insert_default().extend(names.map(|(at, key)| (key.name.clone(), from + at)));
        }
    }
}

impl Key {
    /// Returns the name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value without quotes and without expansion of `%(name)s`.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.value
    }
}

/// Omits value and comment, since either may contain a password.
impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}
