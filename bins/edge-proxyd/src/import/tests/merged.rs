//! Routes that have the same keys as the one around them, and facts that keys do not show.

use super::*;

/// Returns the configuration of a server with these directives, in which `location /in/` adds `inner` to what
/// `location /` does.
fn around(outer: &str, inner: &str) -> Import {
    imported(&format!(
        "limit_req_zone $binary_remote_addr zone=one:10m rate=10r/s;\n\
         server {{ listen 443 ssl; server_name a.test; {outer}\n\
         location /in/ {{ {inner} proxy_pass http://127.0.0.1:1; }} location / {{ proxy_pass http://127.0.0.1:1; }} }}"
    ))
}

fn has_route(import: &Import) -> bool {
    import.text.contains("path = \"/in/\"")
}

#[test]
fn a_rate_of_a_location_is_noted_though_its_keys_are_those_of_another() {
    assert!(!has_route(&around("", "")));
    let found = around("", "limit_req zone=one burst=5 nodelay;");
    assert!(has_route(&found), "{}", found.text);
    assert!(noted(&found, Impact::Open, "limit_req zone=one burst=5"), "{:#?}", found.notes);
    // Inherited, it is that of the site.
    let found = around("limit_req zone=one;", "");
    assert!(!has_route(&found) && !noted(&found, Impact::Open, "limit_req "), "{}", found.text);
    assert_eq!(site(&found, "a.test")["rate"]["client"].as_str(), Some("10/s"));
}

#[test]
fn rates_of_locations_without_a_route_are_noted() {
    let text = |server: &str| {
        imported(&format!(
            "limit_req_zone $binary_remote_addr zone=one:10m rate=10r/s; server {{ listen 80; server_name a.test; {server} }}"
        ))
    };
    let found = text(
        "location ~ \\.php$ { limit_req zone=one burst=7; proxy_pass http://127.0.0.1:1; } location / { proxy_pass http://127.0.0.1:1; }",
    );
    assert!(noted(&found, Impact::Open, "limit_req zone=one burst=7"), "{:#?}", found.notes);
    let found = text(
        "location / { limit_req zone=one burst=8; try_files $uri @app; } location @app { proxy_pass http://127.0.0.1:1; }",
    );
    assert!(noted(&found, Impact::Open, "limit_req zone=one burst=8"), "{:#?}", found.notes);
    let found = text(&format!("limit_req zone=all burst=9; limit_req zone=one; {APP}"));
    assert!(noted(&found, Impact::Open, "limit_req zone=all burst=9"), "{:#?}", found.notes);
    assert_eq!(site(&found, "a.test")["rate"]["client"].as_str(), Some("10/s"));
}

#[test]
fn fields_of_certificates_are_those_of_every_location() {
    let asked = "ssl_client_certificate /ca.pem; ssl_verify_client optional;";
    let found = around(asked, "proxy_set_header X-Cert $ssl_client_s_dn;");
    let headers = &site(&found, "a.test")["client_certificates"]["headers"];
    assert_eq!(headers["X-Cert"].as_str(), Some("subject"), "{}", found.text);
    assert!(has_route(&found));
    let issuer =
        "location /cert/ { proxy_set_header x-cert $ssl_client_i_dn; proxy_pass http://127.0.0.1:1; }";
    let found = around(&format!("{asked} {issuer}"), "proxy_set_header X-Cert $ssl_client_s_dn;");
    assert!(
        noted(&found, Impact::Different, "proxy_set_header x-cert $ssl_client_i_dn")
            || noted(&found, Impact::Different, "proxy_set_header X-Cert $ssl_client_s_dn"),
        "{:#?}",
        found.notes
    );
}

#[test]
fn another_source_of_the_client_s_address_is_noted_at_its_location() {
    let found = around("", "set_real_ip_from 10.0.0.0/8; real_ip_header X-Real-IP;");
    assert!(has_route(&found), "{}", found.text);
    assert!(noted(&found, Impact::Different, "location /in/"), "{:#?}", found.notes);
    let found = around("", "set_real_ip_from 10.0.0.0/8; allow 10.1.1.1; deny all;");
    assert!(noted(&found, Impact::Closed, "location /in/"), "{:#?}", found.notes);
    assert!(denies_all(&route(&site(&found, "a.test"), "/in/")));
}

#[test]
fn notes_and_reasons_of_a_location_are_kept() {
    let found = around("", "proxy_set_header X-Forwarded-For $http_x_other;");
    assert!(noted(&found, Impact::Different, "proxy_set_header X-Forwarded-For"), "{:#?}", found.notes);
    // What was closed for two reasons stays closed when one of them is gone.
    let found = around("a_directive_of_tomorrow on;", "modsecurity on;");
    assert!(has_route(&found), "{}", found.text);
    assert_eq!(found.text.matches("`modsecurity on`").count(), 1, "{}", found.text);
}
