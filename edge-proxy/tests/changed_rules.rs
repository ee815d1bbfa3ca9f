//! Open connections of a site whose rules change by a reload: the next request is decided by the rules in force, which a
//! handshake of before cannot meet.

mod common;

use common::wire2::Http2;
use common::wire3::{self, Http3};
use common::{Edge, Tls, http1, read_until, tls};
use edge_proxy::Reason;
use edge_proxy::config::{CertificateMode, ClientCertificates, PlainHttp, Protocol, Target, Upstream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use testkit::{Authority, Origin};

/// Makes `a.test` ask for client certificates of this authority.
fn asks(edge: &mut Edge, clients: &Authority) {
    let ca = edge.folder.path().join("clients.pem");
    std::fs::write(&ca, clients.root()).unwrap();
    let site = &mut edge.config.sites[0];
    (site.plain, site.early_data) = (PlainHttp::Redirect, false);
    site.client_certificates = Some(ClientCertificates::required(ca));
    edge.proxy.reload(edge.config.clone()).unwrap();
}

/// Sends a request by HTTP/1.1 and returns the status line. The content of a response is `ok` or that of an error.
fn get(tls: &mut Tls, path: &str) -> String {
    write!(tls, "GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let head = read_until(tls, "\r\n\r\n");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    tls.read_exact(&mut vec![0; length.unwrap()]).unwrap();
    head.lines().next().unwrap().to_owned()
}

/// Asserts that connections of every version that were open before a change get 421 for this reason after it, and that nothing
/// of their requests reaches the origin.
fn assert_misdirected(edge: &mut Edge, origin: &Origin, change: impl FnOnce(&mut Edge), reason: Reason) {
    let mut first = tls(edge.tls(), &http1(edge.root())).unwrap();
    let mut second = Http2::connect(edge.tls(), edge.root(), "a.test");
    assert_eq!(get(&mut first, "/before"), "HTTP/1.1 200 OK");
    assert_eq!(second.get("a.test", "/before").status(), Some("200"));
    wire3::run(async {
        let third = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        assert_eq!(third.get("a.test", "/before").await.status(), Some("200"));
        change(edge);
        assert_eq!(edge.refused(reason), 0);
        assert_eq!(third.get("a.test", "/after").await.status(), Some("421"));
        edge.assert_refused(reason, 1);
        assert_eq!(second.get("a.test", "/after").status(), Some("421"));
        edge.assert_refused(reason, 2);
        assert!(get(&mut first, "/after").starts_with("HTTP/1.1 421 "));
        edge.assert_refused(reason, 3);
        // Again, and with content.
        let content: &[u8] = &[wire3::request("POST", "a.test", "/after", &[]), wire3::data(b"x")].concat();
        assert_eq!(third.ask(content).await.status(), Some("421"));
        let stream = second.request("POST", "a.test", "/after", &[], false);
        second.data(stream, b"x", true);
        assert_eq!(second.answer(stream).status(), Some("421"));
        edge.assert_refused(reason, 5);
        // Over QUIC the site is there no more.
        assert!(!wire3::is_answered(edge.tls(), edge.root(), "a.test").await);
    });
    let seen = origin.text();
    assert!(seen.matches("/before").count() == 3 && !seen.contains("/after"), "{seen}");
}

#[test]
fn s25_a_site_that_begins_to_ask_has_no_use_for_its_open_connections() {
    let (origin, clients) = (Origin::simple(), Authority::named("the authority of clients"));
    let mut edge = Edge::before(origin.address(), 1);
    let reason = Reason::ClientCertificateNotAsked;
    assert_misdirected(&mut edge, &origin, |edge| asks(edge, &clients), reason);
    // Whoever comes again is asked.
    let pair = clients.issue_client("Ann", 7);
    for (pair, served) in [(Some(&pair), true), (None, false)] {
        let config = common::client(edge.root(), pair, &[b"h2"], rustls::ALL_VERSIONS);
        let status = Http2::try_connect(edge.tls(), Arc::new(config), "a.test")
            .ok()
            .and_then(|mut http2| http2.get("a.test", "/again").status().map(str::to_owned));
        assert_eq!(status.as_deref(), served.then_some("200"));
    }
    assert_eq!(origin.text().matches("/again").count(), 1);
}

#[test]
fn s25_changed_rules_end_the_use_of_an_http2_connection() {
    let (origin, clients) = (Origin::simple(), Authority::named("the authority of clients"));
    let mut edge = Edge::before(origin.address(), 1);
    asks(&mut edge, &clients);
    let pair = clients.issue_client("Ann", 7);
    let config = Arc::new(common::client(edge.root(), Some(&pair), &[b"h2"], rustls::ALL_VERSIONS));
    let list = edge.folder.path().join("revoked.pem");
    let other = edge.folder.path().join("others.pem");
    std::fs::write(&other, format!("{}{}", clients.root(), Authority::named("others").root())).unwrap();
    let write = |revoked: &[u64]| std::fs::write(&list, clients.revoke(revoked, 2090)).unwrap();
    type Change<'a> = &'a dyn Fn(&mut ClientCertificates);
    let changes: [(&str, Change<'_>); 5] = [
        ("a list", &|asked| {
            write(&[8]);
            asked.crl = Some(list.clone());
        }),
        ("another list in the same file", &|_| write(&[8, 9])),
        ("no certificate is required", &|asked| asked.mode = CertificateMode::Optional),
        ("another authority too", &|asked| asked.ca.clone_from(&other)),
        ("no list", &|asked| asked.crl = None),
    ];
    let reason = Reason::ClientCertificateNotAsked;
    for (number, (what, change)) in changes.into_iter().enumerate() {
        let mut open = Http2::try_connect(edge.tls(), config.clone(), "a.test").unwrap();
        assert_eq!(open.get("a.test", "/before").status(), Some("200"), "before {what}");
        // A reload that changes nothing about certificates is none to them.
        edge.config.sites[0].body_limit = Some(1000 + number as u64);
        edge.proxy.reload(edge.config.clone()).unwrap();
        assert_eq!(open.get("a.test", "/before").status(), Some("200"), "before {what}");
        change(edge.config.sites[0].client_certificates.as_mut().unwrap());
        edge.proxy.reload(edge.config.clone()).unwrap();
        assert_eq!(open.get("a.test", "/after").status(), Some("421"), "{what}");
        edge.assert_refused(reason, number as u64 + 1);
    }
    assert!(!origin.text().contains("/after"), "{}", origin.text());
}

#[test]
fn s31_a_site_that_is_passed_through_has_no_use_for_its_open_connections() {
    let (origin, behind) = (Origin::simple(), Origin::simple());
    let mut edge = Edge::before(origin.address(), 1);
    let raw = behind.address();
    let change = |edge: &mut Edge| {
        let target = Target::Tcp { host: raw.ip().to_string(), port: raw.port() };
        edge.config.upstreams.push(Upstream { protocol: Protocol::Tcp, ..Upstream::new("raw", target) });
        let site = &mut edge.config.sites[0];
        (site.passthrough, site.plain) = (Some("raw".into()), PlainHttp::Refuse);
        site.routes.clear();
        edge.proxy.reload(edge.config.clone()).unwrap();
    };
    assert_misdirected(&mut edge, &origin, change, Reason::NotTerminated);
    // Nothing that was decrypted here is at the server behind, which gets TLS as it comes.
    assert_eq!(behind.connections(), 0);
    let mut session =
        rustls::ClientConnection::new(http1(edge.root()), "a.test".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(edge.tls()).unwrap();
    session.write_tls(&mut stream).unwrap();
    assert!(behind.wait(|text| text.starts_with('\u{16}')), "{:?}", behind.text());
}
