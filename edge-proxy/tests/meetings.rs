//! Features where they meet: client certificates and error pages in HTTP/2 and HTTP/3, a client that is kept at a target which
//! fails, and TLS that is passed through behind a PROXY header and beside shared sessions.
#![cfg(feature = "server")]

mod common;

use common::Edge;
use common::memory_store::Memory;
use common::wire2::{self, Http2};
use common::wire3::{self, Http3};
use edge_proxy::config::{
    Action, CertificateMode, ClientCertificates, ErrorPage, PathMatch, Protocol, ProxyOut, Route, Site,
    StickyCookie, Target, Upstream,
};
use edge_proxy::{Proxy, Shared};
use quinn::crypto::rustls::QuicClientConfig;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Authority, Origin, answer, tls_client};

/// The configuration of a client with a certificate.
fn client(root: &str, pair: Option<&(String, String)>, alpn: &[u8]) -> rustls::ClientConfig {
    common::client(root, pair, &[alpn], rustls::ALL_VERSIONS)
}

/// An edge with `a.test` for everybody, and `b.test` with client certificates in this mode.
fn asking(origin: &Origin, clients: &Authority, mode: CertificateMode) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    let ca = edge.folder.path().join("clients.pem");
    std::fs::write(&ca, clients.root()).unwrap();
    edge.authority.write(&edge.folder.path().join("b"), &["b.test"]);
    edge.certificates.refresh().unwrap();
    let mut site = Site::new("b.test", vec!["b.test".parse().unwrap()]).route(Route::forward("origin"));
    let mut asked = ClientCertificates::required(&ca);
    asked.mode = mode;
    site.client_certificates = Some(asked);
    site.early_data = false;
    edge.config.sites.push(site);
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

#[test]
fn s25_client_certificates_over_http2() {
    let (origin, clients) = (Origin::simple(), Authority::named("the authority of clients"));
    let edge = asking(&origin, &clients, CertificateMode::Required);
    let pair = clients.issue_client("Ann", 7);
    let known = Arc::new(client(edge.root(), Some(&pair), b"h2"));
    for _ in 0..3 {
        let mut http2 = Http2::try_connect(edge.tls(), known.clone(), "b.test").unwrap();
        // Never resumed, so that the certificate is verified each time.
        assert_eq!(http2.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(http2.get("b.test", "/told").status(), Some("200"));
        // The certificate is of no use for another site.
        assert_eq!(http2.get("a.test", "/").status(), Some("421"));
    }
    assert!(origin.text().contains("Client-Cert: :MII"), "{}", origin.text());
    // Without one, or with another authority's, there is no request.
    let stranger = Authority::named("another").issue_client("Ann", 7);
    for pair in [None, Some(&stranger)] {
        let config = Arc::new(client(edge.root(), pair, b"h2"));
        if let Ok(mut http2) = Http2::try_connect(edge.tls(), config, "b.test") {
            assert_eq!(http2.get("b.test", "/stranger").status(), None);
        }
    }
    // The connection of another site is not one of this, with or without a certificate at hand.
    for pair in [None, Some(&pair)] {
        let config = Arc::new(client(edge.root(), pair, b"h2"));
        let mut http2 = Http2::try_connect(edge.tls(), config, "a.test").unwrap();
        assert_eq!(http2.get("b.test", "/misdirected").status(), Some("421"));
        assert_eq!(http2.get("a.test", "/").status(), Some("200"));
    }
    let seen = origin.text();
    assert!(!seen.contains("/stranger") && !seen.contains("/misdirected"), "{seen}");
}

#[test]
fn s25_sites_with_client_certificates_are_not_there_over_http3() {
    let (origin, clients) = (Origin::simple(), Authority::named("the authority of clients"));
    for mode in [CertificateMode::Required, CertificateMode::Optional] {
        let edge = asking(&origin, &clients, mode);
        let pair = clients.issue_client("Ann", 7);
        wire3::run(async {
            let http3 = Http3::connect(edge.tls(), edge.root(), "a.test").await;
            assert_eq!(http3.get("b.test", "/by-another").await.status(), Some("421"), "{mode:?}");
            assert_eq!(http3.get("a.test", "/").await.status(), Some("200"));
            for pair in [None, Some(&pair)] {
                let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
                let tls = QuicClientConfig::try_from(client(edge.root(), pair, b"h3")).unwrap();
                endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
                let connecting = endpoint.connect(edge.tls(), "b.test").unwrap();
                let made = tokio::time::timeout(Duration::from_millis(1500), connecting).await;
                assert!(made.is_err(), "{mode:?}: not a packet is answered, {made:?}");
            }
        });
        // What is not served there is not advertised, and its neighbour is.
        let known = Arc::new(client(edge.root(), Some(&pair), b"h2"));
        let mut http2 = Http2::try_connect(edge.tls(), known, "b.test").unwrap();
        assert_eq!(http2.get("b.test", "/").field("alt-svc"), None, "{mode:?}");
        let mut http2 = Http2::connect(edge.tls(), edge.root(), "a.test");
        assert!(http2.get("a.test", "/").field("alt-svc").is_some());
    }
    assert!(!origin.text().contains("/by-another"));
}

/// An origin whose answers are errors with content of their own.
fn failing() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let said = if head.contains("/missing") {
            let content = if head.starts_with("HEAD") { "" } else { "stack at 0" };
            format!(
                "HTTP/1.1 404 No\r\nContent-Length: 10\r\nSet-Cookie: s=1\r\nX-Secret: 1\r\nTrailer: X-T\r\n\r\n{content}"
            )
        } else if head.contains("/chunked") {
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstack\r\n0\r\nX-T: secret\r\n\r\n"
                .to_owned()
        } else if head.contains("/unchanged") {
            "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned()
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()
        };
        Some((said.into_bytes(), end))
    })
}

