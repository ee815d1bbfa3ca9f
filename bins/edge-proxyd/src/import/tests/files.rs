//! Files that nginx looks at: error pages and switches of maintenance.

use super::{APP, Impact, Import, denies_all, noted, parse, site};
use crate::import::{Options, import};
use std::path::Path;

/// Imports a server whose files are below `root` on this machine.
fn imported_below(root: &Path, content: &str) -> Import {
    let text = format!("server {{ listen 80; server_name a.test; {content} }}");
    let directives =
        parse("nginx.conf", &text, &mut |_| Err("nothing is included".into())).expect("nginx's grammar");
    let options = Options { domain: None, folder: "/etc/nginx".into(), root: Some(root.to_owned()) };
    import(&directives, &options)
}

#[test]
fn an_error_page_is_a_file_that_nginx_serves_to_everyone() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(root.path().join("www/errors")).expect("a folder");
    for name in ["404.html", "index.php", "errors/404.html"] {
        std::fs::write(root.path().join("www").join(name), "text").expect("written");
    }
    for (page, locations, serves) in [
        ("/404.html", "", true),
        ("/404.html", "location = /404.html { internal; }", true),
        ("/404.html", "location ~ \\.php$ { fastcgi_pass 127.0.0.1:9000; }", true),
        ("/404.html", "location ~* \\.(css|html)$ { expires 1d; }", true),
        ("/index.php", "location ~ \\.php$ { fastcgi_pass 127.0.0.1:9000; }", false),
        ("/index.php", "location ~ [^/]\\.php(/|$) { fastcgi_pass 127.0.0.1:9000; }", false),
        ("/404.html", "location ~* \\.HTML$ { deny all; }", false),
        ("/404.html", "location ~\\.html$ { auth_basic x; auth_basic_user_file /u; }", false),
        ("/404.html", "location ~ \\.html$ { root /other; }", false),
        ("/404.html", "location ~ \\.html$ { deny all; } location = /404.html { internal; }", true),
        ("/404.html", "location = /404.html { allow 10.0.0.0/8; deny all; }", false),
        ("/errors/404.html", "location ^~ /errors/ { internal; } location ~ html { deny all; }", true),
        ("/errors/404.html", "location ^~ /errors/ { deny all; }", false),
        ("/errors/404.html", "location /errors/ { location ~ html { return 403; } }", false),
        ("/errors/../404.html", "", false),
    ] {
        let content = format!(
            "root /www; error_page 404 {page}; {locations} location /app/ {{ proxy_pass http://127.0.0.1:1; }}"
        );
        let found = imported_below(root.path(), &content);
        assert_eq!(found.text.contains("error_page = ["), serves, "{page} {locations}: {}", found.text);
        assert!(serves || noted(&found, Impact::Different, "error_page"), "{page} {locations}");
    }
}

/// Of restrictions that the page inherits from its server: nobody gets a page from edge-proxyd that nginx refuses.
#[test]
fn an_error_page_that_inherits_a_restriction_is_sent_to_those_who_pass_it() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("www")).expect("a folder");
    std::fs::write(root.path().join("www/x.html"), "text").expect("written");
    const BASIC: &str = "auth_basic x; auth_basic_user_file /u;";
    for (server, statuses) in [
        ("error_page 401 404 /x.html;".to_owned(), "[401, 404]"),
        // Clients who are denied get no answer at all here.
        ("error_page 403 404 /x.html; allow 10.0.0.0/8; deny all;".into(), "[403, 404]"),
        ("error_page 404 /x.html; deny all; location = /x.html { allow all; }".into(), "[404]"),
        (
            "error_page 404 /x.html; deny all; location /open/ { allow all; proxy_pass http://127.0.0.1:1; }"
                .into(),
            "",
        ),
        (format!("error_page 401 404 /x.html; {BASIC}"), "[404]"),
        (format!("error_page 401 =401 /x.html; {BASIC}"), ""),
        (
            format!("error_page 401 404 /x.html; {BASIC} location = /x.html {{ auth_basic off; }}"),
            "[401, 404]",
        ),
        // An expression takes the place of the prefix, and inherits the password.
        (
            format!(
                "error_page 401 404 /x.html; {BASIC} location /x {{ auth_basic off; }} location ~ html$ {{ expires 1d; }}"
            ),
            "",
        ),
        (
            format!(
                "error_page 404 /x.html; {BASIC} location /open/ {{ auth_basic off; proxy_pass http://127.0.0.1:1; }}"
            ),
            "",
        ),
    ] {
        let content = format!("root /www; {server} location /app/ {{ proxy_pass http://127.0.0.1:1; }}");
        let found = imported_below(root.path(), &content);
        let key = format!("status = {statuses}, file");
        assert_eq!(found.text.contains(&key), !statuses.is_empty(), "{server}: {}", found.text);
        assert_eq!(found.text.contains("error_page = ["), !statuses.is_empty(), "{server}: {}", found.text);
        assert!(!statuses.is_empty() || noted(&found, Impact::Different, "error_page"), "{server}");
    }
}

#[test]
fn a_site_that_is_in_maintenance_is_closed() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(root.path().join("www")).expect("a folder");
    std::fs::write(root.path().join("www/on"), "").expect("written");
    for (file, closes) in [
        ("/www/on", true),
        ("$document_root/on", true),
        ("/www/off", false),
        ("$document_root/off", false),
        ("on", true),
    ] {
        let content = format!("root /www; if (-f {file}) {{ return 503; }} {APP}");
        let found = imported_below(root.path(), &content);
        assert_eq!(denies_all(&site(&found, "a.test")), closes, "{file}: {}", found.text);
        assert_eq!(noted(&found, Impact::Different, "if"), !closes, "{file}");
    }
    // The folder of a location is its own, and that of `alias` is not known.
    for (folder, closes) in [("root /other;", false), ("alias /www/;", true), ("root /www;", true)] {
        let content = format!(
            "root /www; location / {{ {folder} if (-f $document_root/on) {{ return 503; }} proxy_pass http://127.0.0.1:1; }}"
        );
        let found = imported_below(root.path(), &content);
        assert_eq!(denies_all(&site(&found, "a.test")), closes, "{folder}: {}", found.text);
    }
}
