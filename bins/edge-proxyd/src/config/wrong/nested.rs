//! Wrong values of the keys within the tables of other keys, by their whole paths.

use super::problems;
use crate::config::schema;
use serde_json::Value;
use std::collections::BTreeSet;

/// Keys within a key of a section, a wrong value, lines that go before it, and a part of the error.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("auth.copy", "'a b'", "auth.upstream = 'http://127.0.0.1:2'\nauth.path = '/a'", "letters, digits and -"),
    ("auth.path", "'verify'", "auth.upstream = 'http://127.0.0.1:2'", "/api/authz/forward-auth"),
    ("auth.realm", "1", "auth.users = '/nonexistent'", "put it in quotes"),
    ("auth.service", "'autelia'", "auth.upstream = 'http://127.0.0.1:2'", "did you mean `authelia`?"),
    ("auth.upstream", "'ftp://x'", "auth.path = '/a'", "http://HOST:PORT"),
    ("auth.user_header", "true", "auth.users = '/nonexistent'", "put it in quotes"),
    ("auth.users", "'users.txt'", "", "begin with /"),
    ("compression.codings", "['gz']", "", "must be one of zstd, br, gzip"),
    ("compression.least", "'1TB'", "", "16KiB"),
    ("cookies.domain", "{ '' = 'example.org' }", "", "expected one such as / or example.org"),
    ("cookies.path", "{ '/' = 'app' }", "", "begin with /"),
    ("hsts.include_subdomains", "'yes'", "", "expected true or false"),
    ("hsts.max_age", "1", "", "quotes"),
    ("hsts.preload", "1", "", "expected true or false"),
    ("maintenance.body", "1", "", "put it in quotes"),
    ("maintenance.content_type", "''", "maintenance.body = 'x'", "text/html"),
    ("maintenance.file", "'away.html'", "", "begin with /"),
    ("maintenance.retry_after", "'5'", "", "10s"),
    ("maintenance.status", "99", "", "from 200 to 599"),
    ("request_headers.add", "{ 'a b' = 'c' }", "", "letters, digits and -"),
    ("request_headers.remove", "'a b'", "", "letters, digits and -"),
    ("request_headers.replace", "{ Destination = { '' = '/x' } }", "", "the beginning of a value"),
    ("request_headers.set", "{ 'a b' = 'c' }", "", "letters, digits and -"),
    ("respond.body", "1", "", "put it in quotes"),
    ("respond.content_type", "''", "respond.body = 'x'", "text/html"),
    ("respond.file", "'page.html'", "", "begin with /"),
    ("respond.status", "99", "", "from 200 to 599"),
    ("response_headers.add", "{ 'a b' = 'c' }", "", "letters, digits and -"),
    ("response_headers.remove", "'a b'", "", "letters, digits and -"),
    ("response_headers.replace", "{ Location = { '' = '/x' } }", "", "the beginning of a value"),
    ("response_headers.set", "{ 'a b' = 'c' }", "", "letters, digits and -"),
    ("sticky.cookie", "'a b'", "", "name of a cookie"),
    ("sticky.lifetime", "'5'", "sticky.cookie = 'a'", "10s"),
    ("timeouts.body", "'5'", "", "10s"),
    ("timeouts.connect", "'0s'", "", "1 ms to 30 days"),
    ("timeouts.response", "'31d'", "", "1 ms to 30 days"),
    ("timeouts.tunnel", "5", "", "write \"5s\""),
    ("timeouts.tunnel", "-5", "", "put it in quotes"),
    ("tls.ca", "'ca.pem'", "", "begin with /"),
    ("tls.certificate", "'client.pem'", "tls.key = '/client.key'", "begin with /"),
    ("tls.key", "'client.key'", "tls.certificate = '/client.pem'", "begin with /"),
    ("tls.pin", "'sha256:12'", "", "sha256//BASE64"),
    ("tls.server_name", "'a b'", "", "example.org"),
];

