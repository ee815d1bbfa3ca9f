//! Guards whose translation must keep out at least whom nginx keeps out.

use super::{APP, denies_all, imported, noted, refuses, route, site, texts};
use crate::import::Impact;
use toml::{Table, Value};

/// Returns the route that has this path under this key.
fn route_by(site: &Table, key: &str, path: &str) -> Table {
    let all = site.get("route").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = all.iter().find(|route| route.get(key).and_then(Value::as_str) == Some(path));
    found.and_then(Value::as_table).cloned().unwrap_or_else(|| panic!("{key} = {path}: {site:#?}"))
}

fn of_server(content: &str) -> Table {
    site(&imported(&format!("server {{ listen 80; server_name a.test; {content} }}")), "a.test")
}

#[test]
fn what_an_expression_repeats_may_be_absent() {
    for expression in
        ["^/admin(/x){0,2}$", "^/admin(/x){0,}$", "^/admin(/x){0}$", "^/admin(/x)*$", "^/admin(/|$)+"]
    {
        let a = of_server(&format!(
            "{APP} location ~ \"{expression}\" {{ deny all; proxy_pass http://127.0.0.1:2; }}"
        ));
        assert!(refuses(&route(&a, "/admin")), "{expression}: {a:#?}");
    }
    // `.+` does not match the folder itself, which stays guarded.
    let a = of_server(&format!(
        "{APP} location /admin/ {{ deny all; proxy_pass http://127.0.0.1:2; }} location ~ ^/admin/.+ {{ proxy_pass http://127.0.0.1:2; }}"
    ));
    assert!(refuses(&route_by(&a, "exact", "/admin/")), "{a:#?}");
    assert!(route_by(&a, "path", "/admin/").contains_key("upstream"));
    // Nothing answers for the folder itself where there is no other location.
    for modifier in ["~", "~*"] {
        let a = of_server(&format!("location {modifier} ^/admin/.+ {{ proxy_pass http://127.0.0.1:2; }}"));
        assert!(!route_by(&a, "exact", "/admin/").contains_key("upstream"), "{modifier}: {a:#?}");
        assert!(route_by(&a, "path", "/admin/").contains_key("upstream"), "{modifier}: {a:#?}");
    }
    // Where it guards, everything below is guarded.
    let a = of_server(&format!("{APP} location ~ ^/admin/.+ {{ deny all; proxy_pass http://127.0.0.1:2; }}"));
    assert!(refuses(&route_by(&a, "path", "/admin/")), "{a:#?}");
}

#[test]
fn conditions_on_the_method_refuse_all_that_they_match() {
    let methods = |condition: &str| {
        let a = of_server(&format!("if ($request_method {condition}) {{ return 405; }} {APP}"));
        let found = a
            .get("methods")
            .or_else(|| a["route"][0].get("methods"))
            .map(|all| texts(all).into_iter().map(String::from).collect::<Vec<_>>());
        found.unwrap_or_else(|| panic!("{condition}: {a:#?}"))
    };
    let left = methods("~ ^P");
    assert!(left.iter().all(|method| !method.starts_with('P')), "{left:?}");
    assert!(["GET", "DELETE", "LOCK"].iter().all(|method| left.iter().any(|one| one == method)), "{left:?}");
    let left = methods("~ \"POST|T$\"");
    assert!(["POST", "GET", "PUT"].iter().all(|method| !left.iter().any(|one| one == method)), "{left:?}");
    assert_eq!(methods("!~ ^P"), ["PATCH", "POST", "PROPFIND", "PROPPATCH", "PUT"]);
    assert_eq!(methods("!~* ^(get|head)$"), ["GET", "HEAD"]);
    // Every method, or one that is not known of each, lets nobody in.
    for condition in ["~ .", "~ ^[A-Z]+$", "!~ ^NONE"] {
        let a = of_server(&format!("if ($request_method {condition}) {{ return 405; }} {APP}"));
        assert!(denies_all(&a), "{condition}: {a:#?}");
    }
}

