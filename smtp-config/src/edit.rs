//! Edits of app.ini that leave every other byte unchanged.

use crate::ini::{Ini, IniError, Unrepresentable, quote};
use crate::redact::is_secret_key;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use thiserror::Error;

/// A change of one key: a new value, or its removal. `Debug` does not print the value of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// Name of the section. A missing one is appended to the file.
    pub section: String,
    /// Name of the key.
    pub key: String,
    /// New value, without quotes. `None` removes the key.
    pub value: Option<String>,
}

impl Change {
    /// Creates a change that sets a key. The value is quoted where necessary when it is written.
    #[must_use]
    pub fn set(section: &str, key: &str, value: &str) -> Self {
        Self { section: section.to_owned(), key: key.to_owned(), value: Some(value.to_owned()) }
    }

    /// Creates a change that removes every assignment of a key. A missing key is no error.
    #[must_use]
    pub fn remove(section: &str, key: &str) -> Self {
        Self { section: section.to_owned(), key: key.to_owned(), value: None }
    }
}

/// Hides the value of a secret, as [`is_secret_key`] determines it.
impl fmt::Debug for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = is_secret_key(&self.key) && self.value.is_some();
        let value = if hidden { Some("(not shown)") } else { self.value.as_deref() };
        let mut shown = out.debug_struct("Change");
        shown.field("section", &self.section).field("key", &self.key).field("value", &value).finish()
    }
}

/// Error of an edit. No text is then returned.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The file is not valid for go-ini.
    #[error("app.ini:{0}")]
    Ini(#[from] IniError),
    /// A value cannot be represented in app.ini.
    #[error("{key} cannot be written: {reason}")]
    Value {
        /// The key whose value it is.
        key: String,
        /// Reason why the value cannot be represented.
        reason: Unrepresentable,
    },
    /// A value would be read differently, at once or after Forgejo has written the file. Contains the key, or a
    /// description of what is affected.
    #[error("{0} would be read differently, because of the rest of the file")]
    NotRead(String),
}

/// Returns the file with the changes applied.
///
/// If a key occurs in several changes, the last applies. A line whose value is already right is left unchanged, so that
/// a second edit has no effect. A changed line is written anew. Its trailing comment moves to the line above, except
/// for passwords, where it may be the rest of the old value. Of several lines of a password only the last is kept. New
/// keys are appended to their section, and new sections to the file. The result is verified by reading it back, also
/// after two re-saves by Forgejo.
///
/// # Errors
/// Returns an [`EditError`] if the file is not valid, a value cannot be represented, or the result would be read
/// differently.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, EditError> {
    edit_parsed(&Ini::parse(text)?, changes).map(|(edited, _)| edited)
}

/// Applies changes to a parsed file, as [`edit`] does. Returns the new text with its values; positions are only
/// included if nothing changed.
///
/// # Errors
/// As for [`edit`].
pub fn edit_parsed(old: &Ini, changes: &[Change]) -> Result<(String, Ini), EditError> {
    let mut last: HashMap<(&str, &str), usize> = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        last.insert((&change.section, &change.key), at);
    }
    let ordered = changes
        .iter()
        .enumerate()
        .filter(|(at, change)| last.get(&(change.section.as_str(), change.key.as_str())) == Some(at));
    let changes: Vec<&Change> = ordered.map(|(_, change)| change).collect();
    let edited = Editor::new(old, &changes).apply(&changes)?;
    // Values that remain have been read back twice already.
    if edited == old.text() {
        return Ok((edited, old.clone()));
    }
    let new = Ini::parse_values(&edited)?;
    if !same_except(old, &new, &changes) {
        return Err(EditError::NotRead("another key".to_owned()));
    }
    let mut saved: Option<Ini> = None;
    for round in 0..3 {
        if round > 0 {
            let before = saved.as_ref().unwrap_or(&new);
            let next = Ini::parse_values(&before.write());
            let next = next.map_err(|_| EditError::NotRead("the file".to_owned()))?;
            // What is written and read unchanged remains so.
            if next.sections() == before.sections() {
                break;
            }
            saved = Some(next);
        }
        let new = saved.as_ref().unwrap_or(&new);
        for change in &changes {
            let held = new.section(&change.section).and_then(|held| held.key(&change.key));
            let right = match &change.value {
                Some(value) => {
                    held.is_some() && new.value(&change.section, &change.key).as_ref() == Some(value)
                }
                None => held.is_none(),
            };
            if !right {
                return Err(EditError::NotRead(change.key.clone()));
            }
        }
    }
    Ok((edited, new))
}

