//! The words of a manifest, and how objects are read from them and written as them.

use crate::name::{Name, Text};
use crate::presence::Presence;
use crate::subject::Subject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// A text with its byte range in the file.
pub type SpannedString = Spanned<String>;
/// Values of settings, by parameter name.
pub type Settings = BTreeMap<SpannedString, Spanned<SettingValue>>;

/// An object inside a database as it is written.
pub(crate) trait ManifestObject {
    /// The desired form.
    type Form;

    fn name(&self) -> &SpannedString;

    fn form(&self, reader: &mut dyn ManifestReader) -> Self::Form;

    fn subject(database: Name, name: Name) -> Subject;

    /// Returns the spans of the values that can contradict others, by the names that validation uses.
    fn fields(&self) -> Vec<(&'static str, Range<usize>)> {
        Vec::new()
    }

    fn of(name: &Name, form: &Self::Form) -> Self;
}

/// Reads words, and keeps what is wrong with them.
pub(crate) trait ManifestReader {
    fn wrong(&mut self, span: Range<usize>, message: String);

    fn name(&mut self, word: &SpannedString) -> Option<Name> {
        Name::new(word.as_ref()).map_err(|why| self.wrong(word.span(), why.to_string())).ok()
    }

    fn maybe(&mut self, word: Option<&SpannedString>) -> Option<Name> {
        word.and_then(|word| self.name(word))
    }

    fn text(&mut self, word: Option<&SpannedString>) -> Option<Text> {
        let word = word?;
        Text::new(word.as_ref()).map_err(|why| self.wrong(word.span(), why.to_string())).ok()
    }
}

/// Value of a setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "not a valid setting: write text, a number, true or false, a list of texts, or { absent = true }"
)]
pub enum SettingValue {
    /// `on` or `off`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// A text, or the elements of a list joined by commas.
    Text(String),
    /// The elements of a list such as `search_path`.
    List(Vec<String>),
    /// `{ absent = true }`: the setting is reset.
    Absent(AbsentSpec),
}

/// A setting that is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsentSpec {
    /// Must be `true`; any other value is an error.
    pub absent: bool,
}

pub(crate) fn no(flag: &bool) -> bool {
    !*flag
}

pub(crate) fn presence(absent: bool) -> Presence {
    if absent { Presence::Absent } else { Presence::Present }
}

pub(crate) fn absent(presence: Presence) -> bool {
    presence == Presence::Absent
}

pub(crate) fn word(text: impl Into<String>) -> SpannedString {
    Spanned::new(0..0, text.into())
}

pub(crate) fn name(name: &Name) -> SpannedString {
    word(name.as_str())
}

pub(crate) fn maybe(found: Option<&Name>) -> Option<SpannedString> {
    found.map(name)
}

pub(crate) fn text(found: Option<&Text>) -> Option<SpannedString> {
    found.map(|text| word(text.as_str()))
}
