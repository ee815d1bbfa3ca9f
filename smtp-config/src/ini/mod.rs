//! app.ini as go-ini reads and writes it with Forgejo's options: no continuation lines, inline comments,
//! `" = "` between key and value, no alignment.

mod error;
mod expand;
mod parse;
mod quote;
mod write;

pub use error::{IniError, Malformed};
pub use quote::{Unrepresentable, has_reference, quote, survives};

use std::ops::Range;

/// The section of keys that stand before any header.
pub const DEFAULT_SECTION: &str = "DEFAULT";

/// A file as go-ini holds it: sections in order, each with its keys in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ini {
    sections: Vec<Section>,
    entries: Vec<Entry>,
    headers: Vec<Header>,
}

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    name: String,
    comment: String,
    keys: Vec<Key>,
}

/// A key and its value, before `%(name)s` is expanded.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
    value: String,
    comment: String,
    automatic: bool,
}

/// Where a key stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name of the section.
    pub section: String,
    /// The name of the key.
    pub key: String,
    /// The line, from 1, on which it begins.
    pub line: u32,
    /// The bytes of its line or lines, with the last line end.
    pub span: Range<usize>,
}

/// Where a section's header stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name of the section.
    pub section: String,
    /// The line, from 1.
    pub line: u32,
    /// The bytes of its line, with the line end.
    pub span: Range<usize>,
}

impl Ini {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The first line at which go-ini gives up; Forgejo does not start with such a file.
    pub fn parse(text: &str) -> Result<Self, IniError> {
        parse::parse(text)
    }

    /// The sections in the order in which they are written. The first is [`DEFAULT_SECTION`].
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Every assignment in the text, in order, those that a later one replaces included.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every section header in the text, in order.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// A section by its exact name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// What Forgejo gets for a key, with `%(name)s` expanded. A key that `a.b` lacks is looked up in `a`.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        let (section, key) = self.find(section, key)?;
        Some(expand::expand(self, section, key))
    }

    /// The text that go-ini writes, as when Forgejo stores a token it has made.
    #[must_use]
    pub fn write(&self) -> String {
        write::write(self)
    }

    /// Sets a key as Forgejo's own code does; a section or a key that is missing is made. Where it stands in the text
    /// is not known then.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        let at = self.sections.iter().position(|held| held.name == section).unwrap_or_else(|| {
            self.sections.push(Section {
                name: section.to_owned(),
                comment: String::new(),
                keys: Vec::new(),
            });
            self.sections.len() - 1
        });
        let keys = &mut self.sections[at].keys;
        match keys.iter_mut().find(|held| held.name == key) {
            Some(held) => value.clone_into(&mut held.value),
            None => keys.push(Key {
                name: key.to_owned(),
                value: value.to_owned(),
                comment: String::new(),
                automatic: false,
            }),
        }
    }

    fn find(&self, section: &str, key: &str) -> Option<(&Section, &Key)> {
        let mut name = section;
        loop {
            let found = self.section(name);
            if let Some(found) = found
                && let Some(key) = found.keys.iter().find(|candidate| candidate.name == key)
            {
                return Some((found, key));
            }
            name = &name[..name.rfind('.')?];
        }
    }
}

impl Section {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its keys in order.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

impl Key {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value, before `%(name)s` is expanded.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.value
    }
}

/// Without the value and the comment: either may hold a password.
impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}
