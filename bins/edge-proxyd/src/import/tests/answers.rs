//! Answers of nginx itself.

use super::*;

#[test]
fn text_has_the_media_type_of_its_location() {
    let found = imported(
        "types { application/json json; text/x-page HTM; }\n\
         server { listen 80; server_name a.test;\n\
         location /j { default_type application/json; return 200 '{}'; }\n\
         location = /k { return 200 'x'; default_type text/x-late; }\n\
         location /if { if ($request_uri = /if/a) { return 200 'x'; } default_type text/x-if; proxy_pass http://127.0.0.1:1; }\n\
         location = /x.json { default_type text/x-other; return 200 '{}'; } location = /p.htm { return 200 'x'; }\n\
         location = /n.html { return 200 'x'; } location = /dots.json/m { return 200 'x'; }\n\
         location = /own.json { types { text/x-own json; } return 200 'x'; } }\n\
         server { listen 80; server_name c.test; default_type text/x-server; return 200 'x'; }",
    );
    let a = site(&found, "a.test");
    let of = |site: &Table, path: &str| {
        route(site, path)["respond"]["content_type"].as_str().map(String::from).unwrap_or_default()
    };
    for (path, kind) in [
        ("/j", "application/json"),
        ("/k", "text/x-late"),
        ("/if/a", "text/x-if"),
        ("/x.json", "application/json"),
        ("/p.htm", "text/x-page"),
        ("/n.html", "text/plain"),
        ("/dots.json/m", "text/plain"),
        ("/own.json", "text/x-own"),
    ] {
        assert_eq!(of(&a, path), kind, "{path}\n{}", found.text);
    }
    let without = imported(
        "server { listen 80; server_name b.test; location = /n.html { return 200 'x'; } location = /n.json { return 200 'x'; } }",
    );
    let b = site(&without, "b.test");
    assert_eq!((of(&b, "/n.html").as_str(), of(&b, "/n.json").as_str()), ("text/html", "text/plain"));
    let c = site(&found, "c.test");
    assert_eq!(c["respond"]["content_type"].as_str(), Some("text/x-server"), "{}", found.text);
    assert!(found.text.contains("nginx takes that of an extension"), "{}", found.text);
}
