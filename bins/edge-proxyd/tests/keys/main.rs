//! Every key is where people look for it: the document, the example, the NixOS module, `import`, the guide of migration and
//! `explain`. A new key is added here, or this fails.

mod explain;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_edge-proxyd");
const CONFIG: &str = include_str!("../../CONFIG.md");
const EXAMPLE: &str = include_str!("../../edge.toml");
const GUIDE: &str = include_str!("../../../../MIGRATING.md");
const MODULE: &str = include_str!("../../packaging/edge.schema.json");

/// Returns the paths of all keys by the schema, such as `site.route.path`, without those of `[acme]`, which is a program of its own.
fn keys() -> BTreeSet<String> {
    let output = Command::new(PROGRAM).arg("schema").output().expect("it was built");
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut keys = BTreeSet::new();
    walk(&schema, "", &mut keys);
    keys.retain(|key| !key.starts_with("acme"));
    keys
}

fn walk(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        keys.insert(below.clone());
        within(inner, &below, keys);
    }
}

/// Tables may stand in a list, under names, or beside another form.
fn within(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    walk(schema, path, keys);
    for inner in [&schema["items"], &schema["additionalProperties"]] {
        if inner.is_object() {
            within(inner, path, keys);
        }
    }
    schema["anyOf"].as_array().into_iter().flatten().for_each(|inner| within(inner, path, keys));
}

/// Returns the paths of the keys that a file has.
fn used(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let value: toml::Value = toml::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"));
    using(&value, "", &mut found);
    // Names of upstreams are no keys.
    found.into_iter().map(|path| unnamed(&path)).collect()
}

fn using(value: &toml::Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let below = if path.is_empty() { name.clone() } else { format!("{path}\u{0}{name}") };
                found.insert(below.clone());
                using(value, &below, found);
            }
        }
        toml::Value::Array(list) => list.iter().for_each(|item| using(item, path, found)),
        _ => {}
    }
}

fn unnamed(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('\u{0}').collect();
    if parts.first() == Some(&"upstream") && parts.len() > 1 {
        parts.remove(1);
    }
    parts.join(".")
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// Returns the names of keys, wherever they stand.
fn names(keys: &BTreeSet<String>) -> BTreeSet<String> {
    keys.iter().map(|key| last(key).to_owned()).collect()
}

/// Asserts that the keys that are missing are those of the list.
#[track_caller]
fn assert_missing(what: &str, present: &BTreeSet<String>, list: &[&str]) {
    let missing: Vec<String> = names(&keys()).difference(present).cloned().collect();
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(missing, list, "{what}");
}

/// Returns the words of a document that stand in code.
fn words_in_code(text: &str) -> BTreeSet<String> {
    let code = text.split('`').skip(1).step_by(2);
    let words = code.flat_map(|code| code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
    words.map(str::to_owned).collect()
}

#[test]
fn every_key_is_in_the_document_and_an_option_of_the_module() {
    let keys = keys();
    assert!(keys.len() > 200, "{}", keys.len());
    let module: Value = serde_json::from_str(MODULE).expect("JSON");
    let mut options = BTreeSet::new();
    walk(&module, "", &mut options);
    options.retain(|key| !key.starts_with("acme"));
    assert_eq!(options, keys, "WRITE_REFERENCES=1 cargo test -p edge-proxyd --test reference");
    assert_missing("CONFIG.md", &words_in_code(CONFIG), &[]);
}

/// Keys that the example cannot have: what they name is read with the configuration, or another key that it has excludes them.
const NOT_IN_THE_EXAMPLE: &[&str] = &["include", "realm", "template", "user_header", "users"];

#[test]
fn the_example_has_every_key() {
    assert_missing("edge.toml", &names(&used(EXAMPLE)), NOT_IN_THE_EXAMPLE);
}

/// Keys that no import of the corpus writes: nginx has nothing of the kind, the notes of `import` say what to write, or what they
/// replace is not in a file of nginx.
const NOT_IMPORTED: &[&str] = &[
    "attempts",
    "balance",
    "budget",
    "client",
    "client_burst",
    "codings",
    "collector",
    "compression",
    "congestion",
    "connections",
    "connections_per_client",
    "control_frames",
    "cookie",
    "database",
    "database_roots",
    "early_data",
    "error_page",
    "fall",
    "fallback",
    "file",
    "format",
    "forwarded",
    "h2c",
    "handshake",
    "header_bytes",
    "header_fields",
    "hsts",
    "https_port",
    "idle_upstream",
    "include",
    "include_subdomains",
    "intercept",
    "interface",
    "interval",
    "kernel_tls",
    "kernel_tls_after",
    "least",
    "lifetime",
    "limits",
    "maintenance",
    "max_age",
    "pin",
    "preload",
    "queue",
    "rate_table",
    "ratio",
    "read",
    "rejected",
    "remember",
    "resets",
    "response_header_bytes",
    "response_header_fields",
    "retry",
    "retry_after",
    "rise",
    "rotate",
    "sandbox",
    "secret",
    "server_name",
    "shared",
    "site_burst",
    "socket",
    "statuses",
    "sticky",
    "streams",
    "tailnet",
    "target",
    "target_bytes",
    "tell",
    "timeout",
    "tracing",
    "tunnel",
    "upstream_buffer",
    "wait",
    "who",
    "write",
];

#[test]
fn import_writes_every_key_that_nginx_has_a_counterpart_of() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/import/corpus");
    let files: Vec<PathBuf> =
        std::fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    let files = files.into_iter().filter(|file| file.is_file());
    let mut written = BTreeSet::new();
    for file in files {
        let output = Command::new(PROGRAM).arg("import").arg(&file).output().expect("it was built");
        written.extend(used(&String::from_utf8(output.stdout).expect("UTF-8")));
    }
    assert_missing("import", &names(&written), NOT_IMPORTED);
}

/// Keys that the guide does not name, since other programs have nothing that they replace.
const NOT_IN_THE_GUIDE: &[&str] = &[
    "add",
    "budget",
    "case",
    "client_burst",
    "codings",
    "collector",
    "congestion",
    "control_frames",
    "database_roots",
    "fallback",
    "handshake",
    "header_bytes",
    "header_fields",
    "hsts",
    "https_port",
    "idle_upstream",
    "include_subdomains",
    "kernel_tls",
    "kernel_tls_after",
    "max_age",
    "preload",
    "queue",
    "rate_table",
    "ratio",
    "read",
    "rejected",
    "remember",
    "remove",
    "resets",
    "response_header_fields",
    "retry_after",
    "rotate",
    "sandbox",
    "secret",
    "shared",
    "site_burst",
    "socket",
    "statuses",
    "streams",
    "target_bytes",
    "targets",
    "tell",
    "tracing",
    "upstream_buffer",
    "user_header",
    "wait",
    "who",
    "write",
];

#[test]
fn the_guide_names_every_key_that_replaces_something() {
    assert_missing("MIGRATING.md", &words_in_code(GUIDE), NOT_IN_THE_GUIDE);
}