#[test]
fn error_pages_over_http2_and_http3() {
    let origin = failing();
    let mut edge = Edge::before(origin.address(), 1);
    let page = |status: u16, body: &str, intercept| ErrorPage {
        statuses: vec![status],
        content_type: "text/html; charset=utf-8".into(),
        body: body.as_bytes().to_vec(),
        intercept,
    };
    let site = &mut edge.config.sites[0];
    site.error_pages = vec![page(404, "<p>not here", true), page(502, "<p>down", false)];
    site.routes
        .push(Route::new(PathMatch::Prefix("/gone".into()), Action::Forward { upstream: "gone".into() }));
    let nobody = testkit::nobody();
    let target = Target::Tcp { host: nobody.ip().to_string(), port: nobody.port() };
    edge.config.upstreams.push(Upstream::new("gone", target));
    edge.proxy.reload(edge.config.clone()).unwrap();

    let expected = [
        ("GET", "/missing", "404", "<p>not here"),
        ("GET", "/chunked", "404", "<p>not here"),
        ("HEAD", "/missing", "404", ""),
        ("GET", "/gone", "502", "<p>down"),
        ("GET", "/unchanged", "304", ""),
        ("GET", "/", "200", "ok"),
    ];
    let looked = |what: &str,
                  status: Option<&str>,
                  content: &[u8],
                  fields: &[Vec<(String, String)>],
                  wanted: (&str, &str)| {
        assert_eq!((status, String::from_utf8_lossy(content).as_ref()), (Some(wanted.0), wanted.1), "{what}");
        let fields: HashMap<_, _> = fields.iter().flatten().cloned().collect();
        assert!(!fields.contains_key("x-secret") && !fields.contains_key("x-t"), "{what}: {fields:?}");
        if wanted.0 == "404" {
            assert_eq!(fields["content-length"], "11", "{what}");
            assert_eq!(fields["content-type"], "text/html; charset=utf-8", "{what}");
        }
        if what.contains("/missing") {
            assert_eq!(fields["set-cookie"], "s=1", "{what}");
        }
    };
    // One connection for all, so that one answer must not spoil the next.
    let mut http2 = Http2::connect(edge.tls(), edge.root(), "a.test");
    for (method, path, status, content) in expected {
        let stream = http2.request(method, "a.test", path, &[], true);
        let got = http2.answer(stream);
        assert_eq!(got.end, wire2::End::Stream, "{path}");
        looked(
            &format!("HTTP/2 {method} {path}"),
            got.status(),
            &got.content,
            &got.sections,
            (status, content),
        );
    }
    wire3::run(async {
        let http3 = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        for (method, path, status, content) in expected {
            let got = http3.ask(&wire3::request(method, "a.test", path, &[])).await;
            assert_eq!(got.end, wire3::End::Stream, "{path}");
            looked(
                &format!("HTTP/3 {method} {path}"),
                got.status(),
                &got.content,
                &got.sections,
                (status, content),
            );
        }
    });
}

