//! Settings of single locations, and those that no site has of its own.

use super::{APP, imported, route, site, table};
use crate::import::Impact;
use toml::Value;

#[test]
fn a_location_keeps_its_own_timeouts_and_compression() {
    let text = "server { listen 80; server_name a.test; proxy_read_timeout 90s; gzip on;\n\
        location / { proxy_pass http://127.0.0.1:1; }\n\
        location /events/ { proxy_read_timeout 1h; proxy_connect_timeout 2s; gzip off; proxy_pass http://127.0.0.1:1; }\n\
        location /text/ { gzip_min_length 4k; proxy_pass http://127.0.0.1:1; } }";
    let found = imported(text);
    let a = site(&found, "a.test");
    assert_eq!(a["timeouts"]["response"].as_str(), Some("90s"), "{}", found.text);
    assert_eq!(a["compression"]["least"].as_str(), Some("20"));
    let events = route(&a, "/events/");
    assert_eq!(events["timeouts"]["response"].as_str(), Some("1h"));
    assert_eq!(events["timeouts"]["connect"].as_str(), Some("2s"));
    assert_eq!(events["compression"].as_bool(), Some(false));
    assert_eq!(route(&a, "/text/")["compression"]["least"].as_str(), Some("4KiB"));
    let rest = route(&a, "/");
    assert!(!rest.contains_key("timeouts") && !rest.contains_key("compression"), "{rest:#?}");
    // A single location is the site.
    let found = imported(
        "server { listen 80; server_name a.test; location / { gzip on; proxy_read_timeout 2m; proxy_pass http://127.0.0.1:1; } }",
    );
    let a = site(&found, "a.test");
    assert_eq!(
        (a["timeouts"]["response"].as_str(), a["compression"]["least"].as_str()),
        (Some("2m"), Some("20"))
    );
    assert!(!a.contains_key("route"), "{}", found.text);
}

#[test]
fn heads_may_be_as_large_as_in_nginx() {
    let limits = |outer: &str, inner: &str| {
        let found = imported(&format!(
            "{outer} server {{ listen 80; server_name a.test; location / {{ proxy_pass http://127.0.0.1:1; {inner} }} }}"
        ));
        let limits = table(&found).get("limits").and_then(Value::as_table).cloned().unwrap_or_default();
        ["header_bytes", "target_bytes", "response_header_bytes"]
            .map(|key| limits.get(key).and_then(Value::as_integer).unwrap_or(0))
    };
    assert_eq!(limits("", ""), [0, 0, 0]);
    // One buffer for the target, all of them for the fields.
    assert_eq!(limits("large_client_header_buffers 4 8k;", ""), [32_768, 0, 0]);
    assert_eq!(limits("large_client_header_buffers 4 36k;", ""), [65_535, 36_864, 0]);
    // Over HTTP/1.1 both are in one buffer, in which the fields keep more than by default.
    assert_eq!(limits("large_client_header_buffers 4 64k;", ""), [65_535, 40_960, 0]);
    assert_eq!(limits("proxy_buffer_size 16k;", "proxy_buffer_size 48k;"), [0, 0, 49_152]);
    assert_eq!(limits("proxy_buffer_size 1m;", "proxy_buffer_size 16k;"), [0, 0, 65_535]);
    assert_eq!(limits("proxy_buffer_size 16k;", "grpc_buffer_size 8k;"), [0, 0, 0]);
}

#[test]
fn http2_without_tls_is_that_of_the_listener() {
    let h2c = |server: &str| {
        let found = imported(&format!("server {{ server_name a.test; {server} {APP} }}"));
        table(&found)["listen"][0].get("h2c").and_then(Value::as_bool)
    };
    assert_eq!(h2c("listen 100.64.0.2:80; http2 on;"), Some(true));
    assert_eq!(h2c("listen 100.64.0.2:80 http2;"), Some(true));
    assert_eq!(h2c("listen 100.64.0.2:80; http2 off;"), None);
    // With TLS it is chosen in the handshake.
    let tls = "ssl_certificate /a.pem; ssl_certificate_key /a.key;";
    assert_eq!(h2c(&format!("listen 80; listen 443 ssl; http2 on; {tls}")), None);
}

