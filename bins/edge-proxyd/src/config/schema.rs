//! The JSON Schema (draft 2020-12) of the configuration, for editors: from the tables of keys that the reader goes by, with
//! the words of CONFIG.md.

use super::keys::{Key, Kind};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// What the keys mean is written there, once.
const MEANINGS: &str = include_str!("../../CONFIG.md");

/// The schema.
pub(crate) fn schema() -> Value {
    let meanings = Meanings::read(MEANINGS);
    let mut schema = table(super::ROOT, "", &meanings);
    let root = schema.as_object_mut().expect("a table's schema is an object");
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".into(), json!("The configuration of edge-proxyd"));
    schema
}

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

/// What keys mean, by their paths.
pub(super) struct Meanings<'t>(HashMap<String, &'t str>);

impl<'t> Meanings<'t> {
    /// From the document: a heading names a table, a row of the table below it names keys.
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
                    // What a site and a route have in common has a table of its own, so has the top.
                    None if heading.starts_with("What is done") => {
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

    /// What a key means; of a table whose keys are names what is below a name.
    pub(super) fn of(&self, path: &str) -> Option<&'t str> {
        self.0.get(path).or_else(|| self.0.get(&format!("{path}.NAME"))).copied()
    }

    /// The paths that are written about.
    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
