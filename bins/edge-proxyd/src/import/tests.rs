//! Configurations as people write them, and what becomes of them.

mod answers;
mod files;
mod merged;
mod places;
mod services;
mod settings;
mod strictness;
mod unnamed;
mod vouched;

use super::{Impact, Import, Options, import, parse};
use toml::{Table, Value};

fn imported(text: &str) -> Import {
    imported_at(text, None)
}

fn imported_at(text: &str, domain: Option<&str>) -> Import {
    let directives =
        parse("nginx.conf", text, &mut |_| Err("nothing is included".into())).expect("nginx's grammar");
    let options = Options { domain: domain.map(String::from), folder: "/etc/nginx".into(), root: None };
    let found = import(&directives, &options);
    // Files that it names are not there; everything else has to be in order.
    if let Err(problems) = crate::config::read("edge.toml", &found.text) {
        let said = problems.to_string();
        let other: Vec<&str> = said.lines().filter(|line| !line.contains("cannot be read")).collect();
        assert!(other.iter().all(|line| line.trim().is_empty()), "{}\n{said}", found.text);
    }
    found
}

fn table(import: &Import) -> Table {
    import.text.parse().unwrap_or_else(|why| panic!("{why}\n{}", import.text))
}

/// Returns the site of a host.
fn site(import: &Import, host: &str) -> Table {
    let sites = sites(import, host);
    assert_eq!(sites.len(), 1, "{host}\n{}", import.text);
    sites[0].clone()
}

fn sites(import: &Import, host: &str) -> Vec<Table> {
    let all = table(import).remove("site").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let has = |site: &&Value| match &site["hosts"] {
        Value::String(one) => one == host,
        Value::Array(all) => all.iter().any(|one| one.as_str() == Some(host)),
        _ => false,
    };
    all.iter().filter(has).filter_map(|site| site.as_table().cloned()).collect()
}

/// Returns the route with this path, which is written as one of the three kinds of paths.
fn route(site: &Table, path: &str) -> Table {
    let all = site.get("route").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = all.iter().find(|route| {
        ["path", "begins", "exact"].iter().any(|key| route.get(key).and_then(Value::as_str) == Some(path))
    });
    found.and_then(Value::as_table).cloned().unwrap_or_else(|| panic!("{path}: {site:#?}"))
}

fn denies_all(table: &Table) -> bool {
    table.get("deny").is_some_and(|deny| deny.as_array().is_some_and(|all| all.len() == 2))
}

