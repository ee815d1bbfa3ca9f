//! Fields that the edge vouches for, claimed by clients of every version of HTTP in heads and in trailers: the service sees the
//! edge's own, or none.

mod common;

use common::wire2::{END_HEADERS, END_STREAM, Field, HEADERS, Http2, block};
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use edge_proxy::config::{CertificateField, ClientCertificates, Route, Site, Trust, TrustedHeader};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use testkit::{Authority, Origin, answer};

/// Names that the edge vouches for, as HTTP/2 writes them, and other spellings that a service may take for them.
const NAMES: [&str; 13] = [
    "client-cert",
    "client_cert",
    "client~cert",
    "client-cert-chain",
    "client_cert-chain",
    "client.cert.chain",
    "x-request-id",
    "x_request_id",
    "x!request!id",
    "cf-connecting-ip",
    "cf_connecting_ip",
    "cf-connecting_ip",
    "cf'connecting'ip",
];

/// What no service may ever see.
const FORGED: &str = "192.0.2.66";

/// A service that takes content in chunks with trailers.
fn service() -> Origin {
    Origin::scripted(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let whole = text.contains("\r\n0\r\n") && text.ends_with("\r\n\r\n");
        whole.then(|| (answer("ok"), bytes.len()))
    })
}

/// An edge whose site `b.test` asks for client certificates, with request ids and a custom field for the client's address.
fn edge(origin: &Origin, clients: &Authority) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    let ca = edge.folder.path().join("clients.pem");
    std::fs::write(&ca, clients.root()).unwrap();
    edge.authority.write(&edge.folder.path().join("b"), &["b.test"]);
    edge.certificates.refresh().unwrap();
    let mut asked = ClientCertificates::required(ca);
    asked.fields.push(("Client-Cert-Chain".into(), CertificateField::Chain));
    let mut site = Site::new("b", vec!["b.test".parse().unwrap()]).route(Route::forward("origin"));
    site.client_certificates = Some(asked);
    edge.config.sites.push(site);
    edge.config.request_id = Some("X-Request-ID".into());
    edge.config.trust = Trust {
        // None of the clients here.
        ranges: vec!["203.0.113.0/24".parse().unwrap()],
        header: TrustedHeader::Custom("CF-Connecting-IP".into()),
        ..Trust::default()
    };
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// The fields of a client, in a head or in trailers.
fn forged() -> Vec<Field<'static>> {
    let field = |name: &&'static str| (name.as_bytes(), FORGED.as_bytes());
    NAMES.iter().map(field).chain([(&b"x-sum"[..], &b"kept"[..])]).collect()
}

/// Waits for a request of this path with its trailers, and asserts that it has nothing of the client's claims.
#[track_caller]
fn assert_clean(origin: &Origin, path: &str, certificates: usize) {
    let begin = format!("POST {path} ");
    let whole = |text: &str| {
        text.find(&begin).is_some_and(|at| text[at..].contains("\r\n0\r\n") && text.ends_with("\r\n\r\n"))
    };
    assert!(origin.wait(whole), "{path}: {}", origin.text());
    let text = origin.text();
    let request = &text[text.find(&begin).unwrap()..];
    assert!(!request.contains(FORGED), "{path}: {request}");
    // What the client may say arrives, in the head and in the trailers.
    assert_eq!(request.to_lowercase().matches("x-sum: kept\r\n").count(), 2, "{path}: {request}");
    let names: Vec<_> = request
        .lines()
        .filter_map(|line| line.split_once(": ").map(|(name, _)| name.to_lowercase().replace('_', "-")))
        .collect();
    let count = |name: &str| names.iter().filter(|known| *known == name).count();
    assert_eq!((count("x-request-id"), count("cf-connecting-ip")), (1, 0), "{path}: {request}");
    assert_eq!((count("client-cert"), count("client-cert-chain")), (certificates, 0), "{path}: {request}");
}

