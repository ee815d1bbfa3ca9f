//! Every key is where people look for it: the document, the example, the NixOS module, `import`, the guide of migration
//! and `explain`. A new key is added here, or this fails.

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

/// Returns the paths of all keys by the schema, such as `site.route.path`, without those of `[acme]`, which is a
/// program of its own.
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

/// Returns the path of the key that explains a key: a route has the keys of a site, a site the timeouts of all, traces
/// the TLS of upstreams, and responses the edits of requests.
fn canonical(key: &str) -> String {
    key.replace("site.route", "site")
        .replace("site.timeouts", "timeouts")
        .replace("tracing.tls", "upstream.tls")
        .replace("response_headers", "request_headers")
}

/// Asserts that the keys that are missing are those of the list, by their paths.
#[track_caller]
fn assert_missing(what: &str, present: &BTreeSet<String>, list: &[&str]) {
    let all: BTreeSet<String> = keys().iter().map(|key| canonical(key)).collect();
    let present = present.iter().map(|key| canonical(key)).collect();
    let missing: Vec<String> = all.difference(&present).cloned().collect();
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(missing, list, "{what}");
}

/// Asserts that the last names of keys that no code of a document has are those of the list.
#[track_caller]
fn assert_unnamed(what: &str, words: &BTreeSet<String>, list: &[&str]) {
    let names: BTreeSet<String> = keys().iter().map(|key| last(key).to_owned()).collect();
    let missing: Vec<String> = names.difference(words).cloned().collect();
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
    assert_unnamed("CONFIG.md", &words_in_code(CONFIG), &[]);
}

/// Keys that the example cannot have: what they name is read with the configuration, or another key that it has
/// excludes them.
const NOT_IN_THE_EXAMPLE: &[&str] = &[
    "include",
    "log.template",
    "site.auth.realm",
    "site.auth.user_header",
    "site.auth.users",
    "site.error_page.file",
    "site.maintenance.file",
    "site.respond.file",
];

#[test]
fn the_example_has_every_key() {
    assert_missing("edge.toml", &used(EXAMPLE), NOT_IN_THE_EXAMPLE);
}

/// Keys that no import writes: nginx has nothing of the kind, or the notes of `import` say what to write.
const NOT_IMPORTED: &[&str] = &[
    "congestion",
    "include",
    "kernel_tls",
    "kernel_tls_after",
    "limits.connections",
    "limits.connections_per_client",
    "limits.control_frames",
    "limits.header_fields",
    "limits.idle_upstream",
    "limits.rate_table",
    "limits.resets",
    "limits.response_header_fields",
    "limits.streams",
    "limits.upstream_buffer",
    "listen.interface",
    "listen.rate.client",
    "listen.rate.client_burst",
    "log.file",
    "log.rejected",
    "priority",
    "reject",
    "sandbox",
    "sandbox.connect",
    "sandbox.mode",
    "sandbox.read",
    "sandbox.write",
    "shared",
    "shared.database",
    "shared.database_roots",
    "shared.lifetime",
    "shared.rotate",
    "shared.secret",
    "shared.wait",
    "site.error_page.body",
    "site.error_page.content_type",
    "site.hsts",
    "site.hsts.include_subdomains",
    "site.hsts.max_age",
    "site.hsts.preload",
    "site.maintenance",
    "site.maintenance.body",
    "site.maintenance.content_type",
    "site.maintenance.file",
    "site.maintenance.retry_after",
    "site.maintenance.status",
    "site.permissions",
    "site.rate.concurrent",
    "site.rate.site",
    "site.rate.site_burst",
    "site.respond.file",
    "status",
    "status.address",
    "tailnet",
    "tailnet.ranges",
    "tailnet.remember",
    "tailnet.socket",
    "tailnet.tell",
    "timeouts.handshake",
    "timeouts.tunnel",
    "tracing",
    "tracing.collector",
    "tracing.headers",
    "tracing.interval",
    "tracing.path",
    "tracing.queue",
    "tracing.ratio",
    "tracing.service",
    "tracing.timeout",
    "trust.fallback",
    "trust.interface",
    "trust.who",
    "upstream.health.fall",
    "upstream.health.host",
    "upstream.health.interval",
    "upstream.health.path",
    "upstream.health.rise",
    "upstream.health.status",
    "upstream.health.timeout",
    "upstream.retry",
    "upstream.retry.attempts",
    "upstream.retry.budget",
    "upstream.retry.statuses",
    "upstream.target",
    "upstream.tls.pin",
];