/// Sections with keys that are tables: their path in the schema, and the file before such a key.
const SECTIONS: &[(&str, &str)] = &[
    ("site", "listen = [{ address = '127.0.0.1:80' }]\n[[site]]\nhosts = 'a.test'\n"),
    (
        "site.route",
        "listen = [{ address = '127.0.0.1:80' }]\n[[site]]\nhosts = 'a.test'\n[[site.route]]\npath = '/'\n",
    ),
    ("tracing", "listen = [{ address = '127.0.0.1:80' }]\n[tracing]\ncollector = 'https://a.test'\n"),
    ("upstream", "listen = [{ address = '127.0.0.1:80' }]\n[upstream.a]\ntarget = 'https://127.0.0.1:1'\n"),
];

/// Sections that have wrong values of their own keys elsewhere.
const OTHERS: &[&str] = &[
    "certificates",
    "limits",
    "listen",
    "listen.rate",
    "log",
    "sandbox",
    "shared",
    "site.auth",
    "site.client_certificates",
    "site.error_page",
    "site.rate",
    "status",
    "tailnet",
    "timeouts",
    "trust",
    "upstream.health",
    "upstream.retry",
];

/// Adds the paths of all keys below a schema.
fn walk(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        within(inner, &below, keys);
        keys.insert(below);
    }
}

/// Tables may stand in a list, under names, or beside another form.
fn within(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    walk(schema, path, keys);
    for inner in [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|one| one.is_object())
    {
        within(inner, path, keys);
    }
    schema["anyOf"].as_array().into_iter().flatten().for_each(|inner| within(inner, path, keys));
}

/// Returns the keys within keys of sections: the path of the section, and that of the key below it.
fn nested() -> Vec<(&'static str, String)> {
    let mut keys = BTreeSet::new();
    walk(&schema(), "", &mut keys);
    let mut found = Vec::new();
    for key in keys.iter().filter(|key| !key.starts_with("acme.")) {
        let Some((table, _)) = key.rsplit_once('.') else { continue };
        if OTHERS.contains(&table) || SECTIONS.iter().any(|(section, _)| *section == table) {
            continue;
        }
        let section = SECTIONS.iter().map(|(section, _)| *section);
        let section =
            section.filter(|section| key.starts_with(&format!("{section}."))).max_by_key(|one| one.len());
        let section = section.unwrap_or_else(|| panic!("{key}: its section is in no list"));
        found.push((section, key[section.len() + 1..].to_owned()));
    }
    found
}

#[test]
fn every_key_within_another_says_what_is_wrong_with_it() {
    let all = nested();
    assert!(all.len() >= 65, "{}", all.len());
    let mut faults = Vec::new();
    for (section, key) in &all {
        let (_, before) = SECTIONS.iter().find(|(known, _)| known == section).expect("it is of the list");
        let wrong: Vec<_> = WRONG.iter().filter(|(known, ..)| known == key).collect();
        if wrong.is_empty() {
            faults.push(format!("{section}.{key}: no wrong value"));
        }
        for (_, value, more, fix) in wrong {
            // A site has an action of its own, unless the key is one.
            let acts = section.starts_with("site") && !key.starts_with("respond.");
            let action = if acts { "upstream = 'http://127.0.0.1:1'\n" } else { "" };
            let more = if more.is_empty() { String::new() } else { format!("{more}\n") };
            let (found, line) = problems(&format!("{before}{action}{more}"), &format!("{key} = {value}"));
            let here = format!("edge.toml:{line}:");
            let named = |said: &&String| said.starts_with(&here) && said.contains(key.as_str());
            if !found.iter().any(|said| named(&said) && said.contains(fix)) {
                faults.push(format!("{section}.{key} = {value}: {found:#?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let unknown: Vec<_> =
        WRONG.iter().filter(|(key, ..)| !all.iter().any(|(_, known)| known == key)).collect();
    assert!(unknown.is_empty(), "not keys: {unknown:?}");
}
