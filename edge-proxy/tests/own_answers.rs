//! The proxy's own answers: the fields that the site promises are in each of them, they have no content where none may
//! be, the access record counts what was sent, and HTTP/3 is advertised only where it is served.
#![cfg(feature = "server")]

mod common;

use common::wire2::Http2;
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use edge_proxy::config::{Action, Hsts, Listener, PathMatch, Route};
use edge_proxy::{AccessRecord, Observer, Proxy, Reason};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Origin, answer};

/// Keeps the status, the path and the number of bytes of each answer.
#[derive(Default)]
struct Records(Mutex<Vec<(Option<u16>, String, u64)>>);

impl Observer for Records {
    fn access(&self, record: &AccessRecord<'_>) {
        self.0.lock().unwrap().push((record.status, record.target.to_owned(), record.sent));
    }
}

/// An edge whose paths end in answers of its own, and what it records.
fn refusing() -> (Edge, Arc<Records>) {
    let mut edge = Edge::before(testkit::nobody(), 1);
    let site = &mut edge.config.sites[0];
    site.response_policies.hsts = Some(Hsts { max_age: 77, include_subdomains: false, preload: false });
    site.response_fields.set.push(("X-Frame-Options".into(), "DENY".into()));
    site.body_limit = Some(10);
    let mut denied =
        Route::new(PathMatch::Exact("/denied".into()), Action::Forward { upstream: "origin".into() });
    denied.access.allow.push("192.0.2.1/32".parse().unwrap());
    let mut methods =
        Route::new(PathMatch::Exact("/put".into()), Action::Forward { upstream: "origin".into() });
    methods.methods = vec!["PUT".into()];
    let (mut routes, here) = (vec![denied, methods], site.routes.remove(1));
    let mut all =
        Route::new(PathMatch::Prefix("/away".into()), Action::Forward { upstream: "origin".into() });
    all.response_fields.set.push(("X-Route".into(), "away".into()));
    routes.extend([all, here]);
    site.routes = routes;
    site.reject = edge_proxy::config::Reject::Alert;
    let records = Arc::new(Records::default());
    let proxy = Proxy::builder()
        .config(edge.config.clone())
        .certificates(edge.certificates.clone())
        .observer(records.clone())
        .workers(1)
        .start()
        .unwrap();
    edge.proxy = proxy;
    (edge, records)
}

/// The answers that the proxy makes itself: path, length of the content that is announced, and status.
const REFUSALS: [(&str, &str, &str, u16); 6] = [
    ("GET", "/nowhere", "", 404),
    ("GET", "/denied", "", 403),
    ("GET", "/put", "", 405),
    ("PUT", "/away", "100", 413),
    ("GET", "/away", "", 502),
    ("HEAD", "/nowhere", "", 404),
];

#[test]
fn every_answer_has_the_fields_of_its_site_and_is_counted() {
    let (edge, records) = refusing();
    for (method, path, length, status) in REFUSALS {
        let (head, bodiless) = (format!("HTTP/1.1 {status} "), method == "HEAD");
        let line = format!("{status} ");
        let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
        let announced =
            if length.is_empty() { String::new() } else { format!("Content-Length: {length}\r\n") };
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: a.test\r\n{announced}\r\n").unwrap();
        let got = read_until(&mut stream, "\r\n\r\n");
        assert!(got.starts_with(&head), "{path}: {got}");
        for field in ["X-Frame-Options: DENY", "Strict-Transport-Security: max-age=77", "Alt-Svc: h3="] {
            assert!(got.contains(field), "{path}: {field} is missing: {got}");
        }
        assert_eq!(got.contains("X-Route: away"), path == "/away", "{got}");
        assert_eq!(got.contains("Allow: PUT"), status == 405, "{got}");

        let fields: Vec<(&[u8], &[u8])> =
            if length.is_empty() { Vec::new() } else { vec![(b"content-length", length.as_bytes())] };
        let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
        let stream = client.request(method, "a.test", path, &fields, length.is_empty());
        let got = client.answer(stream);
        assert_eq!(got.status().map(|status| format!("{status} ")), Some(line.clone()));
        assert_eq!(got.field("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(got.field("strict-transport-security"), Some("max-age=77"), "{path}");
        assert!(got.field("alt-svc").is_some(), "{path}: {got:?}");
        assert_eq!(got.content.is_empty(), bodiless, "{path}: {got:?}");
        let over2 = got.content.len() as u64;

        let got = wire3::run(async {
            let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
            let (mut send, mut reader) = client.open(&wire3::request(method, "a.test", path, &fields)).await;
            if length.is_empty() {
                send.finish().unwrap();
            }
            reader.answer().await
        });
        assert_eq!(got.status().map(|status| format!("{status} ")), Some(line));
        assert_eq!((got.field("x-frame-options"), got.field("alt-svc")), (Some("DENY"), None), "{path}");
        assert_eq!(got.content.is_empty(), bodiless, "{path}: {got:?}");

        let records = || {
            let all = records.0.lock().unwrap();
            let of =
                all.iter().filter(|(with, of, sent)| (*with, &of[..], *sent) == (Some(status), path, over2));
            of.count()
        };
        for _ in 0..200 {
            if records() >= 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(records() >= 3, "{path}: {over2} bytes were sent, and recorded are {:?}", records());
    }
}

/// An origin that sends 103 before each answer.
fn hinting() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let mut said = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".to_vec();
        said.extend(answer("ok"));
        Some((said, end))
    })
}