/// Returns changes that set each key with a reference `%(name)s` to a removed key to its expanded value, so that it
/// keeps its meaning. Keys that change themselves are left out, as are values that would still contain a reference, and
/// values that contain a password, unless the key is one for a password.
pub(crate) fn written_out(ini: &Ini, changes: &[Change]) -> Vec<Change> {
    let removed: Vec<(&str, String)> = changes
        .iter()
        .filter(|change| change.value.is_none() && ini.value(&change.section, &change.key).is_some())
        .map(|change| (change.section.as_str(), format!("%({})s", change.key)))
        .collect();
    // A section below another finds the keys of that one too.
    let reaches = |name: &str, section: &str| {
        name.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let passwords: Vec<String> = ini
        .sections()
        .iter()
        .flat_map(|section| ["PASSWD", "PASSWORD"].map(|key| ini.value(section.name(), key)))
        .flatten()
        .filter(|value| !value.is_empty())
        .collect();
    let mut kept = Vec::new();
    for section in ini.sections() {
        let references: Vec<&str> = removed
            .iter()
            .filter(|(of, _)| reaches(section.name(), of))
            .map(|(_, reference)| reference.as_str())
            .collect();
        for key in section.keys() {
            let (section, name) = (section.name(), key.name());
            let is_changed = changes.iter().any(|change| change.section == section && change.key == name);
            if !is_changed
                && references.iter().any(|reference| key.raw().contains(reference))
                && let Some(value) = ini.value(section, name)
                // A password is not copied to another key, and a value that still refers to a key cannot be written.
                && (is_password(name) || !passwords.iter().any(|password| value.contains(password)))
                && !value.contains("%(")
            {
                kept.push(Change::set(section, name, &value));
            }
        }
    }
    kept
}

/// Replacements and insertions, by position in the old text. `end` is the line ending of the file.
struct Editor<'i> {
    ini: &'i Ini,
    end: &'static str,
    /// Indexes into the entries of each changed key.
    lines: HashMap<(&'i str, &'i str), Vec<usize>>,
    /// Byte offset after the last line of each changed section.
    section_ends: HashMap<&'i str, usize>,
    replaced: BTreeMap<(usize, usize), String>,
    inserted: BTreeMap<usize, String>,
    appended: Vec<(String, String)>,
}

impl<'i> Editor<'i> {
    /// Creates an edit without replacements, which knows the lines and the ends of the sections that the changes name.
    fn new(ini: &'i Ini, changes: &[&Change]) -> Self {
        let named = |section: &str| changes.iter().any(|change| change.section == section);
        let mut lines: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        let mut section_ends: HashMap<&str, usize> = HashMap::new();
        for header in ini.headers().iter().filter(|header| named(&header.section)) {
            section_ends.insert(&header.section, header.span.end);
        }
        for (at, entry) in ini.entries().iter().enumerate().filter(|(_, entry)| named(&entry.section)) {
            lines.entry((&entry.section, &entry.key)).or_default().push(at);
            let end = section_ends.entry(&entry.section).or_default();
            *end = entry.span.end.max(*end);
        }
        Self {
            ini,
            end: if ini.text().contains("\r\n") { "\r\n" } else { "\n" },
            lines,
            section_ends,
            replaced: BTreeMap::new(),
            inserted: BTreeMap::new(),
            appended: Vec::new(),
        }
    }

    /// Applies the changes in order, and returns the new text. A value that Forgejo reads as wanted, also after it
    /// writes the file, keeps its form.
    ///
    /// # Errors
    /// Returns [`EditError::Value`] if a value cannot be represented.
    fn apply(mut self, changes: &[&Change]) -> Result<String, EditError> {
        // A value that remains right after two re-saves keeps the form in which it is written.
        let right = |change: &&&Change| {
            change.value.is_some() && self.ini.value(&change.section, &change.key) == change.value
        };
        let once = changes.iter().find(right).and_then(|_| Ini::parse_values(&self.ini.write()).ok());
        let settled = once.as_ref().filter(|once| once.sections() == self.ini.sections());
        let twice = match settled {
            Some(_) => once.clone(),
            None => once.as_ref().and_then(|once| Ini::parse_values(&once.write()).ok()),
        };
        for change in changes {
            let lines = self.lines.get(&(change.section.as_str(), change.key.as_str()));
            let lines = lines.cloned().unwrap_or_default();
            match &change.value {
                None => lines.iter().for_each(|at| self.remove(*at)),
                Some(value) => {
                    let lasts = |ini: &Option<Ini>| {
                        let ini = ini.as_ref();
                        ini.and_then(|ini| ini.value(&change.section, &change.key)).as_ref() == Some(value)
                    };
                    let now = self.ini.value(&change.section, &change.key);
                    let held = self.ini.section(&change.section).and_then(|held| held.key(&change.key));
                    // A value that names a removed key would not be the same without it.
                    let loses = held.is_some_and(|held| {
                        let removed = changes.iter().filter(|other| other.value.is_none());
                        removed
                            .map(|other| format!("%({})s", other.key))
                            .any(|name| held.raw().contains(&name))
                    });
                    let keep = now.as_ref() == Some(value) && !loses && lasts(&once) && lasts(&twice);
                    self.set(change, value, &lines, keep)?;
                }
            }
        }
        Ok(self.text())
    }

