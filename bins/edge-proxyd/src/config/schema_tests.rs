//! Tests of the schema against an independent validator, the reader and the document.

use super::keys::{Key, Kind};
use super::schema::{Meanings, schema};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use toml::Value;

const EXAMPLE: &str = include_str!("../../edge.toml");
const PACMAN: &str = include_str!("../../../../examples/hosts/vps-pacman/edge.toml");
const MATRIX: &str = include_str!("../../../../examples/hosts/lab-matrix/edge.toml");
const PAIR: &str = include_str!("../../../../examples/hosts/two-edges/edge.toml");
const README: &str = include_str!("../../../../README.md");

/// Returns whether each text is valid, by Python's jsonschema and tomllib.
fn valid(texts: &[String]) -> Vec<bool> {
    let script = "
import json, sys, tomllib, jsonschema
given = json.load(sys.stdin)
jsonschema.Draft202012Validator.check_schema(given['schema'])
validator = jsonschema.Draft202012Validator(given['schema'])
print(json.dumps([validator.is_valid(tomllib.loads(text)) for text in given['texts']]))
";
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let tools = target.join("tools/python");
    assert!(tools.join("jsonschema").exists(), "jsonschema is missing: cargo xtask tools installs it");
    let mut child = Command::new("/usr/bin/python3")
        .env("PYTHONPATH", tools)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let given = serde_json::json!({ "schema": schema(), "texts": texts }).to_string();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).expect("a list")
}

fn is_read(text: &str) -> bool {
    super::read("edge.toml", text).is_ok()
}

#[test]
fn every_configuration_of_this_project_is_valid() {
    let readme = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let all = [EXAMPLE, PACMAN, MATRIX, PAIR, readme].map(String::from);
    assert!(all.iter().all(|text| is_read(text)));
    assert_eq!(valid(&all), [true; 5]);
}

/// Returns the TOML types that a value of this kind may have.
fn types(kind: &Kind) -> Vec<&'static str> {
    match kind {
        Kind::Boolean => vec!["boolean"],
        Kind::Duration | Kind::Form(_) | Kind::Path | Kind::Range | Kind::Text | Kind::Word(_) => {
            vec!["string"]
        }
        Kind::Either(kinds) => kinds.iter().flat_map(types).collect(),
        Kind::Foreign(_) | Kind::Named(_) | Kind::Table(_) => vec!["table"],
        Kind::List(item) => [vec!["array"], types(item)].concat(),
        Kind::Number(..) => vec!["integer"],
        Kind::Share => vec!["float", "integer"],
        Kind::Size => vec!["integer", "string"],
        Kind::Tables(_) => vec!["array"],
    }
}

/// A place in the example: the keys and positions leading to it, and its kind; `None` where another crate reads.
type Place = (Vec<String>, Option<&'static Kind>);

fn places(value: &Value, kind: Option<&'static Kind>, path: &[String], all: &mut Vec<Place>) {
    if !path.is_empty() {
        all.push((path.to_vec(), kind));
    }
    let below = |name: &str| [path, &[name.to_owned()]].concat();
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                places(value, kind.and_then(|kind| inside(kind, name)), &below(name), all);
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                let item = match kind {
                    Some(Kind::List(item)) => Some(*item),
                    other => other,
                };
                // An item of a list is not a list itself.
                let item = if value.is_table() {
                    item
                } else {
                    item.filter(|_| !matches!(kind, Some(Kind::Tables(_))))
                };
                places(value, item, &below(&at.to_string()), all);
            }
        }
        _ => {}
    }
}