#[test]
fn s33_claims_of_clients_go_no_further_in_any_version() {
    let (origin, clients) = (service(), Authority::named("the authority of clients"));
    let edge = edge(&origin, &clients);
    let fields = forged();
    let lines: String = fields
        .iter()
        .map(|(name, value)| {
            format!("{}: {}\r\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        })
        .collect();
    // HTTP/1.1, with and without TLS.
    let request = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n{lines}\r\n1\r\nx\r\n0\r\n{lines}\r\n"
        )
    };
    let mut plain = TcpStream::connect(edge.plain()).unwrap();
    plain.write_all(request("/plain").as_bytes()).unwrap();
    assert!(read_until(&mut plain, "\r\n\r\nok").starts_with("HTTP/1.1 200"));
    assert_clean(&origin, "/plain", 0);
    let mut first = tls(edge.tls(), &http1(edge.root())).unwrap();
    first.write_all(request("/h1").as_bytes()).unwrap();
    assert!(read_until(&mut first, "\r\n\r\nok").starts_with("HTTP/1.1 200"));
    assert_clean(&origin, "/h1", 0);
    // HTTP/2, also where a certificate was verified.
    let pair = clients.issue_client("Ann", 7);
    for (name, path, certificates) in [("a.test", "/h2", 0), ("b.test", "/h2-with-certificate", 1)] {
        let config = common::client(edge.root(), Some(&pair), &[b"h2"], rustls::ALL_VERSIONS);
        let mut http2 = Http2::try_connect(edge.tls(), Arc::new(config), name).unwrap();
        let stream = http2.request("POST", name, path, &fields, false);
        http2.data(stream, b"x", false);
        http2.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields));
        assert_eq!(http2.answer(stream).status(), Some("200"), "{path}");
        assert_clean(&origin, path, certificates);
    }
    // HTTP/3.
    wire3::run(async {
        let http3 = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let bytes =
            [wire3::request("POST", "a.test", "/h3", &fields), wire3::data(b"x"), wire3::headers(&fields)];
        assert_eq!(http3.ask(&bytes.concat()).await.status(), Some("200"));
    });
    assert_clean(&origin, "/h3", 0);
    assert!(origin.text().contains("Client-Cert: :MII"), "{}", origin.text());
}

/// Sends a request of this version with fields, and returns what reached the service of it.
fn reached(edge: &Edge, origin: &Origin, version: u8, path: &str, fields: &[(&str, &str)]) -> String {
    let raw: Vec<Field<'_>> =
        fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    match version {
        1 => {
            let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let mut stream = tls(edge.tls(), &http1(edge.root())).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            assert!(read_until(&mut stream, "\r\n\r\nok").starts_with("HTTP/1.1 200"));
        }
        2 => {
            let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
            let stream = client.request("GET", "a.test", path, &raw, true);
            assert_eq!(client.answer(stream).status(), Some("200"));
        }
        _ => wire3::run(async {
            let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
            let answer = client.ask(&wire3::request("GET", "a.test", path, &raw)).await;
            assert_eq!(answer.status(), Some("200"));
        }),
    }
    let text = origin.text();
    let begin = text.find(&format!("GET {path} ")).expect("the request");
    text[begin..].split("\r\n\r\n").next().unwrap_or_default().to_owned()
}

/// A field that is to have one address, from a trusted proxy.
#[test]
fn s35_an_address_that_comes_twice_or_in_a_list_is_none() {
    let origin = Origin::simple();
    let mut edge = Edge::before(origin.address(), 1);
    let mut number = 0;
    for (header, name) in [
        (TrustedHeader::XRealIp, "x-real-ip"),
        (TrustedHeader::Custom("CF-Connecting-IP".into()), "cf-connecting-ip"),
    ] {
        let ranges = vec!["127.0.0.0/8".parse().unwrap()];
        edge.config.trust = Trust { ranges, header, ..Trust::default() };
        edge.proxy.reload(edge.config.clone()).unwrap();
        let underscores = name.replace('-', "_");
        let list = format!("{FORGED}, {FORGED}");
        for version in [1, 2, 3] {
            let mut ask = |fields: &[(&str, &str)]| {
                number += 1;
                reached(&edge, &origin, version, &format!("/{number}"), fields)
            };
            let one = ask(&[(name, FORGED)]);
            assert!(one.contains(&format!("X-Real-IP: {FORGED}")), "version {version}: {one}");
            for fields in [
                &[(name, FORGED), (name, FORGED)][..],
                &[(name, FORGED), (name, "not an address")],
                &[(name, list.as_str())],
                &[(underscores.as_str(), FORGED)],
            ] {
                let text = ask(fields);
                assert!(!text.contains(FORGED), "version {version}, {fields:?}: {text}");
                assert!(text.contains("X-Real-IP: 127.0.0.1"), "version {version}, {fields:?}: {text}");
            }
        }
    }
}