    /// Removes the lines of an entry, by its index.
    fn remove(&mut self, at: usize) {
        let span = &self.ini.entries()[at].span;
        self.replaced.insert((span.start, span.end), String::new());
    }

    /// Replaces the last of the lines of a key, or appends a line to its section. With `keep`, the last line remains
    /// unchanged.
    ///
    /// # Errors
    /// Returns [`EditError::Value`] if the value cannot be represented.
    fn set(&mut self, change: &Change, value: &str, lines: &[usize], keep: bool) -> Result<(), EditError> {
        let secret = is_password(&change.key);
        if let [earlier @ .., _] = lines
            && secret
        {
            earlier.iter().for_each(|at| self.remove(*at));
        }
        let quoted = quote(value).map_err(|reason| EditError::Value { key: change.key.clone(), reason })?;
        let line = format!("{} = {quoted}{}", change.key, self.end);
        if let Some(at) = lines.last() {
            if keep {
                return Ok(());
            }
            let span = &self.ini.entries()[*at].span;
            let old = &self.ini.text()[span.clone()];
            let indent = &old[..old.len() - old.trim_start().len()];
            let comment = trailing_comment(old).filter(|_| !secret);
            let comment = comment.map(|comment| format!("{indent}{comment}{}", self.end)).unwrap_or_default();
            self.replaced.insert((span.start, span.end), format!("{comment}{indent}{line}"));
            return Ok(());
        }
        match self.section_ends.get(change.section.as_str()) {
            Some(at) => self.inserted.entry(*at).or_default().push_str(&line),
            None => match self.appended.iter_mut().find(|(name, _)| *name == change.section) {
                Some((_, lines)) => lines.push_str(&line),
                None => self.appended.push((change.section.clone(), line)),
            },
        }
        Ok(())
    }

    /// Returns the old text with all replacements and insertions.
    fn text(self) -> String {
        let old = self.ini.text();
        let mut out = String::with_capacity(old.len() + 1024);
        let mut from = 0;
        let mut pieces: Vec<(usize, usize, String)> =
            self.replaced.into_iter().map(|((start, end), text)| (start, end, text)).collect();
        pieces.extend(self.inserted.into_iter().map(|(at, text)| (at, at, text)));
        // An insertion precedes a replacement at the same position.
        pieces.sort_by_key(|(start, end, _)| (*start, *end));
        for (start, end, text) in pieces {
            out.push_str(&old[from..start]);
            if start == end && !out.is_empty() && !out.ends_with('\n') {
                out.push_str(self.end);
            }
            out.push_str(&text);
            from = end;
        }
        out.push_str(&old[from..]);
        for (section, lines) in self.appended {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push_str(self.end);
            }
            if !out.is_empty() {
                out.push_str(self.end);
            }
            out.push_str(&format!("[{section}]{}{lines}", self.end));
        }
        out
    }
}

/// Returns `true` if two files have the same sections, keys and unexpanded values in the same order, except for the
/// changed keys.
fn same_except(old: &Ini, new: &Ini, changes: &[&Change]) -> bool {
    let changed: HashSet<(&str, &str)> =
        changes.iter().map(|change| (change.section.as_str(), change.key.as_str())).collect();
    let names: HashSet<&str> = changes.iter().map(|change| change.section.as_str()).collect();
    let kept = |section: &str, key: &str| !names.contains(section) || !changed.contains(&(section, key));
    let all = |ini: &'_ Ini| -> Vec<(usize, usize)> {
        let sections = ini.sections().iter().enumerate();
        let keys = sections.flat_map(|(at, section)| {
            let keys = section.keys().iter().enumerate();
            keys.filter(move |(_, key)| kept(section.name(), key.name())).map(move |(key, _)| (at, key))
        });
        keys.collect()
    };
    let (before, after) = (all(old), all(new));
    before.len() == after.len()
        && before.iter().zip(&after).all(|(&(a, i), &(b, j))| {
            let (a, b) = (&old.sections()[a], &new.sections()[b]);
            let (i, j) = (&a.keys()[i], &b.keys()[j]);
            a.name() == b.name() && i.name() == j.name() && i.raw() == j.raw()
        })
}

/// Returns `true` if the key contains a password itself.
pub(crate) fn is_password(key: &str) -> bool {
    matches!(key, "PASSWD" | "PASSWORD")
}

/// Returns the trailing comment of a line, with its `#` or `;`. `None` if there is none, or the value begins with a
/// backtick or triple quotes.
pub(crate) fn trailing_comment(line: &str) -> Option<&str> {
    let value = line[line.find(['=', ':'])? + 1..].trim();
    let at = value.find(['#', ';']).filter(|_| !value.starts_with(['`']) && !value.starts_with("\"\"\""))?;
    Some(&value[at..])
}