#[test]
fn timeouts_of_connections_are_those_of_all_sites() {
    let of = |text: &str| {
        let found = imported(text);
        let host = site(&found, "a.test");
        assert!(!host.contains_key("timeouts"), "{}", found.text);
        let get = |key: &str| Some(table(&found).get("timeouts")?.get(key)?.as_str()?.to_owned());
        (get("idle"), get("header"))
    };
    let text = |outer: &str, one: &str, two: &str| {
        format!(
            "{outer} server {{ listen 80; server_name a.test; {one} {APP} }} server {{ listen 80; server_name b.test; {two} {APP} }}"
        )
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(of(&text("", "", "")), (None, None));
    assert_eq!(of(&text("keepalive_timeout 30s 30s;", "keepalive_timeout 2m;", "")), (some("2m"), None));
    // A server without one has edge-proxyd's own.
    assert_eq!(
        of(&text("", "keepalive_timeout 5s; client_header_timeout 1m;", "")),
        (some("75s"), some("1m"))
    );
    assert_eq!(of(&text("client_header_timeout 20s;", "", "")), (None, some("20s")));
}

#[test]
fn a_name_at_two_listeners_keeps_the_certificate_of_each() {
    let server = |address: &str, name: &str| {
        format!(
            "server {{ listen {address}:443 ssl; server_name a.test; ssl_certificate /{name}.pem; ssl_certificate_key /{name}.key; {APP} }}"
        )
    };
    let found = imported(&(server("192.0.2.1", "outside") + &server("100.64.0.1", "inside")));
    let mut of: Vec<(String, String)> = super::sites(&found, "a.test")
        .iter()
        .map(|site| {
            let text = |value: &Value| super::texts(value).join(" ");
            (text(&site["listen"]), text(&site["certificate"]))
        })
        .collect();
    of.sort();
    let pair = |listen: &str, file: &str| (listen.to_owned(), file.to_owned());
    assert_eq!(of, [pair("https-100.64.0.1", "/inside.pem"), pair("https-192.0.2.1", "/outside.pem")]);
}

#[test]
fn directives_of_one_name_are_inherited_together_and_apart_from_others() {
    let found = imported(
        "server { listen 80; server_name a.test;\n\
         grpc_set_header X-Kind rpc; proxy_set_header X-Kind page;\n\
         proxy_cookie_path / /app/; proxy_cookie_domain inner.test a.test;\n\
         location / { proxy_pass http://127.0.0.1:1; }\n\
         location /rpc/ { grpc_pass grpc://127.0.0.1:2; }\n\
         location /own/ { grpc_set_header X-Own rpc; proxy_cookie_domain other.test a.test; grpc_pass grpc://127.0.0.1:2; }\n\
         location /page/ { grpc_set_header X-Own rpc; proxy_pass http://127.0.0.1:1; } }",
    );
    let a = site(&found, "a.test");
    let set = |path: &str| {
        let all = route(&a, path)["request_headers"]["set"].as_table().cloned().expect("fields");
        all.iter()
            .map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    assert_eq!(set("/"), ["X-Kind: page"], "{}", found.text);
    assert_eq!(set("/rpc/"), ["X-Kind: rpc"]);
    assert_eq!(set("/own/"), ["X-Own: rpc"]);
    // A field of gRPC changes nothing of HTTP: the location is as the one around it.
    assert!(!found.text.contains("path = \"/page/\""), "{}", found.text);
    let cookies = &route(&a, "/own/")["cookies"];
    assert_eq!(cookies["path"]["/"].as_str(), Some("/app/"), "{}", found.text);
    let domains = cookies["domain"].as_table().expect("domains");
    assert_eq!(domains.keys().collect::<Vec<_>>(), ["other.test"]);
}

#[test]
fn link_local_targets_are_left_out_with_a_note() {
    let text = "upstream some { server 127.0.0.1:1; server [fe80::1]:2; } upstream none { server [fe80::1]:3; }\n\
        server { listen 80; server_name a.test; location / { proxy_pass http://some; } }\n\
        server { listen 80; server_name b.test; location / { proxy_pass http://none; } }\n\
        server { listen 80; server_name c.test; location / { proxy_pass http://[fe80::1]:4; } }";
    let found = imported(text);
    assert!(
        found.text.contains("127.0.0.1:1") && !found.text.contains("\"http://[fe80::1]"),
        "{}",
        found.text
    );
    let notes: Vec<_> = found.notes.iter().filter(|note| note.what.contains("%INTERFACE")).collect();
    let impacts: Vec<_> = notes.iter().map(|note| note.impact).collect();
    assert_eq!(impacts, [Impact::Closed, Impact::Closed, Impact::Different], "{}", found.text);
}
