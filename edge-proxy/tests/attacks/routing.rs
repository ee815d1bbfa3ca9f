//! S10 to S14 and unknown names: the destination and the source of a request.

use crate::edge::{Edge, site};
use edge_proxy::config::{Access, PathMatch, Route};
use std::io::{Read, Write};
use testkit::Origin;

#[test]
fn s10_disagreeing_authorities() {
    let edge = Edge::before(Origin::simple());
    for request in [
        &b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
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
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    edge.assert_nothing_forwarded();
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

#[test]
fn s14_ambiguous_paths_where_the_path_decides_access() {
    let mut guarded = site("a.test");
    let mut admin = Route::forward("origin");
    admin.path = PathMatch::Prefix("/admin".into());
    admin.access = Access { allow: vec!["192.0.2.0/24".parse().unwrap()], deny: Vec::new() };
    guarded.routes.push(admin);
    let edge = Edge::with(Origin::simple(), vec![guarded]);
    for path in
        ["/x/../admin", "/%61dmin/..%2fadmin", "//admin", "/x%2f..%2fadmin", "/;/admin", "/x\\..\\admin"]
    {
        let answer =
            edge.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer:?}");
    }
    edge.assert_nothing_forwarded();
    let answer = edge.send(b"GET /admin HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!(answer, "", "the address list keeps this client out, in silence");
    edge.assert_nothing_forwarded();
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
