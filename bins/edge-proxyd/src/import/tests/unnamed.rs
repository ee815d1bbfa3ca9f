//! Servers that answer for names that no server has.

use super::{APP, imported, imported_at, noted, site, sites, texts};
use crate::import::Impact;
use toml::Value;

#[test]
fn a_default_server_is_a_site_of_every_other_name_at_its_listener() {
    let text = format!(
        "server {{ listen 80 default_server; listen 443 ssl default_server; server_name _;\n\
         ssl_certificate /etc/ssl/any.pem; ssl_certificate_key /etc/ssl/any.key; {APP} }}\n\
         server {{ listen 80; listen 443 ssl; listen 8080; server_name a.test;\n\
         ssl_certificate /etc/ssl/a.pem; ssl_certificate_key /etc/ssl/a.key; {APP} }}"
    );
    let found = imported(&text);
    let any = site(&found, "*");
    assert_eq!(any["certificate"].as_str(), Some("/etc/ssl/any.pem"));
    let mut bound = texts(&any["listen"]);
    bound.sort_unstable();
    assert_eq!(bound, ["http", "https"], "{}", found.text);
    assert!(noted(&found, Impact::Different, "server"), "{:?}", found.notes);
    // With a name of its own as well.
    let text = format!(
        "server {{ listen 80; server_name b.test; return 204; }} server {{ listen 80 default_server; server_name a.test; {APP} }}"
    );
    let found = imported(&text);
    assert_eq!(texts(&site(&found, "a.test")["hosts"]), ["a.test", "*"], "{}", found.text);
}

#[test]
fn a_folder_of_certificates_has_none_for_every_other_name() {
    let text = format!(
        "server {{ listen 443 ssl default_server; server_name a.test;\n\
         ssl_certificate /etc/letsencrypt/live/a.test/fullchain.pem; ssl_certificate_key /etc/letsencrypt/live/a.test/privkey.pem; {APP} }}"
    );
    let found = imported(&text);
    assert_eq!(site(&found, "*")["certificate"].as_str(), Some("/etc/letsencrypt/live/a.test/fullchain.pem"));
    assert!(!site(&found, "a.test").contains_key("certificate"), "{}", found.text);
    // Without a file, no certificate is known for other names.
    let found = imported(&format!("server {{ listen 443 ssl default_server; server_name a.test; {APP} }}"));
    assert!(sites(&found, "*").is_empty() && noted(&found, Impact::Closed, "server"), "{}", found.text);
}

#[test]
fn the_first_server_answers_for_other_names_only_if_it_has_none() {
    let found =
        imported(&format!("server {{ listen 80; {APP} }} server {{ listen 80; server_name a.test; {APP} }}"));
    assert_eq!(sites(&found, "*").len(), 1, "{}", found.text);
    let found = imported(&format!("server {{ listen 80; server_name a.test; {APP} }}"));
    assert!(sites(&found, "*").is_empty(), "{}", found.text);
    // --domain names it.
    let found =
        imported_at(&format!("server {{ listen 80 default_server; server_name _; {APP} }}"), Some("a.test"));
    assert!(sites(&found, "*").is_empty() && sites(&found, "a.test").len() == 1, "{}", found.text);
}

#[test]
fn a_default_server_that_refuses_is_none() {
    for content in [
        "return 444;",
        "return 404;",
        "ssl_reject_handshake on; return 403;",
        "root /var/www; location / { try_files $uri =404; }",
        "return 301 https://$host$request_uri;",
    ] {
        let found = imported(&format!(
            "server {{ listen 80 default_server; server_name _; {content} }} server {{ listen 80; server_name a.test; {APP} }}"
        ));
        assert!(sites(&found, "*").is_empty(), "{content}\n{}", found.text);
    }
    // Another name is an answer.
    let found = imported("server { listen 80 default_server; return 302 http://a.test/; }");
    assert_eq!(site(&found, "*")["redirect"].as_str(), Some("http://a.test/"), "{}", found.text);
}

#[test]
fn tls_of_every_other_name_is_passed_on_at_its_listener_alone() {
    let text = format!(
        "http {{ server {{ listen 192.0.2.1:443 ssl; server_name www.test; ssl_certificate /a.pem; ssl_certificate_key /a.key; {APP} }} }}\n\
         stream {{ map $ssl_preread_server_name $to {{ default 10.0.0.9:443; a.test 10.0.0.1:443; }}\n\
         server {{ listen 198.51.100.1:443; ssl_preread on; proxy_pass $to; }} }}"
    );
    let found = imported(&text);
    assert!(
        site(&found, "*")["passthrough"].as_str().is_some_and(|name| found.text.contains(name)),
        "{}",
        found.text
    );
    // What ends here is not at the listener that passes TLS on.
    assert_eq!(
        site(&found, "www.test").get("listen").map(texts),
        Some(vec!["https-192.0.2.1"]),
        "{}",
        found.text
    );
    assert!(
        site(&found, "*").get("listen").is_some_and(|listen: &Value| texts(listen) == ["tls-198.51.100.1"]),
        "{}",
        found.text
    );
    assert!(noted(&found, Impact::Different, "proxy_pass"), "{:?}", found.notes);
}
