//! Sites of one listener, and the site of every other name: what is served at one listener is silence at the others,
//! whoever asks and by whatever transport.

mod common;

use common::any_name::AnyName;
use common::wire2::Http2;
use common::wire3::{self, Http3};
use common::{Edge, read_until};
use edge_proxy::Reason;
use edge_proxy::config::{Action, Listener, PathMatch, PlainHttp, Response, Route, Site};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Origin, tls_client};

/// The addresses of the listeners of one name.
#[derive(Clone, Copy)]
struct At {
    plain: SocketAddr,
    tls: SocketAddr,
}

/// An edge with the listeners `public` and `tailnet`, `a.test` at both, and `admin.test` at the tailnet.
fn edge(origin: &Origin, change: impl FnOnce(&mut Edge)) -> (Edge, At, At) {
    let mut edge = Edge::before(origin.address(), 1);
    edge.authority.write(&edge.folder.path().join("admin"), &["admin.test"]);
    edge.config.listeners = ["public", "tailnet"]
        .into_iter()
        .flat_map(|name| {
            let any = ([127, 0, 0, 1], 0).into();
            [Listener::plain(any).named(name), Listener::tls(any).http3(true).named(name)]
        })
        .collect();
    let mut admin = Site::new("admin", vec!["admin.test".parse().unwrap()]).route(Route::forward("origin"));
    (admin.listen, admin.plain) = (vec!["tailnet".into()], PlainHttp::Serve);
    edge.config.sites.push(admin);
    change(&mut edge);
    edge.certificates.refresh().unwrap();
    edge.proxy.reload(edge.config.clone()).unwrap();
    let addresses = edge.proxy.addresses();
    let at = |first: usize| At { plain: addresses[first], tls: addresses[first + 1] };
    let (public, tailnet) = (at(0), at(2));
    (edge, public, tailnet)
}

/// Sends bytes and returns everything that comes back.
fn answered(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(why) if why.kind() != ErrorKind::ConnectionReset => panic!("it is not closed: {why}"),
        _ => all,
    }
}