#[test]
fn import_writes_every_key_that_nginx_has_a_counterpart_of() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/import/corpus");
    let files: Vec<PathBuf> =
        std::fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("missing.html"), "<p>not here").expect("a file");
    let more = folder.path().join("nginx.conf");
    let text = include_str!("nginx.conf").replace("FOLDER", &folder.path().display().to_string());
    std::fs::write(&more, text).expect("a file");
    let files = files.into_iter().filter(|file| file.is_file()).chain([more]);
    let mut written = BTreeSet::new();
    for file in files {
        let output = Command::new(PROGRAM).arg("import").arg(&file).output().expect("it was built");
        written.extend(used(&String::from_utf8(output.stdout).expect("UTF-8")));
    }
    assert_missing("import", &written, NOT_IMPORTED);
}

/// Keys that the guide does not name, since other programs have nothing that they replace.
const NOT_IN_THE_GUIDE: &[&str] = &[
    "add",
    "budget",
    "case",
    "codings",
    "collector",
    "congestion",
    "control_frames",
    "database_roots",
    "fallback",
    "handshake",
    "header_fields",
    "idle_upstream",
    "kernel_tls",
    "kernel_tls_after",
    "permissions",
    "priority",
    "queue",
    "rate_table",
    "ratio",
    "read",
    "rejected",
    "remember",
    "remove",
    "resets",
    "response_header_fields",
    "rotate",
    "sandbox",
    "secret",
    "shared",
    "site_burst",
    "socket",
    "statuses",
    "streams",
    "targets",
    "tell",
    "tracing",
    "upstream_buffer",
    "wait",
    "who",
    "write",
];

/// Applications that the guide says what to set for, each by a word of its line.
const APPLICATIONS: &[&str] = &[
    "docker-registry",
    "Express",
    "Flask",
    "Forgejo",
    "gRPC",
    "headscale",
    "Jupyter",
    "Miniflux",
    "mosquitto",
    "n8n",
    "ntfy",
    "Radicale",
    "Rails",
    "Synapse",
    "Vaultwarden",
    "verdaccio",
];

#[test]
fn the_guide_says_what_applications_need_in_keys_that_exist() {
    let (_, table) = GUIDE.split_once("| application | reads | set |\n|-|-|-|\n").expect("the table");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for application in APPLICATIONS {
        assert!(rows.iter().any(|row| row[0].contains(application)), "{application}");
    }
    let keys: BTreeSet<String> = keys().iter().map(|path| last(path).to_owned()).collect();
    let mut settings = 0;
    for row in &rows {
        assert_eq!(row.len(), 3, "{row:?}");
        let code = row[2].split('`').skip(1).step_by(2);
        // A scheme of a target, or a setting of the application, has a colon.
        for setting in code.filter(|code| !code.split('=').next().is_some_and(|key| key.contains(':'))) {
            let key = last(setting.split('=').next().unwrap_or_default().trim().trim_matches(['[', ']']));
            assert!(keys.contains(key), "{key} of {row:?}");
            settings += 1;
        }
    }
    assert!(settings >= 10, "{settings}");
}

#[test]
fn the_guide_names_every_key_that_replaces_something() {
    assert_unnamed("MIGRATING.md", &words_in_code(GUIDE), NOT_IN_THE_GUIDE);
}
