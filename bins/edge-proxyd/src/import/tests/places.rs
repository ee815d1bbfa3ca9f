//! Places that are closed with others, and protocols of services.

use super::{APP, Impact, imported, noted, refuses, route, site, table, texts};

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

#[test]
fn limits_of_connections_are_those_of_the_listener() {
    let found = imported(
        "stream { limit_conn_zone $binary_remote_addr zone=c:1m; limit_conn_zone $server_addr zone=all:1m;\n\
         limit_conn_zone $ssl_preread_server_name zone=n:1m; limit_conn c 8;\n\
         map $ssl_preread_server_name $to { a.test 10.0.0.5:443; }\n\
         server { listen 1000; proxy_pass 10.0.0.5:22; }\n\
         server { listen 1001; limit_conn c 4; limit_conn all 64; proxy_pass 10.0.0.5:22; }\n\
         server { listen 1002; limit_conn_dry_run on; proxy_pass 10.0.0.5:22; }\n\
         server { listen 1003; limit_conn n 4; proxy_pass 10.0.0.5:22; }\n\
         server { listen 1004; ssl_preread on; proxy_pass $to; } }",
    );
    let listeners = table(&found)["listen"].as_array().expect("listeners").clone();
    let rates: Vec<_> = listeners.iter().map(|one| one.get("rate").map(ToString::to_string)).collect();
    assert_eq!(
        rates,
        [
            Some("{ client_concurrent = 8 }".to_owned()),
            Some("{ client_concurrent = 4, concurrent = 64 }".to_owned()),
            None
        ],
        "{}",
        found.text
    );
    // What cannot be counted is not forwarded at all.
    assert!(
        noted(&found, Impact::Closed, "limit_conn n 4") && noted(&found, Impact::Closed, "limit_conn c 8")
    );
}

#[test]
fn a_cookie_keeps_clients_at_their_targets() {
    let text = |sticky: &str| {
        format!(
            "upstream u {{ server 10.0.0.1; server 10.0.0.2; {sticky} }}\n\
             server {{ listen 80; server_name a.test; location / {{ proxy_pass http://u; }} }}"
        )
    };
    let sticky = |found: &super::Import| table(found)["upstream"]["u"].get("sticky").cloned();
    let found = imported(&text("sticky cookie srv_id expires=1h path=/;"));
    let value = sticky(&found).expect("it is written");
    assert_eq!((value["cookie"].as_str(), value["lifetime"].as_str()), (Some("srv_id"), Some("1h")));
    let found = imported(&text("sticky cookie srv_id;"));
    assert_eq!(sticky(&found).as_ref().and_then(toml::Value::as_str), Some("srv_id"));
    let found = imported(&text("sticky learn create=$upstream_cookie_a lookup=$cookie_a zone=s:1m;"));
    assert!(sticky(&found).is_none() && noted(&found, Impact::Different, "sticky learn"));
}

#[test]
fn idle_connections_to_services_are_used_as_long_as_in_nginx() {
    let idle = |time: &str| {
        let found = imported(&format!(
            "upstream u {{ server 10.0.0.1; keepalive 16; keepalive_timeout {time}; }}\n\
             server {{ listen 80; server_name a.test; location / {{ proxy_pass http://u; }} }}"
        ));
        let written =
            table(&found)["upstream"]["u"].get("idle").and_then(|idle| idle.as_str().map(String::from));
        (written, noted(&found, Impact::Different, "keepalive_timeout"))
    };
    assert_eq!(idle("4s"), (Some("4s".into()), false));
    assert_eq!(idle("1m"), (Some("1m".into()), false));
    assert_eq!(idle("0"), (None, true));
    assert_eq!(idle("2d"), (None, true));
}

#[test]
fn services_behind_trusted_proxies_see_the_client_last() {
    let forwarded = |trusted: &str, value: &str| {
        let found = imported(&format!(
            "{trusted} server {{ listen 80; server_name a.test; location / {{ proxy_pass http://10.0.0.1;\n\
             proxy_set_header Host $host; {value} }} }}"
        ));
        let upstream =
            table(&found).get("upstream").and_then(|all| all.as_table().cloned()).unwrap_or_default();
        upstream.values().find_map(|one| one.get("forwarded")?.as_str().map(String::from))
    };
    let trusted = "set_real_ip_from 100.64.0.0/10; real_ip_header X-Forwarded-For; real_ip_recursive on;";
    let client = Some("client".to_owned());
    for value in ["$remote_addr", "$proxy_add_x_forwarded_for"] {
        let set = format!("proxy_set_header X-Forwarded-For {value};");
        assert_eq!(forwarded(trusted, &set), client, "{value}");
        assert_eq!(
            forwarded("set_real_ip_from 173.245.48.0/20; real_ip_header CF-Connecting-IP;", &set),
            client
        );
        // Without a trusted proxy both are the peer.
        assert_eq!(forwarded("", &set), None, "{value}");
    }
    for set in [
        "",
        "proxy_set_header X-Forwarded-For $realip_remote_addr;",
        "proxy_set_header X-Forwarded-For \"\";",
    ] {
        assert_eq!(forwarded(trusted, set), None, "{set}");
    }
}

#[test]
fn the_identifier_of_a_request_has_a_key() {
    let found = imported(
        "server { listen 80; server_name a.test; location / { proxy_pass http://127.0.0.1:1;\n\
         proxy_set_header X-Trace $request_id; proxy_set_header X-Other $request_id; } }",
    );
    assert_eq!(table(&found)["request_id"].as_str(), Some("X-Trace"), "{}", found.text);
    // There is one such field: another is as any whose value is not known.
    assert!(!noted(&found, Impact::Different, "proxy_set_header X-Trace"));
    assert!(noted(&found, Impact::Different, "proxy_set_header X-Other"));
}

#[test]
fn servers_have_logs_of_their_own_in_one_format() {
    let server = |name: &str, log: &str| {
        format!(
            "server {{ listen 80; server_name {name}; {log} location / {{ proxy_pass http://127.0.0.1:1; }} }}\n"
        )
    };
    let found = imported(&format!(
        "log_format short '$remote_addr {{$status}} ' '$pipe';\naccess_log /var/log/nginx/access.log;\n{}{}{}{}",
        server("a.test", "access_log /var/log/nginx/a.log short buffer=32k;"),
        server("b.test", "access_log /srv/logs/b.log;"),
        server("c.test", "access_log off;"),
        server("d.test", "access_log /var/log/nginx/$host.log short;")
    ));
    let log = table(&found)["log"].clone();
    assert_eq!(log["template"].as_str(), Some("{client} {{{status}}} -"), "{}", found.text);
    let sites = log["sites"].as_table().expect("a table").clone();
    assert_eq!(sites.len(), 2, "{}", found.text);
    assert_eq!(sites["a.test"].as_str(), Some("/var/log/edge-proxyd/a.log"));
    assert_eq!(sites["b.test"].as_str(), Some("/srv/logs/b.log"));
    for directive in ["access_log /srv/logs/b.log", "access_log /var/log/nginx/$host.log", "log_format short"]
    {
        assert!(noted(&found, Impact::Harmless, directive), "{directive}: {:#?}", found.notes);
    }
    // Without a log of its own there is nothing to write, and combined is combined.
    assert!(!imported(&server("a.test", "access_log off;")).text.contains("[log]"));
    let found = imported(&server("a.test", "access_log /var/log/nginx/a.log;"));
    assert_eq!(table(&found)["log"]["format"].as_str(), Some("combined"));
}