/// Returns the ClientHello of a client with this server name, and the early data that it allows.
fn hello(config: &Arc<ClientConfig>, name: &'static str) -> Vec<u8> {
    let mut session = ClientConnection::new(config.clone(), name.try_into().unwrap()).unwrap();
    if let Some(mut early) = session.early_data() {
        early.write_all(request(name, "/early").as_bytes()).unwrap();
    }
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).unwrap();
    }
    flight
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Sends a request by HTTP/1.1 over TLS. Returns the response and the kind of the handshake.
fn ask(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &'static str,
    host: &str,
    path: &str,
) -> (String, HandshakeKind) {
    let session = ClientConnection::new(config.clone(), name.try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut tls = rustls::StreamOwned::new(session, stream);
    tls.write_all(request(host, path).as_bytes()).unwrap();
    let head = read_until(&mut tls, "\r\n\r\n");
    // What the connection still says, such as tickets, is taken.
    let mut rest = Vec::new();
    let _ = tls.read_to_end(&mut rest);
    (head + &String::from_utf8_lossy(&rest), tls.conn.handshake_kind().unwrap())
}

/// Asserts that connections for this name are rejected in silence at these addresses.
fn assert_silent(edge: &Edge, at: At, name: &'static str) {
    let rejected = || {
        let counts = edge.proxy.metrics().rejected;
        counts.iter().find(|(reason, _)| *reason == Reason::UnknownName).map_or(0, |(_, count)| *count)
    };
    let before = rejected();
    assert_eq!(answered(at.plain, request(name, "/silent").as_bytes()), b"", "plain HTTP");
    let config = Arc::new(tls_client(edge.root(), &[b"h2", b"http/1.1"]));
    // Not even an alert.
    assert_eq!(answered(at.tls, &hello(&config, name)), b"", "TLS");
    wire3::run(async {
        assert!(!wire3::is_answered(at.tls, edge.root(), name).await, "QUIC");
    });
    let until = Instant::now() + Duration::from_secs(10);
    while rejected() < before + 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(rejected() >= before + 2);
}

#[test]
fn s30_a_site_of_one_listener_is_silence_at_another() {
    let origin = Origin::simple();
    let (edge, public, tailnet) = edge(&origin, |_| {});
    for name in ["admin.test", "ADMIN.test."] {
        let response = answered(tailnet.plain, request(name, "/plain").as_bytes());
        assert!(response.starts_with(b"HTTP/1.1 200"), "{name}");
    }
    let config = Arc::new(tls_client(edge.root(), &[b"http/1.1"]));
    assert!(ask(tailnet.tls, &config, "admin.test", "admin.test", "/tls").0.starts_with("HTTP/1.1 200"));
    let mut http2 = Http2::connect(tailnet.tls, edge.root(), "admin.test");
    assert_eq!(http2.get("admin.test", "/h2").status(), Some("200"));
    wire3::run(async {
        let http3 = Http3::connect(tailnet.tls, edge.root(), "admin.test").await;
        assert_eq!(http3.get("admin.test", "/h3").await.status(), Some("200"));
        // So that silence is told from a lost packet.
        assert!(wire3::is_answered(tailnet.tls, edge.root(), "admin.test").await);
        assert!(wire3::is_answered(public.tls, edge.root(), "a.test").await);
    });
    assert_silent(&edge, public, "admin.test");
    let seen = origin.text();
    assert!(!seen.contains("/silent"), "{seen}");
    for path in ["/plain", "/tls", "/h2", "/h3"] {
        assert!(seen.contains(&format!("GET {path} ")), "{path}: {seen}");
    }
}

#[test]
fn s30_the_name_of_another_listener_s_site_is_misdirected() {
    let origin = Origin::simple();
    let (edge, public, tailnet) = edge(&origin, |_| {});
    let config = Arc::new(tls_client(edge.root(), &[b"http/1.1"]));
    for (number, at) in [public, tailnet].into_iter().enumerate() {
        assert!(ask(at.tls, &config, "a.test", "admin.test", "/moved").0.starts_with("HTTP/1.1 421"));
        let mut http2 = Http2::connect(at.tls, edge.root(), "a.test");
        assert_eq!(http2.get("admin.test", "/moved").status(), Some("421"));
        assert_eq!(http2.get("a.test", "/").status(), Some("200"));
        wire3::run(async {
            let http3 = Http3::connect(at.tls, edge.root(), "a.test").await;
            assert_eq!(http3.get("admin.test", "/moved").await.status(), Some("421"));
            assert_eq!(http3.get("a.test", "/").await.status(), Some("200"));
        });
        edge.assert_refused(Reason::AuthorityNotCovered, 3 * (number as u64 + 1));
    }
    assert!(!origin.text().contains("/moved"), "{}", origin.text());
}

#[test]
fn s30_a_session_of_one_listener_opens_nothing_at_another() {
    for early in [false, true] {
        let origin = Origin::simple();
        let (edge, public, tailnet) =
            edge(&origin, |edge| edge.config.sites.iter_mut().for_each(|site| site.early_data = early));
        let sessions = AnyName::new();
        let mut config = tls_client(edge.root(), &[b"http/1.1"]);
        config.resumption = Resumption::store(sessions.clone());
        config.enable_early_data = true;
        let config = Arc::new(config);
        for _ in 0..4 {
            assert!(ask(tailnet.tls, &config, "admin.test", "admin.test", "/").0.starts_with("HTTP/1.1 200"));
        }
        assert!(sessions.shown() > 0);
        let before = sessions.shown();
        // Under its own name.
        assert_eq!(answered(public.tls, &hello(&config, "admin.test")), b"");
        assert_eq!(sessions.shown(), before + 1);
        // Under that of a site which is there: the session is another's, and so is the name in the request.
        ask(tailnet.tls, &config, "admin.test", "admin.test", "/");
        let before = sessions.shown();
        let (response, kind) = ask(public.tls, &config, "a.test", "admin.test", "/moved");
        assert!(response.starts_with("HTTP/1.1 421"), "{response}");
        assert_eq!((sessions.shown(), kind), (before + 1, HandshakeKind::Full));
        let seen = origin.text();
        assert!(!seen.contains("/moved") && !seen.contains("/early"), "early data {early}: {seen}");
    }
}

#[test]
fn the_site_of_every_other_name_over_every_version() {
    let origin = Origin::simple();
    let (edge, public, tailnet) = edge(&origin, |edge| {
        edge.authority.write(&edge.folder.path().join("rest"), &["x.test", "y.test"]);
        let said = Response { status: 200, content_type: "text/plain".into(), body: b"the rest".to_vec() };
        let mut rest = Site::new("rest", vec!["*".parse().unwrap()])
            .route(Route::new(PathMatch::Prefix("/".into()), Action::Respond(said)));
        rest.plain = PlainHttp::Serve;
        edge.config.sites.insert(0, rest);
    });
    let config = Arc::new(tls_client(edge.root(), &[b"http/1.1"]));
    for at in [public, tailnet] {
        for host in ["x.test", "y.test"] {
            assert!(answered(at.plain, request(host, "/").as_bytes()).ends_with(b"the rest"), "{host}");
            // One site, one set of rules: the server name may be another of its names.
            assert!(ask(at.tls, &config, "x.test", host, "/").0.ends_with("the rest"), "{host}");
            let mut http2 = Http2::connect(at.tls, edge.root(), "x.test");
            assert_eq!(http2.get(host, "/").content, b"the rest", "{host}");
            wire3::run(async {
                let http3 = Http3::connect(at.tls, edge.root(), "x.test").await;
                assert_eq!(http3.get(host, "/").await.content, b"the rest", "{host}");
            });
        }
        // Addresses and names without a site are the rest, as far as they can be named.
        assert!(answered(at.plain, request("192.0.2.1", "/").as_bytes()).ends_with(b"the rest"));
        // Others have their own.
        assert!(ask(at.tls, &config, "a.test", "a.test", "/own").0.ends_with("ok"));
        let mut http2 = Http2::connect(at.tls, edge.root(), "x.test");
        assert_eq!(http2.get("a.test", "/own").status(), Some("421"));
        assert_eq!(http2.get("admin.test", "/own").status(), Some("421"));
        wire3::run(async {
            let http3 = Http3::connect(at.tls, edge.root(), "x.test").await;
            assert_eq!(http3.get("admin.test", "/own").await.status(), Some("421"));
        });
    }
    // Not even where nobody else has it.
    assert_silent(&edge, public, "admin.test");
    assert!(ask(tailnet.tls, &config, "admin.test", "admin.test", "/own").0.ends_with("ok"));
    assert_eq!(origin.text().matches("/own").count(), 3);
}
