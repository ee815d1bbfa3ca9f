//! Fields by which services know who a client is.

use super::*;

/// Returns the names of the fields that are removed from requests for a host.
fn removed(import: &Import, host: &str) -> Vec<String> {
    let site = site(import, host);
    let names = site.get("request_headers").and_then(|edits| edits.get("remove")).cloned();
    names.iter().flat_map(texts).map(String::from).collect()
}

fn of_location(content: &str) -> Import {
    imported(&format!(
        "server {{ listen 80; server_name a.test; location / {{ {content} proxy_pass http://127.0.0.1:1; }} }}"
    ))
}

#[test]
fn no_client_writes_the_name_of_a_user() {
    let found = of_location("proxy_set_header X-Remote-User $remote_user;");
    assert_eq!(removed(&found, "a.test"), ["X-Remote-User"], "{}", found.text);
    assert!(noted(&found, Impact::Different, "proxy_set_header X-Remote-User"), "{:#?}", found.notes);
    let password = "auth_basic a; auth_basic_user_file users;";
    let found = of_location(&format!(
        "{password} proxy_set_header X-Remote-User $remote_user; proxy_set_header X-User $remote_user;"
    ));
    assert_eq!(removed(&found, "a.test"), ["X-User"], "{}", found.text);
    assert_eq!(site(&found, "a.test")["auth"]["user_header"].as_str(), Some("X-Remote-User"));
    for open in
        ["auth_basic off;", "satisfy any; allow all; auth_basic a;", "auth_basic a; auth_request /in;"]
    {
        let found = of_location(&format!(
            "auth_basic_user_file users; {open} proxy_set_header X-Remote-User $remote_user;"
        ));
        assert_eq!(removed(&found, "a.test"), ["X-Remote-User"], "{}", found.text);
    }
}

#[test]
fn no_client_writes_the_field_of_an_authentication_service() {
    let text = "server { listen 80; server_name a.test; auth_request /auth; auth_request_set $user $upstream_http_x_user;\n\
         proxy_set_header X-User $user; location = /auth { internal; proxy_pass http://127.0.0.1:4180/oauth2/auth; }\n\
         location / { proxy_pass http://127.0.0.1:1; } location /open/ { auth_request off; proxy_pass http://127.0.0.1:1; } }";
    let found = imported(text);
    let a = site(&found, "a.test");
    assert_eq!(texts(&route(&a, "/")["auth"]["copy"]), ["X-User"]);
    let open = route(&a, "/open/");
    assert_eq!(texts(&open["request_headers"]["remove"]), ["X-User"], "{}", found.text);
}

#[test]
fn a_known_service_says_more_than_its_usual_fields() {
    let copy = |service: &str, field: &str| {
        let variable = field.to_ascii_lowercase().replace('-', "_");
        let found = imported(&format!(
            "server {{ listen 80; server_name a.test; location = /in {{ internal; proxy_pass http://127.0.0.1:9{service}; }}\n\
             location / {{ auth_request /in; proxy_set_header {field} $upstream_http_{variable}; proxy_pass http://127.0.0.1:1; }} }}"
        ));
        let auth = route(&site(&found, "a.test"), "/")["auth"].clone();
        assert!(auth.get("service").is_some(), "{}", found.text);
        auth.get("copy").map(|all| texts(all).into_iter().map(String::from).collect::<Vec<_>>())
    };
    for (service, usual, more) in [
        ("/api/verify", "Remote-User", "Remote-Role"),
        ("/outpost.goauthentik.io/auth/nginx", "X-authentik-uid", "X-authentik-role"),
    ] {
        assert_eq!(copy(service, usual), None);
        let all = copy(service, more).expect("fields");
        assert!(all.len() > 4 && all.iter().any(|one| one == more), "{all:?}");
        assert!(all.iter().any(|one| one.eq_ignore_ascii_case(usual)), "{all:?}");
    }
}

#[test]
fn no_client_writes_the_field_of_a_certificate() {
    let text = |listen: &str, asked: &str| {
        imported(&format!(
            "server {{ {listen} server_name a.test; {asked} location / {{ proxy_pass http://127.0.0.1:1; proxy_set_header X-DN $ssl_client_s_dn; }} }}"
        ))
    };
    let asked = "ssl_client_certificate /ca.pem; ssl_verify_client optional;";
    assert!(removed(&text("listen 443 ssl;", asked), "a.test").is_empty());
    for (listen, asked) in [
        ("listen 80;", asked),
        ("listen 443 ssl;", ""),
        ("listen 443 ssl;", "ssl_verify_client optional_no_ca;"),
    ] {
        let found = text(listen, asked);
        assert_eq!(removed(&found, "a.test"), ["X-DN"], "{listen} {asked}\n{}", found.text);
        assert!(noted(&found, Impact::Different, "proxy_set_header X-DN"), "{:#?}", found.notes);
    }
    // Beside TLS it is one of two sites.
    let found = text("listen 80; listen 443 ssl;", asked);
    let sites = sites(&found, "a.test");
    assert_eq!(sites.len(), 2, "{}", found.text);
    let is_asked = |site: &&Table| site.contains_key("client_certificates");
    let plain = sites.iter().find(|site| !is_asked(site)).expect("a site without TLS");
    assert_eq!(texts(&plain["request_headers"]["remove"]), ["X-DN"], "{}", found.text);
}

#[test]
fn removed_fields_are_named() {
    let found = of_location(
        "proxy_set_header X-Client-IP $remote_addr; proxy_set_header X-Scheme $scheme; proxy_set_header X-Original-URI $request_uri;",
    );
    assert_eq!(removed(&found, "a.test"), ["X-Client-IP", "X-Scheme", "X-Original-URI"]);
    for (field, hint) in [
        ("X-Client-IP", "X-Real-IP has"),
        ("X-Scheme", "X-Forwarded-Proto has"),
        ("X-Original-URI", "removed"),
    ] {
        let note = found.notes.iter().find(|note| note.directive.contains(field)).expect("a note");
        assert!(note.impact == Impact::Different && note.what.contains(hint), "{note:?}");
    }
}