fn refuses(table: &Table) -> bool {
    denies_all(table)
        || table.get("respond").is_some_and(|respond| {
            respond["status"].as_integer().is_some_and(|status| (400..500).contains(&status))
        })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Returns whether a note of this harm is about a directive that begins so.
fn noted(import: &Import, impact: Impact, directive: &str) -> bool {
    import.notes.iter().any(|note| note.impact == impact && note.directive.starts_with(directive))
}

const APP: &str = "location / { proxy_pass http://127.0.0.1:3000; proxy_set_header Host $host; }";

#[test]
fn a_server_at_a_private_address_stays_there() {
    let text = format!(
        "server {{ listen 203.0.113.1:443 ssl; server_name www.test; {APP} }}\n\
         server {{ listen 100.64.0.2:443 ssl; server_name admin.test; {APP} }}\n\
         server {{ listen 100.64.0.2:80; server_name metrics.test; {APP} }}"
    );
    let found = imported(&text);
    let bound =
        |host: &str| texts(&site(&found, host)["listen"]).into_iter().map(String::from).collect::<Vec<_>>();
    assert_eq!(bound("www.test"), ["https-203.0.113.1"]);
    assert_eq!(bound("admin.test"), ["https-100.64.0.2"]);
    assert_eq!(bound("metrics.test"), ["http-100.64.0.2"]);
}

#[test]
fn real_ip_of_one_server_does_not_speak_for_another() {
    let text = format!(
        "server {{ listen 80; server_name lan.test; set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP; {APP} }}\n\
         server {{ listen 80; server_name admin.test; allow 10.1.1.5; deny all; {APP} }}"
    );
    let found = imported(&text);
    assert!(denies_all(&site(&found, "admin.test")), "{}", found.text);
    assert!(noted(&found, Impact::Closed, "server"), "{:?}", found.notes);
    let text = format!(
        "set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;\n\
         server {{ listen 80; server_name admin.test; allow 10.1.1.5; deny all; {APP} }}"
    );
    let found = imported(&text);
    assert_eq!(site(&found, "admin.test")["allow"].as_str(), Some("10.1.1.5/32"));
    assert_eq!(table(&found)["trust"]["header"].as_str(), Some("x-real-ip"));
    for (recursive, closed) in [("", true), ("real_ip_recursive on;", false)] {
        let text = format!(
            "set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; {recursive}\n\
             server {{ listen 80; server_name a.test; allow 10.1.1.5; deny all; {APP} }}"
        );
        assert_eq!(denies_all(&site(&imported(&text), "a.test")), closed, "{recursive}");
    }
}

#[test]
fn a_header_of_a_service_s_own_is_the_one_that_is_trusted() {
    let text = format!(
        "set_real_ip_from 173.245.48.0/20; set_real_ip_from 2400:cb00::/32; real_ip_header CF-Connecting-IP;\n\
         server {{ listen 80; server_name a.test; allow 10.1.1.5; deny all; {APP} }}"
    );
    let found = imported(&text);
    assert_eq!(table(&found)["trust"]["header"].as_str(), Some("CF-Connecting-IP"));
    let found = imported(&text.replace("173.245.48.0/20", "0.0.0.0/0"));
    assert!(!table(&found).contains_key("trust") && denies_all(&site(&found, "a.test")), "{}", found.text);
}

#[test]
fn locations_that_deny_stay_denied() {
    let text = format!(
        "geo $lan {{ default 0; 10.0.0.0/8 1; }}\n\
         server {{ listen 80; server_name a.test; {APP}\n\
         location /admin {{ deny all; }}\n location /metrics {{ allow 127.0.0.1; deny all; }}\n\
         location ~ ^/secret {{ allow 10.0.0.0/8; deny all; proxy_pass http://127.0.0.1:3000; }}\n\
         location /ro {{ limit_except GET {{ deny all; }} proxy_pass http://127.0.0.1:3000; }}\n\
         location /files {{ alias /srv; }}\n location = /one {{ proxy_pass http://127.0.0.1:1/other; }} }}\n\
         server {{ listen 80; server_name dots.test; location ~ /\\.(?!well-known) {{ deny all; }} {APP} }}\n\
         server {{ listen 80; server_name lan.test; if ($lan = 0) {{ return 403; }} {APP} }}\n\
         server {{ listen 80; server_name agent.test; if ($http_user_agent ~ bot) {{ return 403; }} {APP} }}\n\
         server {{ listen 80; server_name waf.test; modsecurity on; {APP} }}\n\
         server {{ listen 80; server_name new.test; a_directive_of_tomorrow on; {APP} }}"
    );
    let found = imported(&text);
    let a = site(&found, "a.test");
    for path in ["/admin", "/metrics", "/files", "/one"] {
        assert!(refuses(&route(&a, path)), "{path}\n{}", found.text);
    }
    assert_eq!(route(&a, "/secret")["allow"].as_str(), Some("10.0.0.0/8"));
    assert_eq!(texts(&route(&a, "/ro")["methods"]), ["GET"]);
    assert_eq!(site(&found, "lan.test")["allow"].as_str(), Some("10.0.0.0/8"));
    for host in ["dots.test", "agent.test", "waf.test", "new.test"] {
        assert!(denies_all(&site(&found, host)), "{host}\n{}", found.text);
    }
    for directive in
        ["location ~ /\\.", "if ($http_user_agent", "modsecurity on", "a_directive_of", "alias /srv"]
    {
        assert!(noted(&found, Impact::Closed, directive), "{directive}: {:#?}", found.notes);
    }
    assert!(found.text.matches("# closed: nginx.conf:").count() >= 5, "{}", found.text);
    assert!(found.notes.iter().all(|note| note.impact != Impact::Open), "{:#?}", found.notes);
}

#[test]
fn authentication_is_taken_over() {
    let text = "server { listen 80; server_name a.test; auth_request /authelia;\n\
         location /authelia { internal; proxy_pass http://127.0.0.1:9091/api/verify; }\n\
         location / { auth_request_set $user $upstream_http_remote_user; proxy_set_header Remote-User $user; proxy_pass http://127.0.0.1:1; }\n\
         location /open { auth_request off; proxy_pass http://127.0.0.1:1; } }\n\
         server { listen 80; server_name b.test; location = /auth { internal; proxy_pass http://127.0.0.1:4180/oauth2/auth; }\n\
         location / { auth_request /auth; auth_request_set $u $upstream_http_x_user; proxy_set_header X-User $u; proxy_pass http://127.0.0.1:1; } }\n\
         server { listen 80; server_name c.test; auth_request /nowhere; location /in/ { proxy_pass http://127.0.0.1:1; } }\n\
         server { listen 80; server_name d.test; satisfy any; allow 10.0.0.0/8; deny all; auth_basic \"the \\\"staff\\\"\"; auth_basic_user_file users;\n\
         location / { proxy_pass http://127.0.0.1:1; proxy_set_header X-User $remote_user; } }";
    let found = imported(text);
    let a = site(&found, "a.test");
    assert_eq!(route(&a, "/")["auth"]["service"].as_str(), Some("authelia"));
    assert!(!route(&a, "/open").contains_key("auth") && refuses(&route(&a, "/authelia")), "{}", found.text);
    let b = route(&site(&found, "b.test"), "/");
    assert_eq!(
        (b["auth"]["path"].as_str(), texts(&b["auth"]["copy"])),
        (Some("/oauth2/auth"), vec!["X-User"])
    );
    assert!(denies_all(&route(&site(&found, "c.test"), "/in/")), "{}", found.text);
    let d = site(&found, "d.test");
    assert_eq!((d["satisfy"].as_str(), d["auth"]["realm"].as_str()), (Some("any"), Some("the staff")));
    assert_eq!(d["auth"]["users"].as_str(), Some("/etc/nginx/users"));
    assert_eq!(d["auth"]["user_header"].as_str(), Some("X-User"));
}

#[test]
fn client_certificates_are_asked_for() {
    let text = "server { listen 443 ssl; server_name a.test; ssl_client_certificate /ca.pem; ssl_verify_client on;\n\
         location / { proxy_pass http://127.0.0.1:1; proxy_set_header X-DN $ssl_client_s_dn; } }\n\
         server { listen 443 ssl; server_name b.test; ssl_client_certificate /ca.pem; ssl_verify_client optional;\n\
         location / { proxy_pass http://127.0.0.1:1; }\n\
         location /in/ { if ($ssl_client_verify != SUCCESS) { return 403; } proxy_pass http://127.0.0.1:1; } }\n\
         server { listen 443 ssl; server_name c.test; ssl_verify_client optional_no_ca;\n\
         location / { if ($ssl_client_verify != SUCCESS) { return 403; } proxy_pass http://127.0.0.1:1; } }";
    let found = imported(text);
    let asked = &site(&found, "a.test")["client_certificates"];
    assert_eq!(
        (asked["mode"].as_str(), asked["headers"]["X-DN"].as_str()),
        (Some("required"), Some("subject"))
    );
    let b = site(&found, "b.test");
    assert_eq!(b["client_certificates"]["mode"].as_str(), Some("optional"));
    assert_eq!(route(&b, "/in/")["require_certificate"].as_bool(), Some(true));
    assert!(!route(&b, "/").contains_key("require_certificate"));
    let c = site(&found, "c.test");
    assert!(denies_all(&c) || denies_all(&route(&c, "/")), "{}", found.text);
}

#[test]
fn sites_for_https_only_are_not_served_in_clear() {
    let certbot = format!(
        "server {{ if ($host = www.a.test) {{ return 301 https://$host$request_uri; }} # managed by Certbot\n\
         if ($host = a.test) {{ return 301 https://$host$request_uri; }} listen 80; server_name a.test www.a.test; return 404; }}\n\
         server {{ listen 443 ssl; server_name a.test www.a.test; {APP} }}"
    );
    let one_by_one = format!(
        "server {{ listen 80; server_name a.test; return 301 https://a.test$request_uri; }}\n\
         server {{ listen 80; server_name www.a.test; rewrite ^(.*)$ https://$host$1 permanent; }}\n\
         server {{ listen 443 ssl; server_name a.test www.a.test; {APP} }}"
    );
    let scheme = format!(
        "server {{ listen 80; listen 443 ssl; server_name a.test www.a.test; if ($scheme = http) {{ return 301 https://$host$request_uri; }} {APP} }}"
    );
    let manager = format!(
        "server {{ listen 80; listen 443 ssl; server_name a.test www.a.test; set $test \"\"; if ($scheme = \"http\") {{ set $test \"H\"; }}\n\
         if ($request_uri = /.well-known/acme-challenge/test-challenge) {{ set $test \"${{test}}T\"; }}\n\
         if ($test = H) {{ return 301 https://$host$request_uri; }} {APP} }}"
    );
    let default = format!(
        "server {{ listen 80 default_server; server_name _; return 301 https://$host$request_uri; }}\n\
         server {{ listen 443 ssl; server_name a.test www.a.test; {APP} }}"
    );
    for text in [certbot, one_by_one, scheme, manager, default] {
        let found = imported(&text);
        let site = site(&found, "www.a.test");
        assert_eq!(site["plain"].as_str(), Some("redirect"), "{text}\n{}", found.text);
        assert!(found.notes.iter().all(|note| note.impact >= Impact::Different), "{:#?}", found.notes);
    }
    let text = format!(
        "server {{ listen 443 ssl; server_name a.test; {APP} }}\nserver {{ listen 443; server_name b.test; {APP} }}"
    );
    assert_eq!(site(&imported(&text), "b.test")["plain"].as_str(), Some("refuse"));
}

#[test]
fn what_services_are_told() {
    let text = "server { listen 80; server_name a.test; location / { proxy_pass http://127.0.0.1:1; proxy_set_header X-Forwarded-Proto https;\n\
         proxy_set_header X-User $http_x_user; proxy_set_header X-Made $msec; proxy_set_header Upgrade \"\"; proxy_set_header X-Gone \"\"; } }\n\
         server { listen 80; server_name b.test; location / { return 302 $scheme://other.test/x; } location /y { return 301 $scheme://$host/x; } }\n\
         server { listen 80; server_name c.test; location /jf/ { proxy_pass http://127.0.0.1:2; } location / { proxy_pass http://127.0.0.1:1; } }";
    let found = imported(text);
    let a = site(&found, "a.test");
    assert_eq!(a["request_headers"]["set"]["X-Forwarded-Proto"].as_str(), Some("https"));
    assert_eq!(texts(&a["request_headers"]["remove"]), ["X-Made", "X-Gone"]);
    assert_eq!(a["upgrade"].as_array().map(Vec::len), Some(0));
    let b = site(&found, "b.test");
    assert_eq!(route(&b, "/")["redirect"].as_str(), Some("http://other.test/x"));
    assert_eq!(route(&b, "/y")["redirect"].as_str(), Some("/x"));
    assert_eq!(route(&site(&found, "c.test"), "/jf")["redirect"].as_str(), Some("/jf/{query}"));
}

#[test]
fn constants_are_followed() {
    let text = "upstream pool { server 127.0.0.1:1 weight=3; server 127.0.0.1:2; server 127.0.0.1:3 backup; }\n\
         map $host $to { default 127.0.0.1:8; x.test 127.0.0.1:9; }\n\
         server { listen 80; server_name app.*; location / { set $app jelly; set $port 8096; proxy_pass http://$app:$port; } }\n\
         server { listen 80; server_name p.test; location / { proxy_pass http://pool; } }\n\
         server { listen 80; server_name x.test y.test; location / { proxy_pass http://$to; } }\n\
         server { listen 80; server_name ~^(www\\.)?r\\.test$; location /w/ { rewrite ^/w/(.*)$ /$1 break; proxy_pass http://127.0.0.1:4; }\n\
         location /c/ { proxy_pass http://127.0.0.1:4/other/; } location ~ ^/(api|ws)/ { proxy_pass http://127.0.0.1:5; } }";
    let found = imported_at(text, Some("example.org"));
    let upstreams = table(&found)["upstream"].as_table().cloned().expect("upstreams");
    let target = |host: &str| {
        let name = site(&found, host)["upstream"].as_str().expect("an upstream").to_owned();
        texts(&upstreams[&name]["targets"]).into_iter().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(target("app.example.org"), ["http://jelly:8096"]);
    assert_eq!(target("x.test"), ["http://127.0.0.1:9"]);
    assert_eq!(target("y.test"), ["http://127.0.0.1:8"]);
    let pool = &upstreams["pool"];
    assert_eq!(pool["weights"]["http://127.0.0.1:1"].as_integer(), Some(3));
    assert_eq!(texts(&pool["backup"]), ["http://127.0.0.1:3"]);
    let r = site(&found, "www.r.test");
    assert_eq!(route(&r, "/w/")["strip_prefix"].as_str(), Some("/w"));
    assert_eq!(route(&r, "/c/")["add_prefix"].as_str(), Some("/other"));
    assert_eq!(route(&r, "/api/")["upstream"], route(&r, "/ws/")["upstream"]);
}

#[test]
fn an_expression_wins_over_longer_prefixes_and_loses_to_guarded_ones() {
    let text = format!(
        "server {{ listen 80; server_name a.test; {APP} location /admin/public {{ proxy_pass http://127.0.0.1:2; }}\n\
         location ^~ /admin/first {{ proxy_pass http://127.0.0.1:3; }} location ~ ^/admin {{ deny all; }} }}"
    );
    let found = imported(&text);
    let a = site(&found, "a.test");
    assert!(refuses(&route(&a, "/admin")), "{}", found.text);
    assert!(route(&a, "/admin/first").contains_key("upstream"), "{}", found.text);
    assert!(!found.text.contains("/admin/public"), "{}", found.text);
}

#[test]
fn tcp_is_forwarded() {
    let text = "stream { map $ssl_preread_server_name $to { hostnames; a.test 10.0.0.1:443; .b.test 10.0.0.2:443; }\n\
         server { listen 22; proxy_pass 100.64.0.2:22; proxy_protocol on; allow 100.64.0.0/10; deny all; proxy_timeout 2h; }\n\
         server { listen 443; ssl_preread on; proxy_pass $to; }\n server { listen 53 udp; proxy_pass 10.0.0.3:53; } }";
    let found = imported(text);
    let listens = table(&found)["listen"].as_array().cloned().expect("listeners");
    assert_eq!(listens[0]["allow"].as_str(), Some("100.64.0.0/10"));
    assert_eq!(listens[0]["idle"].as_str(), Some("2h"));
    assert!(site(&found, "*.b.test")["passthrough"].as_str().is_some(), "{}", found.text);
    assert!(noted(&found, Impact::Closed, "listen 53 udp"), "{:?}", found.notes);
}

#[test]
fn a_file_of_locations_is_a_site_of_the_domain() {
    let text =
        "location /app { return 301 $scheme://$host/app/; }\nlocation ^~ /app/ { proxy_pass http://app:80; }";
    assert!(noted(&imported(text), Impact::Closed, "location /app"));
    let found = imported_at(text, Some("example.org"));
    assert_eq!(found.sites, 1);
    assert!(route(&site(&found, "example.org"), "/app/").contains_key("upstream"), "{}", found.text);
}

#[test]
fn notes_are_in_order_of_harm_and_harmless_ones_are_marked() {
    let text = "limit_req_zone $http_x zone=z:1m rate=1r/s;\n\
         server { listen 80; server_name a.test; fastcgi_param A b; proxy_set_body x; limit_req zone=z; auth_jwt on;\n\
         location / { proxy_pass http://127.0.0.1:1; } }";
    let found = imported(text);
    let harms: Vec<Impact> = found.notes.iter().map(|note| note.impact).collect();
    assert!(
        harms.is_sorted() && harms[0] == Impact::Open && harms.last() == Some(&Impact::Harmless),
        "{:#?}",
        found.notes
    );
}

#[test]
fn names_that_never_match_and_mixed_targets_are_left_out() {
    let text = "upstream m { server unix:/run/a.sock; server 127.0.0.1:1; }\n\
         server { listen 80; server_name a.test b.test:80 b\u{fc}cher.test; location / { proxy_pass http://m; } }";
    let found = imported(text);
    assert!(noted(&found, Impact::Closed, "server_name"), "{:?}", found.notes);
    assert_eq!(texts(&table(&found)["upstream"]["m"]["targets"]), ["http://127.0.0.1:1"]);
}

#[test]
fn a_field_with_quotes_in_its_name_is_left_out() {
    let text = "server { listen 80; server_name a.test; add_header X-Frame-Options'\"DENY\" always; proxy_hide_header 'a b'; return 204; }";
    let found = imported(text);
    assert!(
        noted(&found, Impact::Different, "add_header") && !found.text.contains("DENY"),
        "{:?}",
        found.notes
    );
}

#[test]
fn letters_of_another_encoding_do_no_harm_in_comments() {
    let latin =
        String::from_utf8_lossy(b"# f\xfcr alle\nserver { listen 80; server_name a.test; return 204; }")
            .into_owned();
    assert_eq!(sites(&imported(&latin), "a.test").len(), 1);
    let word = String::from_utf8_lossy(b"server {\n server_name f\xfcr.test; }").into_owned();
    let why = parse("f", &word, &mut |_| Ok(Vec::new())).expect_err("a word");
    assert!(why.to_string().starts_with("f:2: ") && why.to_string().contains("UTF-8"), "{why}");
}

#[test]
fn listeners_of_both_families_have_names_of_their_own() {
    let text = format!(
        "server {{ listen [::]:80; server_name a.test; {APP} }}\nserver {{ listen 80; server_name b.test; {APP} }}"
    );
    let found = imported(&text);
    assert_eq!(texts(&site(&found, "a.test")["listen"]), ["http-ipv6"]);
    assert_eq!(texts(&site(&found, "b.test")["listen"]), ["http"]);
}

#[test]
fn letter_case_counts_where_a_route_lets_in_more_than_what_is_around_it() {
    let text = "server { listen 80; server_name a.test; allow 10.0.0.0/8; deny all; location / { proxy_pass http://127.0.0.1:1; }\n\
         location /lan/ { allow 192.168.0.0/16; deny all; proxy_pass http://127.0.0.1:1; }\n\
         location ~* ^/any/ { allow 172.16.0.0/12; deny all; proxy_pass http://127.0.0.1:1; } }";
    let a = site(&imported(text), "a.test");
    assert_eq!(route(&a, "/lan/").get("case").and_then(Value::as_str), Some("exact"));
    assert!(!route(&a, "/any/").contains_key("case"));
    let text = "server { listen 80; server_name a.test; location /a { proxy_pass http://127.0.0.1:1; }\n\
         location /admin/ { deny 10.0.0.1; proxy_pass http://127.0.0.1:1; } }";
    assert_eq!(route(&site(&imported(text), "a.test"), "/admin/")["case"].as_str(), Some("exact"));
    // In small letters it is within another location.
    let text =
        "server { listen 80; server_name a.test; satisfy any; location / { proxy_pass http://127.0.0.1:1; }
        location = /Admin { allow 10.1.0.0/16; limit_except GET { deny all; } proxy_pass http://127.0.0.1:2; }
        location /a { auth_basic x; auth_basic_user_file users; proxy_pass http://127.0.0.1:3; } }";
    assert_eq!(route(&site(&imported(text), "a.test"), "/Admin")["case"].as_str(), Some("exact"));
}
