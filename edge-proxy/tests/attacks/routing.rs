//! S10 to S14 and unknown names: the destination and the source of a request.

use crate::edge::{Edge, site};
use crate::names::VERSIONS;
use crate::wire2::Http2;
use crate::wire3::{Http3, run};
use edge_proxy::config::{Access, Auth, CaseSensitivity, ForwardAuth, PathMatch, Route, Site};
use std::io::{Read, Write};
use testkit::Origin;

/// Returns the status of the response to a GET of a.test over this version. `None` without a response.
fn status(edge: &Edge, version: u8, path: &str) -> Option<String> {
    match version {
        1 => {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
            edge.send(request.as_bytes()).get(9..12).map(str::to_owned)
        }
        2 => Http2::connect(edge.tls, &edge.root, "a.test").get("a.test", path).status().map(str::to_owned),
        _ => run(async {
            let answer = Http3::connect(edge.tls, &edge.root, "a.test").await.get("a.test", path).await;
            answer.status().map(str::to_owned)
        }),
    }
}

#[test]
fn s10_disagreeing_authorities() {
    let edge = Edge::before(Origin::simple());
    for request in [
        &b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        b"GET http://b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://user@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test:port\r\n\r\n",
    ] {
        edge.assert_refused(request, 400);
    }
    let answer = edge.send(b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(edge.origin.text().starts_with("GET /x HTTP/1.1\r\nHost: a.test\r\n"), "{}", edge.origin.text());
}

#[test]
fn s11_a_host_of_another_site_than_the_sni() {
    let edge = Edge::before(Origin::simple());
    let mut stream = edge.tls("a.test", &[b"http/1.1"]).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 421");
    edge.assert_nothing_forwarded();
}

#[test]
fn s12_connection_cannot_strip_what_the_proxy_sets() {
    let edge = Edge::before(Origin::simple());
    edge.send(
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Forwarded-For, X-Real-IP, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    let forwarded = edge.origin.text();
    assert!(forwarded.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{forwarded}");
    assert!(forwarded.contains("X-Real-IP: 127.0.0.1\r\n"), "{forwarded}");
    for gone in ["6.6.6.6", "X-Mine", "Keep-Alive", "Connection"] {
        assert!(!forwarded.contains(gone), "{gone} was forwarded: {forwarded}");
    }
}

#[test]
fn s13_aliases_of_fields_that_the_proxy_sets() {
    let edge = Edge::before(Origin::simple());
    edge.send(
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX_Forwarded_For: 6.6.6.6\r\nX.Real.IP: 6.6.6.6\r\nx_forwarded-proto: gopher\r\nForwarded: for=6.6.6.6\r\n\r\n",
    );
    let forwarded = edge.origin.text();
    assert!(forwarded.contains("X-Forwarded-For: 127.0.0.1"), "{forwarded}");
    for gone in ["6.6.6.6", "gopher", "X_F", "X.R"] {
        assert!(!forwarded.contains(gone), "{gone} was forwarded: {forwarded}");
    }
}

#[test]
fn s13_httpoxy() {
    let edge = Edge::before(Origin::simple());
    let answer =
        edge.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nProxy: http://evil/\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(!edge.origin.text().contains("evil"), "{}", edge.origin.text());
}

#[test]
fn s14_paths_are_forwarded_as_they_came() {
    let edge = Edge::before(Origin::simple());
    for path in ["/a%2fb", "/a%5cb", "//a", "/a/../b", "/a;b=c", "/%E2%82%AC?%00", "/."] {
        let answer =
            edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:?}");
        assert!(
            edge.origin.text().contains(&format!("GET {path} HTTP/1.1\r\n")),
            "{path}: {}",
            edge.origin.text()
        );
    }
}

/// Returns a site whose `/admin` is for 192.0.2.0/24 alone.
fn guarded() -> Site {
    let mut guarded = site("a.test");
    let mut admin = Route::forward("origin");
    admin.path = PathMatch::Prefix("/admin".into());
    admin.access = Access { allow: vec!["192.0.2.0/24".parse().unwrap()], deny: Vec::new() };
    guarded.routes.push(admin);
    guarded
}

#[test]
fn s14_ambiguous_paths_where_the_path_decides_access() {
    let guarded = guarded();
    let edge = Edge::with(Origin::simple(), vec![guarded]);
    for path in
        ["/x/../admin", "/%61dmin/..%2fadmin", "//admin", "/x%2f..%2fadmin", "/;/admin", "/x\\..\\admin"]
    {
        let answer =
            edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer:?}");
    }
    // `;` within a segment and escapes of letters hide it as well, and so does what ends a path.
    for path in ["/admin;x", "/%61dmin", "/%2561dmin", "/admin%00", "/admin%3fx", "/a/..;/admin", "/admin%20"]
    {
        let answer =
            edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer:?}");
    }
    // Letter case is no way around.
    for path in ["/ADMIN", "/Admin/x"] {
        let answer =
            edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(answer, "", "{path}");
    }
    edge.assert_nothing_forwarded();
    let answer = edge.send(b"GET /admin HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!(answer, "", "the address list keeps this client out, in silence");
    edge.assert_nothing_forwarded();
}

#[test]
fn s14_paths_with_one_decision_pass_beside_a_guarded_route() {
    let mut guarded = site("a.test");
    let mut admin = Route::forward("origin");
    admin.path = PathMatch::Prefix("/admin".into());
    admin.access = Access { allow: vec!["192.0.2.0/24".parse().unwrap()], deny: Vec::new() };
    guarded.routes.push(admin.clone());
    let edge = Edge::with(Origin::simple(), vec![guarded.clone()]);
    for path in ["/npm/@scope%2fpkg", "/a//b", "/a;v=1/b", "/%41", "/a%5cb", "/x/../y", "/administer"] {
        let answer =
            edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:?}");
        assert!(edge.origin.text().contains(&format!("GET {path} HTTP/1.1\r\n")), "{}", edge.origin.text());
    }
    // A route can say that case counts.
    guarded.routes[1].case = CaseSensitivity::Exact;
    let edge = Edge::with(Origin::simple(), vec![guarded]);
    let answer = edge.send(b"GET /ADMIN HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

#[test]
fn s14_paths_of_several_readings_over_every_version() {
    let guarded = guarded();
    let edge = Edge::with(Origin::simple(), vec![guarded]);
    for version in VERSIONS {
        for path in ["/x/../admin", "/%61dmin", "//admin", "/admin;x", "/x%2f..%2fadmin", "/%2561dmin"] {
            assert_eq!(status(&edge, version, path).as_deref(), Some("400"), "version {version}: {path}");
        }
        for path in ["/admin", "/ADMIN/x"] {
            assert_eq!(status(&edge, version, path), None, "version {version}: {path}");
        }
    }
    edge.assert_nothing_forwarded();
    for version in VERSIONS {
        let path = format!("/npm/@scope%2f{version}");
        assert_eq!(status(&edge, version, &path).as_deref(), Some("200"), "version {version}");
        assert!(edge.origin.text().contains(&format!("GET {path} ")), "{}", edge.origin.text());
    }
}

#[test]
fn s23_a_service_that_decides_is_asked_about_every_reading() {
    // It keeps /admin to itself, and reads what it is asked about as it is written.
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let denied = text.starts_with("GET /auth ") && text.contains("X-Forwarded-Uri: /admin");
        let status = if denied { "403 Forbidden" } else { "200 OK" };
        Some((format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes(), end))
    });
    let mut asked = site("a.test");
    asked.auth = Some(Auth::Forward(ForwardAuth {
        upstream: "origin".into(),
        path: "/auth".into(),
        copy: Vec::new(),
    }));
    let edge = Edge::with(origin, vec![asked]);
    let get = |path: &str| {
        edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes())
    };
    for path in ["/admin", "/x/../admin", "//admin", "/%61dmin", "/admin;x"] {
        assert!(get(path).starts_with("HTTP/1.1 403"), "{path}");
    }
    for version in VERSIONS {
        for path in ["/x/../admin", "/%61dmin", "/admin;x"] {
            assert_eq!(status(&edge, version, path).as_deref(), Some("403"), "version {version}: {path}");
        }
        assert_eq!(status(&edge, version, "/x/../%2e%2e/admin;y//z").as_deref(), Some("400"));
    }
    let many = get("/public/../admin/%2e%2e/x;y//z");
    assert!(many.starts_with("HTTP/1.1 400"), "{many}");
    for path in ["/public", "/npm/@scope%2fpkg", "/a//b?q=//"] {
        assert!(get(path).starts_with("HTTP/1.1 200"), "{path}");
    }
    assert!(edge.origin.text().contains("X-Forwarded-Uri: /npm/@scope/pkg\r\n"), "{}", edge.origin.text());
    assert!(!edge.origin.text().contains("GET /admin"), "{}", edge.origin.text());
}