/// Answers with its name, or with 503 for `/fail`.
fn named(name: &'static str) -> Origin {
    Origin::scripted(move |bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let fails = name == "one" && String::from_utf8_lossy(&bytes[..end]).contains(" /fail");
        let failure = || b"HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\none".to_vec();
        Some((if fails { failure() } else { answer(name) }, end))
    })
}

/// Sends a request over plain HTTP and returns the whole answer.
fn ask(edge: &Edge, method: &str, target: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{fields}\r\n")
        .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_kept_client_moves_when_its_target_fails() {
    let (one, two) = (named("one"), named("two"));
    let mut edge = Edge::before(one.address(), 1);
    let upstream = &mut edge.config.upstreams[0];
    upstream.targets.push(Target::Tcp { host: "127.0.0.1".into(), port: two.address().port() });
    upstream.sticky = Some(StickyCookie::new("stay"));
    (upstream.retry.attempts, upstream.retry.statuses) = (1, vec![503]);
    upstream.health.rules.failures = 0;
    edge.proxy.reload(edge.config.clone()).unwrap();
    let cookie = |said: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("Set-Cookie: "));
        line.map(|line| line.split(';').next().unwrap_or_default().to_owned())
    };
    // A client that is kept at the first.
    let first = (0..10).map(|_| ask(&edge, "GET", "/", "")).find(|said| said.ends_with("one")).unwrap();
    let kept = cookie(&first).expect(&first);
    let at = |method: &str, path: &str| ask(&edge, method, path, &format!("Cookie: other=1; {kept}\r\n"));
    for _ in 0..4 {
        let said = at("GET", "/");
        assert!(said.ends_with("one") && cookie(&said).is_none(), "{said}");
    }
    // Its target fails: what may be repeated is, at the other, which is where the client is kept from now on.
    let said = at("GET", "/fail");
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("two"), "{said}");
    let moved = cookie(&said).expect(&said);
    assert_ne!(moved, kept);
    assert!(ask(&edge, "GET", "/fail", &format!("Cookie: {moved}\r\n")).ends_with("two"));
    // What may not be repeated is answered by the target that the client is kept at, and no cookie moves it.
    let said = at("POST", "/fail");
    assert!(said.starts_with("HTTP/1.1 503") && cookie(&said).is_none(), "{said}");
    // The cookie is the proxy's own: services never see it, others they do.
    assert!(!(one.text() + &two.text()).contains("stay="));
    assert!(one.text().contains("Cookie: other=1\r\n"), "{}", one.text());
}

fn raw(name: &str, address: SocketAddr, proxy: Option<ProxyOut>) -> Upstream {
    let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
    Upstream { protocol: Protocol::Tcp, proxy_protocol: proxy, ..Upstream::new(name, target) }
}

