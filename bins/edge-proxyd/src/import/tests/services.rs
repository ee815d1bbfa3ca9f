//! What services receive.

use super::*;

fn of_server(content: &str) -> Import {
    imported(&format!("server {{ listen 80; server_name a.test; {content} }}"))
}

fn what(import: &Import, directive: &str) -> String {
    let found = import.notes.iter().find(|note| note.directive == directive);
    found.map_or_else(|| panic!("{directive}: {:#?}", import.notes), |note| note.what.clone())
}

#[test]
fn a_default_port_is_not_in_host() {
    for (address, host) in [
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1:443", "127.0.0.1:443"),
        ("https://app.test:443", "app.test"),
        ("https://app.test:80", "app.test:80"),
        ("http://[::1]:80", "[::1]"),
        ("http://[::1]", "[::1]"),
    ] {
        let found = of_server(&format!("location / {{ proxy_pass {address}; }}"));
        let upstreams = table(&found)["upstream"].as_table().cloned().expect("upstreams");
        let written: Vec<_> = upstreams.values().filter_map(|one| one["host"].as_str()).collect();
        assert_eq!(written, [host], "{address}\n{}", found.text);
    }
    let found = of_server("location / { grpc_pass grpc://127.0.0.1:80; }");
    assert!(found.text.contains("host = \"127.0.0.1\""), "{}", found.text);
}

#[test]
fn paths_that_a_service_receives_otherwise_are_named() {
    let found = of_server(
        "location /app { proxy_pass http://127.0.0.1:1/; } location /v { proxy_pass http://127.0.0.1:2/w; } location /a/ { proxy_pass http://127.0.0.1:3/; }",
    );
    let app = what(&found, "proxy_pass http://127.0.0.1:1/");
    assert!(app.contains("/app/x as /x, where nginx sends //x"), "{app}");
    assert!(app.contains("/appx unchanged, where nginx sends /x"), "{app}");
    let v = what(&found, "proxy_pass http://127.0.0.1:2/w");
    assert!(v.contains("/v as /w/, where nginx sends /w,"), "{v}");
    assert!(v.contains("/vx as /w/vx, where nginx sends /wx"), "{v}");
    assert!(!noted(&found, Impact::Different, "proxy_pass http://127.0.0.1:3/"), "{:#?}", found.notes);
}

#[test]
fn an_address_is_named_once() {
    let found = of_server("location / { proxy_pass $backend; } location /two/ { proxy_pass $backend/a; }");
    assert!(what(&found, "proxy_pass $backend").contains("not an http://"), "{:#?}", found.notes);
    assert!(found.text.contains("`proxy_pass $backend`:"), "{}", found.text);
}

#[test]
fn what_requests_and_responses_lose_is_noted() {
    for (directive, is_noted) in [
        ("proxy_pass_request_body off;", true),
        ("proxy_pass_request_body on;", false),
        ("internal; proxy_pass_request_body off;", false),
        ("proxy_pass_request_headers off;", true),
        ("proxy_pass_request_headers on;", false),
        ("proxy_force_ranges on;", true),
        ("proxy_force_ranges off;", false),
        ("proxy_ignore_client_abort on;", true),
        ("proxy_ignore_client_abort off;", false),
        ("proxy_pass_trailers on;", false),
        ("proxy_ssl_key_log /tmp/keys;", false),
        ("proxy_ssl_certificate_cache off;", false),
    ] {
        let found = of_server(&format!("location / {{ {directive} proxy_pass http://127.0.0.1:1; }}"));
        let name = directive.trim_start_matches("internal; ").split(' ').next().unwrap_or_default();
        assert_eq!(noted(&found, Impact::Different, name), is_noted, "{directive} {:#?}", found.notes);
        let site = site(&found, "a.test");
        assert!(directive.starts_with("internal") || site.contains_key("upstream"), "{}", found.text);
    }
}