fn inside(kind: &'static Kind, name: &str) -> Option<&'static Kind> {
    match kind {
        Kind::Table(keys) | Kind::Tables(keys) => {
            let key: &'static Key =
                keys.iter().find(|key| key.name == name).expect("the example has known keys only");
            (!matches!(key.kind, Kind::Foreign(_))).then_some(&key.kind)
        }
        Kind::Named(kind) => Some(kind),
        Kind::Either(kinds) => kinds.iter().find_map(|kind| match kind {
            Kind::Table(_) => inside(kind, name),
            _ => None,
        }),
        _ => None,
    }
}

fn replaced(root: &Value, path: &[String], with: &Value) -> String {
    let mut root = root.clone();
    let mut at = &mut root;
    for name in path {
        at = match at {
            Value::Array(list) => &mut list[name.parse::<usize>().unwrap()],
            table => table.get_mut(name).unwrap(),
        };
    }
    *at = with.clone();
    toml::to_string(&root).unwrap()
}

#[test]
fn each_wrong_type_is_refused_by_both() {
    let root: Value = toml::from_str(EXAMPLE).unwrap();
    static TOP: Kind = Kind::Table(super::ROOT);
    let mut all = Vec::new();
    places(&root, Some(&TOP), &[], &mut all);
    let nonsense = Value::Table([("no-key".to_owned(), Value::Boolean(true))].into_iter().collect());
    let wrong = [
        ("boolean", Value::Boolean(true)),
        ("float", Value::Float(1.5)),
        ("table", nonsense),
        ("string", Value::String("\u{7f}".into())),
    ];
    let (mut texts, mut about) = (Vec::new(), Vec::new());
    for (path, kind) in &all {
        // Values that another crate reads have the type in the example; a list may also be a single text.
        let known = kind.map_or_else(|| vec!["string", "array", "table"], types);
        // An unknown key is invalid except where names are free.
        let free = kind.is_some_and(|kind| matches!(kind, Kind::Named(_)))
            || kind.is_none() && path.iter().any(|name| name == "zones");
        for (kind, value) in &wrong {
            if !known.contains(kind) || (*kind == "table" && !free && !path.contains(&"acme".to_owned())) {
                texts.push(replaced(&root, path, value));
                about.push(format!("{} as {kind}", path.join(".")));
            }
        }
    }
    assert!(texts.len() > 400, "{}", texts.len());
    let valid = valid(&texts);
    for ((text, about), valid) in texts.iter().zip(&about).zip(valid) {
        let acme_boolean = about.starts_with("acme.") && about.ends_with("boolean");
        if acme_boolean {
            // Some keys there are booleans.
            assert_eq!(is_read(text), valid, "{about}: the reader and the schema differ");
            continue;
        }
        assert!(!is_read(text), "{about} is read");
        assert!(!valid, "{about} is valid by the schema");
    }
}

#[test]
fn every_key_is_in_the_document_and_none_besides() {
    let meanings = Meanings::read(include_str!("../../CONFIG.md"));
    let mut known = Vec::new();
    walk(super::ROOT, "", &meanings, &mut known);
    for path in meanings.paths().filter(|path| !path.starts_with("acme")) {
        assert!(known.iter().any(|known| known == path), "CONFIG.md has `{path}`, which is not a key");
    }
}

fn walk(keys: &'static [Key], path: &str, meanings: &Meanings<'_>, known: &mut Vec<String>) {
    for key in keys {
        let below = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        // Where a table has no heading of its own, its key's row names its keys; a route shares those of a site.
        let told = meanings.of(&below).is_some()
            || meanings.of(&below.replace(".route", "")).is_some()
            || meanings.of(&below.replace(".route", "").replace("site.timeouts", "timeouts")).is_some()
            || meanings
                .of(path)
                .or_else(|| meanings.of(&path.replace(".route", "")))
                .is_some_and(|meaning| meaning.contains(&format!("`{}`", key.name)))
            || meanings
                .of(&path.replace("response_headers", "request_headers"))
                .is_some_and(|meaning| meaning.contains(&format!("`{}`", key.name)))
            || path.ends_with("_headers");
        assert!(told, "CONFIG.md says nothing of `{below}`");
        known.push(below.clone());
        inner(&key.kind, &below, meanings, known);
    }
}

fn inner(kind: &'static Kind, path: &str, meanings: &Meanings<'_>, known: &mut Vec<String>) {
    match kind {
        Kind::Table(keys) | Kind::Tables(keys) => walk(keys, path, meanings, known),
        Kind::Named(kind) => {
            known.push(format!("{path}.NAME"));
            inner(kind, &format!("{path}.NAME"), meanings, known);
        }
        Kind::Either(kinds) => kinds.iter().for_each(|kind| inner(kind, path, meanings, known)),
        _ => {}
    }
}
