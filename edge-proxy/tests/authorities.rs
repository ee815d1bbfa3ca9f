//! Authorities with an empty port, and later minor versions of HTTP/1: what the service, the access record and a redirect
//! get of them.
#![cfg(feature = "server")]

mod common;

use common::wire2::Http2;
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use edge_http::host::HostPattern;
use edge_proxy::config::{PlainHttp, Route, Site};
use edge_proxy::{AccessRecord, Observer, Proxy};
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Origin;

/// The authority and the target of each recorded request.
#[derive(Default)]
struct Records(Mutex<Vec<(String, String)>>);

impl Observer for Records {
    fn access(&self, record: &AccessRecord<'_>) {
        self.0.lock().unwrap().push((record.authority.to_owned(), record.target.to_owned()));
    }
}

impl Records {
    /// Returns the authority of the request for a target, as soon as it is recorded.
    fn authority_of(&self, target: &str) -> String {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some((authority, _)) = self.0.lock().unwrap().iter().find(|(_, found)| found == target) {
                return authority.clone();
            }
            assert!(Instant::now() < until, "{target} is not recorded");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Returns an edge that serves `a.test`, also without TLS, and redirects `b.test` to HTTPS, with its records.
fn edge(origin: &Origin) -> (Edge, Arc<Records>) {
    let mut edge = Edge::before(origin.address(), 1);
    let redirected =
        Site::new("b.test", vec![HostPattern::parse("b.test").unwrap()]).route(Route::forward("origin"));
    assert_eq!(redirected.plain, PlainHttp::Redirect);
    edge.config.sites.push(redirected);
    edge.config.https_port = Some(443);
    edge.authority.write(&edge.folder.path().join("b"), &["b.test"]);
    edge.certificates.refresh().unwrap();
    let records = Arc::new(Records::default());
    edge.proxy = Proxy::builder()
        .config(edge.config.clone())
        .certificates(edge.certificates.clone())
        .observer(records.clone())
        .workers(1)
        .start()
        .unwrap();
    (edge, records)
}

/// Sends a request without TLS and returns the head of the response.
fn plain(edge: &Edge, line: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // At once: a request that is refused before its host is known gets no response.
    stream.write_all(format!("{line}\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n")
}

/// Returns the head of the request with this target as the service received it.
fn received(origin: &Origin, target: &str) -> String {
    let line = format!("GET {target} HTTP/1.1\r\n");
    assert!(origin.wait(|text| text.contains(&line)), "{target}: {}", origin.text());
    let text = origin.text();
    let head = &text[text.find(&line).unwrap()..];
    head[..head.find("\r\n\r\n").unwrap()].to_owned()
}

#[test]
fn an_empty_port_is_none_for_the_service_and_the_record() {
    let origin = Origin::simple();
    let (edge, records) = edge(&origin);
    let got = plain(&edge, "GET /plain HTTP/1.1", "a.test:");
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    let got = plain(&edge, "GET http://a.test:/absolute HTTP/1.1", "a.test:");
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
    write!(stream, "GET /tls HTTP/1.1\r\nHost: A.test:\r\n\r\n").unwrap();
    let got = read_until(&mut stream, "\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    let got = Http2::connect(edge.tls(), edge.root(), "a.test").get("a.test:", "/two");
    assert_eq!(got.status(), Some("200"));
    let got = wire3::run(async {
        Http3::connect(edge.tls(), edge.root(), "a.test").await.get("a.test:", "/three").await
    });
    assert_eq!(got.status(), Some("200"));
    for target in ["/plain", "/absolute", "/tls", "/two", "/three"] {
        let head = received(&origin, target).to_ascii_lowercase();
        assert!(head.contains("\r\nhost: a.test\r\n"), "{head}");
        assert!(
            head.contains("\r\nx-forwarded-host: a.test\r\n")
                || head.ends_with("\r\nx-forwarded-host: a.test"),
            "{head}"
        );
        assert!(!head.contains("a.test:"), "{head}");
        assert_eq!(records.authority_of(target).to_ascii_lowercase(), "a.test");
    }
}

#[test]
fn a_redirect_has_no_empty_port() {
    let origin = Origin::simple();
    let (edge, _) = edge(&origin);
    let got = plain(&edge, "GET /away?x=1 HTTP/1.1", "b.test:");
    assert!(got.starts_with("HTTP/1.1 308 ") || got.starts_with("HTTP/1.1 301 "), "{got}");
    assert!(got.contains("\r\nLocation: https://b.test/away?x=1\r\n"), "{got}");
}

#[test]
fn a_later_minor_version_is_served_as_http_1_1() {
    let origin = Origin::simple();
    let (edge, _) = edge(&origin);
    let got = plain(&edge, "GET /later HTTP/1.2", "a.test");
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    // What the service gets has the proxy's own version (RFC 9112 §2.3).
    received(&origin, "/later");
    let got = plain(&edge, "GET /major HTTP/2.1", "a.test");
    assert!(got.starts_with("HTTP/1.1 505 "), "{got}");
    assert!(!origin.text().contains("/major"), "{}", origin.text());
}

#[test]
fn a_response_of_a_later_minor_version_is_forwarded_as_http_1_1() {
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        Some((b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(), end))
    });
    let (edge, _) = edge(&origin);
    let got = plain(&edge, "GET / HTTP/1.1", "a.test");
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
}