/// A connection whose handshake asked for no certificate gets 421 from a site that does, over every version, also where sessions
/// are shared between edges; and a session that such a handshake left in the store is of no use.
#[test]
fn s25_what_shared_sessions_hold_does_not_stand_in_for_a_certificate() {
    let (origin, clients) = (Origin::simple(), Authority::named("the authority of clients"));
    let mut edge = Edge::before(origin.address(), 1);
    edge.authority.write(&edge.folder.path().join("b"), &["b.test"]);
    edge.certificates.refresh().unwrap();
    let ca = edge.folder.path().join("clients.pem");
    std::fs::write(&ca, clients.root()).unwrap();
    let mut site = Site::new("b.test", vec!["b.test".parse().unwrap()]).route(Route::forward("origin"));
    (site.early_data, edge.config.sites[0].early_data) = (true, true);
    edge.config.sites.push(site);
    let store = Arc::new(Memory::default());
    edge.proxy = Proxy::builder()
        .config(edge.config.clone())
        .certificates(edge.certificates.clone())
        .shared(Shared::new(store.clone(), b"a secret of edges, long enough to be one").unwrap())
        .workers(1)
        .start()
        .unwrap();
    let (first, second) =
        (Arc::new(client(edge.root(), None, b"http/1.1")), Arc::new(client(edge.root(), None, b"h2")));
    let open = |name: &str| -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
        let stream = TcpStream::connect(edge.tls()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let session =
            rustls::ClientConnection::new(first.clone(), name.to_owned().try_into().unwrap()).unwrap();
        rustls::StreamOwned::new(session, stream)
    };
    let get = |tls: &mut rustls::StreamOwned<rustls::ClientConnection, TcpStream>, host: &str| {
        write!(tls, "GET /here HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        let mut said = common::read_until(tls, "\r\n\r\n");
        if said.starts_with("HTTP/1.1 200") {
            said += &common::read_until(tls, "ok");
        }
        std::io::Result::Ok(said)
    };
    // Sessions of b.test without a certificate, in the store.
    for _ in 0..2 {
        assert!(get(&mut open("b.test"), "b.test").unwrap().starts_with("HTTP/1.1 200"));
        let mut http2 = Http2::try_connect(edge.tls(), second.clone(), "b.test").unwrap();
        assert_eq!(http2.get("b.test", "/").status(), Some("200"));
    }
    assert!(store.stored() > 0, "no session is in the store");
    let (mut kept, mut kept2) = (open("b.test"), Http2::connect(edge.tls(), edge.root(), "b.test"));
    assert!(get(&mut kept, "b.test").unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(kept2.get("b.test", "/").status(), Some("200"));
    wire3::run(async {
        let http3 = Http3::connect(edge.tls(), edge.root(), "b.test").await;
        assert_eq!(http3.get("b.test", "/").await.status(), Some("200"));
        let mut config = edge.config.clone();
        config.sites[1].early_data = false;
        config.sites[1].client_certificates = Some(ClientCertificates::required(&ca));
        edge.proxy.reload(config).unwrap();
        assert_eq!(http3.get("b.test", "/after").await.status(), Some("421"));
        let http3 = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        assert_eq!(http3.get("b.test", "/after").await.status(), Some("421"));
        assert_eq!(http3.get("a.test", "/").await.status(), Some("200"));
    });
    assert!(get(&mut kept, "b.test").unwrap().starts_with("HTTP/1.1 421"));
    assert_eq!(kept2.get("b.test", "/after").status(), Some("421"));
    // The name of another site in the handshake, full and resumed.
    for _ in 0..2 {
        let mut tls = open("a.test");
        assert!(get(&mut tls, "a.test").unwrap().starts_with("HTTP/1.1 200"));
        assert!(get(&mut tls, "b.test").unwrap().starts_with("HTTP/1.1 421"));
        let mut http2 = Http2::try_connect(edge.tls(), second.clone(), "a.test").unwrap();
        assert_eq!(http2.get("b.test", "/after").status(), Some("421"));
        assert_eq!(http2.get("a.test", "/").status(), Some("200"));
    }
    // The sessions from before lead to a full handshake, which fails without a certificate.
    let asked = origin.text().matches("/after").count();
    for _ in 0..2 {
        let mut tls = open("b.test");
        let _ = write!(tls, "GET /after HTTP/1.1\r\nHost: b.test\r\n\r\n");
        let mut said = String::new();
        let _ = tls.read_to_string(&mut said);
        assert!(
            said.is_empty() && tls.conn.handshake_kind() != Some(rustls::HandshakeKind::Resumed),
            "{said}"
        );
        if let Ok(mut http2) = Http2::try_connect(edge.tls(), second.clone(), "b.test") {
            assert_eq!(http2.get("b.test", "/after").status(), None);
        }
    }
    assert_eq!((asked, origin.text().matches("/after").count()), (0, 0));
}

/// TLS of `b.test` passes through an edge with shared sessions, behind a load balancer that writes PROXY headers, to a server that
/// reads them.
#[test]
fn tls_that_passes_through_behind_a_proxy_header_and_beside_shared_sessions() {
    let origin = Origin::simple();
    let mut inner = Edge::before(origin.address(), 1);
    inner.authority.write(&inner.folder.path().join("test"), &["a.test", "b.test"]);
    assert!(inner.certificates.refresh().unwrap().problems.is_empty());
    let local = vec!["127.0.0.1/32".parse().unwrap()];
    inner.config.sites[0].hosts.push("b.test".parse().unwrap());
    inner.config.listeners[1].proxy_protocol = local.clone();
    inner.proxy = Proxy::builder()
        .config(inner.config.clone())
        .certificates(inner.certificates.clone())
        .workers(1)
        .start()
        .unwrap();

    let mut outer = Edge::before(origin.address(), 1);
    let mut site = Site::new("b", vec!["b.test".parse().unwrap()]);
    site.passthrough = Some("inner".into());
    outer.config.sites[0].early_data = true;
    outer.config.sites.push(site);
    outer.config.upstreams.push(raw("inner", inner.tls(), Some(ProxyOut::V2)));
    outer.config.listeners[1].proxy_protocol = local;
    let store = Arc::new(Memory::default());
    outer.proxy = Proxy::builder()
        .config(outer.config.clone())
        .certificates(outer.certificates.clone())
        .shared(Shared::new(store.clone(), b"a secret of edges, long enough to be one").unwrap())
        .workers(1)
        .start()
        .unwrap();

    // One configuration for all connections, so that sessions are resumed.
    let config = |root: &str| Arc::new(tls_client(root, &[b"http/1.1"]));
    let (behind, here) = (config(inner.root()), config(outer.root()));
    let get = |config: &Arc<rustls::ClientConfig>,
               name: &str,
               header: &[u8]|
     -> std::io::Result<(String, Option<rustls::HandshakeKind>)> {
        let mut stream = TcpStream::connect(outer.tls())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(header)?;
        let session =
            rustls::ClientConnection::new(config.clone(), name.to_owned().try_into().unwrap()).unwrap();
        let mut tls = rustls::StreamOwned::new(session, stream);
        write!(tls, "GET /{name} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        match tls.read_to_string(&mut text) {
            Err(why) if why.kind() != std::io::ErrorKind::UnexpectedEof => Err(why),
            _ => Ok((text, tls.conn.handshake_kind())),
        }
    };
    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n";
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let before = store.asked();
        let (text, got) = get(&behind, "b.test", HEADER).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        // The inner server resumes its own session; the edge's store has no part in it.
        assert_eq!(got, Some(kind));
        assert_eq!(store.asked(), before);
    }
    let seen = origin.text();
    assert_eq!(seen.matches("X-Real-IP: 203.0.113.7\r\n").count(), 2, "{seen}");
    // The site that ends here has its sessions in the store, also behind a PROXY header.
    for _ in 0..2 {
        assert!(get(&here, "a.test", HEADER).unwrap().0.starts_with("HTTP/1.1 200"));
    }
    assert!(store.asked() > 0);
    // Without the header nobody who is to send one is passed on, and neither is a name that nobody has.
    let connections = origin.connections();
    assert!(get(&behind, "b.test", b"").is_err());
    assert!(get(&behind, "c.test", HEADER).is_err());
    assert_eq!(origin.connections(), connections);
}