#[test]
fn letter_case_that_a_condition_ignores_is_ignored() {
    for condition in ["~* ^/admin", "~ (?i)^/admin"] {
        let a = of_server(&format!(
            "if ($uri {condition}) {{ return 403; }} {APP} location /Admin/ {{ proxy_pass http://127.0.0.1:2; }}"
        ));
        assert!(
            a["route"].as_array().is_some_and(|all| all.iter().all(|route| {
                let route = route.as_table().expect("a route");
                let path = ["path", "begins", "exact"].iter().find_map(|key| route.get(*key)?.as_str());
                path == Some("/") || refuses(route)
            })),
            "{condition}: {a:#?}"
        );
    }
}

#[test]
fn a_named_location_is_guarded_like_the_one_that_leads_to_it() {
    let guards = [
        "if ($lan = 0) { return 403; }",
        "if ($request_method = POST) { return 405; }",
        "limit_except GET { deny all; }",
        "satisfy any; allow 10.0.0.0/8; auth_basic x; auth_basic_user_file users;",
    ];
    for guard in guards {
        let text = format!(
            "geo $lan {{ default 0; 10.0.0.0/8 1; }}\nserver {{ listen 80; server_name a.test;\n\
             location / {{ {guard} try_files $uri @app; }} location @app {{ proxy_pass http://127.0.0.1:1; }} }}"
        );
        let found = imported(&text);
        assert!(denies_all(&site(&found, "a.test")), "{guard}\n{}", found.text);
        assert!(noted(&found, Impact::Closed, "location /"), "{:?}", found.notes);
    }
}

#[test]
fn clients_that_get_another_answer_are_kept_from_the_service() {
    for answer in ["return 503;", "return 500;", "return 200 later;", "return 204;"] {
        let text = format!(
            "geo $closed {{ default 1; 10.0.0.0/8 0; }}\n\
             server {{ listen 80; server_name a.test; if ($closed) {{ {answer} }} {APP} }}"
        );
        let a = site(&imported(&text), "a.test");
        assert_eq!(texts(&a["allow"]), ["10.0.0.0/8"], "{answer}: {a:#?}");
    }
    // A header that is not known: refused with whatever status.
    let a = of_server(&format!("if ($http_x_key != secret) {{ return 503; }} {APP}"));
    assert!(denies_all(&a), "{a:#?}");
    let a = of_server(&format!("{APP} location ~ \\.php$ {{ return 503; }}"));
    assert!(denies_all(&a) || refuses(&route(&a, "/")), "{a:#?}");
}

#[test]
fn what_stands_in_stream_holds_for_its_servers() {
    let server = "server { listen 22; proxy_pass 10.0.0.1:22;";
    let listen = |text: &str| {
        let found = imported(text);
        super::table(&found).get("listen").and_then(|all| all[0].as_table().cloned()).expect("a listener")
    };
    let of = |outer: &str, own: &str| listen(&format!("stream {{ {outer} {server} {own} }} }}"));
    assert_eq!(texts(&of("allow 10.0.0.0/8; deny all;", "")["allow"]), ["10.0.0.0/8"]);
    assert!(denies_all(&of("deny all;", "")));
    // A server's own rules take their place.
    assert_eq!(texts(&of("deny all;", "allow 10.0.0.0/8; deny all;")["allow"]), ["10.0.0.0/8"]);
    // One that is not known closes.
    let found = imported(&format!("stream {{ js_access x.y; {server} }} }}"));
    assert!(
        !found.text.contains("10.0.0.1:22") && noted(&found, Impact::Closed, "js_access"),
        "{}",
        found.text
    );
}

#[test]
fn tcp_goes_to_sockets_and_to_addresses_of_both_families() {
    let forward = |pass: &str| {
        let found = imported(&format!("stream {{ server {{ listen 22; proxy_pass {pass} }} }}"));
        super::table(&found).get("listen").and_then(|all| all[0].get("forward")?.as_str().map(String::from))
    };
    assert_eq!(forward("unix:/run/ssh.sock;").as_deref(), Some("unix:/run/ssh.sock"));
    let found = imported("stream { server { listen [::]:22; proxy_pass [fd00::1]:22; } }");
    assert!(found.text.contains("\"tcp://[fd00::1]:22\""), "{}", found.text);
    // A PROXY header is of an upstream, and no upstream for raw TCP has a socket.
    assert_eq!(forward("unix:/run/ssh.sock; proxy_protocol on;"), None);
    assert_eq!(forward("unix:ssh.sock;"), None);
}