#[test]
fn sinkhole_closes_without_a_byte() {
    let edge = Edge::before(Origin::simple());
    for request in [
        &b"GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0",
    ] {
        assert_eq!(edge.send(request), "", "{}", request.escape_ascii());
    }
    edge.assert_nothing_forwarded();
}

#[test]
fn sinkhole_on_the_tls_port() {
    let edge = Edge::before(Origin::simple());
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"[..], b"\0\0\0\0\0\0\0\0", b"\x16\x03\x01\x00\x05hello"]
    {
        let mut stream = std::net::TcpStream::connect(edge.tls).unwrap();
        stream.write_all(bytes).unwrap();
        assert_eq!(crate::edge::read(&mut stream), "", "{}", bytes.escape_ascii());
    }
    assert!(edge.tls("unknown.test", &[]).is_err());
    assert!(edge.tls("127.0.0.1", &[]).is_err());
    edge.assert_nothing_forwarded();
}

#[test]
fn s27_a_scanner_of_a_plain_listener_learns_nothing() {
    let edge = Edge::before(Origin::simple());
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40_000));
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\nHost: 192.0.2.2\r\n\r\n",
        "GET / HTTP/1.1\r\nX : y\r\nHost: stranger.test\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        &long,
    ] {
        assert_eq!(edge.send(request.as_bytes()), "", "{}", &request[..request.len().min(60)]);
    }
    // Whoever names a site is told what is wrong.
    let named = edge.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n");
    assert!(named.starts_with("HTTP/1.1 400 "), "{named}");
    // As is whoever had an answer on this connection before.
    let second = edge.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(second.contains("HTTP/1.1 400 "), "{second}");
    assert_eq!(edge.origin.text().matches("GET ").count(), 1);
}
