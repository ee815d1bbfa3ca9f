//! The JSON Schema (draft 2020-12) of the configuration, for editors. It is built from the tables of keys of the
//! readers, with the descriptions in CONFIG.md.

use super::keys::{Key, Kind};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The text of CONFIG.md, which describes every key of the configuration.
const MEANINGS: &str = include_str!("../../CONFIG.md");

/// Returns the JSON Schema of the configuration.
pub(crate) fn schema() -> Value {
    let meanings = Meanings::read(MEANINGS);
    let mut schema = table(super::ROOT, "", &meanings);
    let root = schema.as_object_mut().expect("a table's schema is an object");
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("The configuration of edge-proxyd"));
    schema
}

/// Returns the schema of a table with these keys, in which others are not allowed. `path` is the path of the table,
/// empty for the top level.
fn table(keys: &[Key], path: &str, meanings: &Meanings<'_>) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let path = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let mut described = kind(&key.kind, &path, meanings);
        if let (Some(meaning), Some(found)) = (meanings.of(&path), described.as_object_mut()) {
            found.insert("description".into(), json!(meaning));
        }
        properties.insert(key.name.into(), described);
    }
    let required: Vec<_> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Returns the schema of a value of this kind, without a description. `path` is the path of its key.
fn kind(found: &Kind, path: &str, meanings: &Meanings<'_>) -> Value {
    match found {
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Duration => json!({ "type": "string", "pattern": r"^(\d+(ms|s|m|h|d))+$" }),
        Kind::Either(kinds) => {
            json!({ "anyOf": kinds.iter().map(|one| kind(one, path, meanings)).collect::<Vec<_>>() })
        }
        Kind::Foreign(schema) => schema(),
        Kind::Form(pattern) => json!({ "type": "string", "pattern": pattern }),
        Kind::List(item) => {
            let item = kind(item, path, meanings);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Kind::Named(value) => {
            json!({ "type": "object", "additionalProperties": kind(value, &format!("{path}.NAME"), meanings) })
        }
        Kind::Number(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Kind::Path => json!({ "type": "string", "pattern": "^/" }),
        Kind::Range => json!({ "type": "string", "pattern": r"^[0-9A-Fa-f.:]+(/\d{1,3})?$" }),
        Kind::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": r"^\d+\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?$" },
        ] }),
        Kind::Table(keys) => table(keys, path, meanings),
        Kind::Tables(keys) => json!({ "type": "array", "items": table(keys, path, meanings) }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "enum": words }),
    }
}

/// The descriptions of keys in CONFIG.md, by the path of the key, such as `site.route.path`.
pub(super) struct Meanings<'t>(HashMap<String, &'t str>);

impl<'t> Meanings<'t> {
    /// Reads the descriptions from the text of CONFIG.md: a heading in backticks names a table, and the rows of the
    /// Markdown table below it its keys, with the description in the second column.
    pub(super) fn read(text: &'t str) -> Self {
        let mut all = HashMap::new();
        let mut tables: Vec<String> = Vec::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix('#') {
                let heading = heading.trim_start_matches('#').trim();
                let named = heading.strip_prefix('`').and_then(|rest| rest.split_once('`'));
                tables = match named {
                    Some((name, rest)) => {
                        let name = name.trim_matches(['[', ']']);
                        if let Some(meaning) = rest.strip_prefix(": ") {
                            all.insert(name.to_owned(), meaning);
                        }
                        vec![format!("{name}.")]
                    }
                    // The actions shared by sites and routes have a table of their own, as has the top level.
                    None if heading.starts_with("Actions") => {
                        vec!["site.".into(), "site.route.".into()]
                    }
                    None => vec![String::new()],
                };
                continue;
            }
            let Some((keys, rest)) = line.strip_prefix("| `").and_then(|row| row.split_once(" | ")) else {
                continue;
            };
            let meaning = rest.trim_end_matches('|').trim();
            let meaning = meaning.split_once(" | ").map_or(meaning, |(meaning, _)| meaning);
            for key in keys.split(", ").map(|key| key.trim_matches('`')) {
                for table in &tables {
                    all.insert(format!("{table}{key}"), meaning);
                }
            }
        }
        Self(all)
    }

    /// Returns the description of the key at this path, or else that of `NAME` below it, for a table with arbitrary
    /// names. `None` if there is none.
    pub(super) fn of(&self, path: &str) -> Option<&'t str> {
        self.0.get(path).or_else(|| self.0.get(&format!("{path}.NAME"))).copied()
    }

    /// Returns the paths of all keys with a description.
    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