#[test]
fn an_answer_to_some_paths_does_not_pass_by_what_nginx_checks_before_it() {
    let named = "try_files $uri @app; } location @app { if ($uri ~ ^/in/x) { return 200 x; } proxy_pass http://127.0.0.1:2;";
    let answer = "if ($uri ~ ^/in/x) { return 200 x; } proxy_pass http://127.0.0.1:2;";
    let client = "if ($remote_addr != 10.0.0.1) { return 403; }";
    let method = "if ($request_method = POST) { return 403; }";
    let unknown = "if ($http_cookie !~ secret) { return 403; }";
    for (content, closes) in [
        (named.to_owned(), false),
        (format!("deny all; {named}"), true),
        (format!("allow 10.0.0.0/8; deny all; {named}"), true),
        (format!("{client} {named}"), true),
        (format!("{unknown} {named}"), true),
        (answer.to_owned(), false),
        // nginx answers before it looks at addresses.
        (format!("deny all; {answer}"), false),
        (format!("{client} {answer}"), true),
        (format!("{method} {answer}"), true),
        (format!("{unknown} {answer}"), true),
        (format!("{answer} {client}"), false),
        (format!("internal; {answer}"), true),
    ] {
        let text = format!("server {{ listen 80; server_name a.test; {APP} location /in/ {{ {content} }} }}");
        let found = imported(&text);
        assert_eq!(!found.text.contains("status = 200"), closes, "{content}: {}", found.text);
        assert!(!closes || refuses(&route(&site(&found, "a.test"), "/in/")), "{content}: {}", found.text);
    }
}

#[test]
fn named_locations_that_lead_to_each_other_are_closed() {
    let found = imported(
        "server { listen 80; server_name a.test; location / { try_files $uri @a; } location @a { try_files $uri @b; }\n\
         location @b { try_files $uri @a; } }",
    );
    assert!(refuses(&site(&found, "a.test")), "{}", found.text);
}

#[test]
fn another_spelling_is_as_the_expression_that_ignores_case_says() {
    let text = "server { listen 80; server_name a.test; if ($request_uri ~ ^/admin) { return 444; }\n\
         location / { proxy_pass http://127.0.0.1:1; } location /Admin { proxy_pass http://127.0.0.1:2; }\n\
         location ~* ^/admin$ { return 404; } }";
    let a = site(&imported(text), "a.test");
    for path in ["/Admin", "/ADMIN"] {
        assert_eq!(route_by(&a, "exact", path)["respond"]["status"].as_integer(), Some(404), "{path}: {a}");
    }
}

#[test]
fn a_condition_beside_try_files_is_answered_404() {
    let of = |condition: &str, more: &str| {
        of_server(&format!(
            "location @app {{ proxy_pass http://127.0.0.1:1; }}\n\
             location / {{ if ({condition}) {{ set $x y; }} try_files $uri @app; {more} }}"
        ))
    };
    let client = "$remote_addr = 10.1.1.5";
    // The named location has no such condition, so that the one that leads to it is closed.
    for condition in [client, "$request_method = POST", "$query_string != \"\""] {
        assert!(denies_all(&of(condition, "")), "{condition}: {}", of(condition, ""));
    }
    let site = of("$uri ~ ^/hidden", "");
    assert_eq!(route(&site, "/hidden")["respond"]["status"].as_integer(), Some(404), "{site}");
    // An error page is inherited, and a service too.
    for more in ["error_page 404 = @app;", "proxy_pass http://127.0.0.1:2;"] {
        assert!(!of(client, more).to_string().contains("deny"), "{more}: {}", of(client, more));
    }
}
