//! Places that are closed with others, and protocols of services.

use super::{APP, imported, refuses, route, site, texts};

#[test]
fn what_only_nginx_itself_may_ask_is_closed_with_what_is_within_it() {
    let text = format!(
        "server {{ listen 80; server_name a.test; {APP} location /in/ {{ internal; proxy_pass http://127.0.0.1:1;\n\
         location /in/deep/ {{ proxy_pass http://127.0.0.1:2; }} }} }}"
    );
    let found = imported(&text);
    let site = site(&found, "a.test");
    assert_eq!(route(&site, "/in/")["respond"]["status"].as_integer(), Some(404));
    assert!(!found.text.contains("127.0.0.1:2"), "{}", found.text);
}

#[test]
fn an_expression_that_guards_some_paths_closes_an_answer_around_them() {
    let text = "geo $lan { default 0; 10.0.0.0/8 1; }\n\
        server { listen 80; server_name a.test; location /admin/ { return 200 text; }\n\
        location ~ /b { if ($lan = 0) { return 403; } proxy_pass http://127.0.0.1:1; } }";
    let found = imported(text);
    assert!(refuses(&route(&site(&found, "a.test"), "/admin/")), "{}", found.text);
}

#[test]
fn the_path_of_a_folder_is_completed_for_exact_locations_too() {
    let text = "server { listen 80; server_name a.test; location / { proxy_pass http://127.0.0.1:1; }\n\
        location = /open/ { proxy_pass http://127.0.0.1:2; }\n\
        location = /in/ { internal; proxy_pass http://127.0.0.1:3; } }";
    let found = imported(text);
    let a = site(&found, "a.test");
    assert_eq!(route(&a, "/open")["redirect"].as_str(), Some("/open/{query}"));
    assert_eq!(route(&a, "/in")["respond"]["status"].as_integer(), Some(404));
}

#[test]
fn an_expression_without_letter_case_matches_as_the_location_around_it_is_spelt() {
    let text = "server { listen 80; server_name a.test; location / { proxy_pass http://127.0.0.1:1; }\n\
        location /Admin { proxy_pass http://127.0.0.1:2; location ~* ^/admin$ { return 404; } } }";
    let found = imported(text);
    let (_, rest) = found.text.split_once("exact = \"/Admin\"\n").unwrap_or_else(|| panic!("{}", found.text));
    assert!(rest.starts_with("respond = { status = 404 }"), "{}", found.text);
}

#[test]
fn headscale_s_clients_switch_to_protocols_of_their_own() {
    let app = "location / { proxy_pass http://127.0.0.1:1; proxy_set_header Upgrade $http_upgrade; }";
    let text = format!(
        "server {{ listen 80; server_name headscale.test; {app} }}\nserver {{ listen 80; server_name git.test; {app} }}"
    );
    let found = imported(&text);
    assert_eq!(texts(&site(&found, "headscale.test")["upgrade"])[1], "tailscale-control-protocol");
    assert!(!site(&found, "git.test").contains_key("upgrade"), "{}", found.text);
}
