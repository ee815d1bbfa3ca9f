//! The reference of the configuration file, generated from its JSON Schema, which takes the descriptions from the doc
//! comments of the types.

use crate::settings::Settings;
use serde_json::Value;
use std::fmt::Write;

/// Returns the reference of the configuration file as Markdown.
#[must_use]
pub fn reference() -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<Settings>().to_value();
    let mut out = "# The configuration of acme-dns01\n\n\
        The configuration is one file of TOML. `acme-dns01 check` reports every error of it with its line and column. Secrets \
        are references: `file:/path`, `credential:NAME`, `env:NAME` or `age:/path?identity=/path`. The names of NixOS are \
        accepted too, such as `extraDomainNames`.\n\n\
        ```toml\nemail = \"admin@example.org\"\n\n[provider.cloudflare]\nkind = \"cloudflare\"\n\
        token = \"file:/run/secrets/cloudflare\"\n\n[[certificate]]\nnames = [\"example.org\", \"*.example.org\"]\n```\n"
        .to_owned();
    section(&mut out, "Top level", "", &schema);
    out
}

/// Appends the section of a table: its keys with description and default, then the sections of the tables below. `path`
/// is the dotted path of the table.
fn section(out: &mut String, title: &str, path: &str, schema: &Value) {
    let _ = write!(out, "\n## {title}\n| key | meaning | default |\n|-|-|-|\n");
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut inner = Vec::new();
    let keys = schema["properties"].as_object().into_iter().flatten();
    for (key, value) in keys.filter(|(key, _)| *key != "kind") {
        let about = value["description"].as_str().unwrap_or_default();
        let about = about.replace("\n\n", " ").replace('\n', " ").replace('|', "\\|");
        let default = match &value["default"] {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            Value::Null => "none".to_owned(),
            Value::String(text) => format!("`{text}`"),
            Value::Array(list) if list.is_empty() => "none".to_owned(),
            Value::Object(_) => "none".to_owned(),
            other => format!("`{other}`"),
        };
        let _ = writeln!(out, "| `{key}` | {about} | {default} |");
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        inner.push((below, value));
    }
    for (path, value) in inner {
        if let Some(table) = table(value) {
            section(out, &format!("`[{path}]`"), &path, table);
        } else if let Some(table) = table(&value["items"]) {
            section(out, &format!("`[[{path}]]`"), &path, table);
        } else if let Some(table) = table(&value["additionalProperties"]) {
            section(out, &format!("`[{path}.NAME]`"), &format!("{path}.NAME"), table);
        } else {
            for kind in value["additionalProperties"]["oneOf"].as_array().into_iter().flatten() {
                let name = kind["properties"]["kind"]["const"].as_str().unwrap_or_default();
                section(out, &format!("`[{path}.NAME]` with `kind = \"{name}\"`"), path.as_str(), kind);
            }
        }
    }
}

/// Returns the part of a schema that lists the keys of a table: the schema itself, or that of its alternatives that
/// does. `None` if the schema describes no table with known keys.
fn table(schema: &Value) -> Option<&Value> {
    let other = || schema["anyOf"].as_array()?.iter().find(|one| one["properties"].is_object());
    if schema["properties"].is_object() { Some(schema) } else { other() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/CONFIG.md");
        let wanted = reference();
        if std::env::var_os("WRITE_REFERENCES").is_some() {
            std::fs::write(path, &wanted).expect("a file");
        }
        let written = std::fs::read_to_string(path).expect("a file");
        assert_eq!(written, wanted, "run this test with WRITE_REFERENCES=1");
        for part in ["## `[[certificate]]`", "`[provider.NAME]` with `kind = \"cloudflare\"`", "| `token` |"]
        {
            assert!(written.contains(part), "{part}");
        }
    }
}