#[test]
fn http3_is_advertised_by_the_listeners_that_serve_it_and_in_final_answers_only() {
    let origin = hinting();
    let mut edge = Edge::before(origin.address(), 1);
    let any = |ip: std::net::IpAddr| SocketAddr::new(ip, 0);
    edge.config.listeners = vec![
        Listener::plain(any(Ipv4Addr::LOCALHOST.into())),
        Listener::tls(any(Ipv4Addr::LOCALHOST.into())).http3(true),
        Listener::tls(any(Ipv4Addr::LOCALHOST.into())),
        Listener::tls(any(Ipv6Addr::LOCALHOST.into())),
        Listener::tls(any(Ipv4Addr::UNSPECIFIED.into())).http3(true),
    ];
    for https_port in [None, Some(443)] {
        edge.config.https_port = https_port;
        let proxy = Proxy::builder()
            .config(edge.config.clone())
            .certificates(edge.certificates.clone())
            .workers(1)
            .start()
            .unwrap();
        let addresses = proxy.addresses();
        for (at, advertised) in [(1, true), (2, false), (3, false), (4, true)] {
            let mut address = addresses[at];
            if address.ip().is_unspecified() {
                address.set_ip(Ipv4Addr::new(127, 0, 0, 9).into());
            }
            let expected =
                advertised.then(|| format!("h3=\":{}\"; ma=86400", https_port.unwrap_or(address.port())));
            let got = Http2::connect(address, edge.root(), "a.test").get("a.test", "/");
            assert_eq!(got.field("alt-svc").map(str::to_owned), expected, "listener {at}");
            assert!(!got.sections[0].iter().any(|(name, _)| name == "alt-svc"), "in 103: {got:?}");
            assert_eq!(got.sections[0][0].1, "103");

            let mut stream = tls(address, &http1(edge.root())).unwrap();
            write!(stream, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
            let hints = read_until(&mut stream, "\r\n\r\n");
            assert!(hints.starts_with("HTTP/1.1 103 ") && !hints.contains("Alt-Svc"), "{hints}");
            let head = read_until(&mut stream, "\r\n\r\n");
            assert_eq!(head.contains("Alt-Svc: h3="), advertised, "listener {at}: {head}");
        }
    }
}

/// The record of a request has the target that the client sent, not the one that a route makes of it.
#[test]
fn a_request_is_recorded_by_the_target_that_the_client_sent() {
    let origin = Origin::simple();
    let mut edge = Edge::before(origin.address(), 1);
    let forward = Action::Forward { upstream: "origin".into() };
    let mut route = Route::new(PathMatch::Prefix("/api".into()), forward);
    (route.strip_prefix, route.add_prefix) = (Some("/api".into()), Some("/v2".into()));
    edge.config.sites[0].routes.insert(0, route);
    let records = Arc::new(Records::default());
    edge.proxy =
        Proxy::builder().config(edge.config.clone()).observer(records.clone()).workers(1).start().unwrap();
    let mut client = std::net::TcpStream::connect(edge.plain()).unwrap();
    client.write_all(b"GET /api/users?page=2 HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    read_until(&mut client, "\r\n\r\n");
    assert!(origin.wait(|text| text.starts_with("GET /v2/users?page=2 ")), "{}", origin.text());
    let began = std::time::Instant::now();
    while records.0.lock().unwrap().is_empty() && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let recorded: Vec<_> = records.0.lock().unwrap().iter().map(|(_, target, _)| target.clone()).collect();
    assert_eq!(recorded, ["/api/users?page=2"]);
}

/// Over HTTP/2 and HTTP/3 a malformed head resets the stream alone, which the operator learns nevertheless.
#[test]
fn malformed_heads_are_counted_over_every_version() {
    let edge = Edge::before(testkit::nobody(), 1);
    let assert_rejected = |count: u64| {
        let rejected = || {
            let counts = edge.proxy.metrics().rejected;
            counts.iter().find(|(known, _)| *known == Reason::MalformedHead).map_or(0, |(_, count)| *count)
        };
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while rejected() < count && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(rejected(), count);
    };
    let bad: [(&[u8], &[u8]); 5] = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"a.test"),
        (b":path", b"/here"),
        (b"bad name", b"1"),
    ];
    let mut http2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    let stream = http2.open(&bad, true);
    assert_eq!(http2.answer(stream).status(), None);
    assert_eq!(http2.get("a.test", "/here").status(), Some("200"));
    assert_rejected(1);
    wire3::run(async {
        let http3 = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let (mut send, _reader) = http3.open(&wire3::headers(&bad)).await;
        let _ = send.finish();
        assert_eq!(http3.get("a.test", "/here").await.status(), Some("200"));
    });
    assert_rejected(2);
}
