//! Values of a manifest with their positions, and the conversion of objects from and to them.

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

/// Serialized form of an object inside a database.
pub(crate) trait ManifestObject {
    /// Desired state of the object.
    type Form;

    /// Returns the name of the object.
    fn name(&self) -> &SpannedString;

    /// Converts to the desired state. Errors are reported to `reader`.
    fn form(&self, reader: &mut dyn ManifestReader) -> Self::Form;

    /// Returns the subject of errors about the object.
    fn subject(database: Name, name: Name) -> Subject;

    /// Returns the byte ranges of values to which validation errors may refer, by field name.
    fn fields(&self) -> Vec<(&'static str, Range<usize>)> {
        Vec::new()
    }

    /// Converts from the desired state.
    fn of(name: &Name, form: &Self::Form) -> Self;
}

/// Converter of strings that records errors with their positions.
pub(crate) trait ManifestReader {
    /// Records an error.
    fn wrong(&mut self, span: Range<usize>, message: String);

    /// Returns the name that a string contains. `None` after an error.
    fn name(&mut self, word: &SpannedString) -> Option<Name> {
        Name::new(word.as_ref()).map_err(|why| self.wrong(word.span(), why.to_string())).ok()
    }

    /// Returns the name in an optional string. `None` without one or after an error.
    fn maybe(&mut self, word: Option<&SpannedString>) -> Option<Name> {
        word.and_then(|word| self.name(word))
    }

    /// Returns the text in an optional string. `None` without one or after an error.
    fn text(&mut self, word: Option<&SpannedString>) -> Option<Text> {
        let word = word?;
        Text::new(word.as_ref()).map_err(|why| self.wrong(word.span(), why.to_string())).ok()
    }
}

/// The value of a configuration parameter as written in a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "not a valid setting: write text, a number, true or false, a list of texts, or { absent = true }"
)]
pub enum SettingValue {
    /// A boolean, which stands for `on` or `off`.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
    /// A text, used as it is.
    Text(String),
    /// The elements of a list: quoted separately for a parameter such as `search_path`, otherwise joined by commas.
    List(Vec<String>),
    /// `{ absent = true }`: the setting is reset.
    Absent(AbsentSpec),
}

/// A setting that is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbsentSpec {
    /// Must be `true`; `false` is an error.
    pub absent: bool,
}

/// Returns `true` for `false`, which is omitted when written.
pub(crate) fn no(flag: &bool) -> bool {
    !*flag
}

/// Converts the key `absent` to a presence.
pub(crate) fn presence(absent: bool) -> Presence {
    if absent { Presence::Absent } else { Presence::Present }
}

/// Converts a presence to the key `absent`.
pub(crate) fn absent(presence: Presence) -> bool {
    presence == Presence::Absent
}

/// Creates a string without a position, for writing.
pub(crate) fn word(text: impl Into<String>) -> SpannedString {
    Spanned::new(0..0, text.into())
}

/// Returns a name as a string without a position.
pub(crate) fn name(name: &Name) -> SpannedString {
    word(name.as_str())
}

/// Returns a name, if there is one, as a string without a position.
pub(crate) fn maybe(found: Option<&Name>) -> Option<SpannedString> {
    found.map(name)
}

/// Returns a text, if there is one, as a string without a position.
pub(crate) fn text(found: Option<&Text>) -> Option<SpannedString> {
    found.map(|text| word(text.as_str()))
}
