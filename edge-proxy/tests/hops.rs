//! The hops on either side: TLS to upstreams, Unix sockets, the PROXY protocol in and out.
#![cfg(feature = "server")]

use edge_proxy::config::{Listener, PlainHttp, ProxyOut, Route, Site, Target, Upstream, UpstreamTls};
use edge_proxy::{Proxy, ProxyHandle};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Authority, Origin, answer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn edge(listener: Listener, upstream: Upstream) -> ProxyHandle {
    let mut site = Site::new("a", vec!["a.test".parse().unwrap()]).route(Route::forward("origin"));
    site.plain = PlainHttp::Serve;
    Proxy::builder().workers(1).listener(listener).site(site).upstream(upstream).start().unwrap()
}

fn plain() -> Listener {
    Listener::plain(([127, 0, 0, 1], 0).into())
}

fn tcp(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

/// Sends bytes and reads until the end.
fn send(proxy: &ProxyHandle, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(why) if why.kind() != std::io::ErrorKind::ConnectionReset => panic!("{why}"),
        _ => String::from_utf8_lossy(&all).into_owned(),
    }
}

/// A TLS origin that responds with 200 and the requested server name.
fn tls_service(authority: &Authority, clients: Option<&Authority>) -> SocketAddr {
    let (chain, key) = authority.pair(&["node.internal"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let root = rustls::pki_types::pem::PemObject::from_pem_slice(clients.root().as_bytes()).unwrap();
            roots.add(root).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            std::thread::spawn(move || {
                let mut tls = rustls::Stream::new(&mut session, &mut stream);
                let mut part = [0; 4096];
                while let Ok(1..) = tls.read(&mut part) {
                    let name = tls.conn.server_name().unwrap_or("none").to_owned();
                    if tls.write_all(&answer(&name)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(authority: &Authority, client: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), authority.root()).unwrap();
        let (chain, key) = client.issue(&["edge.internal"]);
        std::fs::write(folder.path().join("client.pem"), chain).unwrap();
        std::fs::write(folder.path().join("client.key"), key).unwrap();
        Self { folder }
    }

    fn tls(&self, with_client: bool) -> UpstreamTls {
        let file = |name: &str| Some(self.folder.path().join(name));
        UpstreamTls {
            ca: file("ca.pem"),
            certificate: if with_client { file("client.pem") } else { None },
            key: if with_client { file("client.key") } else { None },
            server_name: Some("node.internal".into()),
            pins: Vec::new(),
        }
    }
}

fn tls_upstream(address: SocketAddr, tls: UpstreamTls) -> Upstream {
    let mut upstream = Upstream::new("origin", tcp(address));
    upstream.tls = Some(tls);
    upstream
}

#[test]
fn double_tls_with_a_private_authority() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority);
    let address = tls_service(&authority, None);
    let proxy = edge(plain(), tls_upstream(address, files.tls(false)));
    for _ in 0..3 {
        assert!(send(&proxy, GET).ends_with("node.internal"));
    }
}

#[test]
fn double_tls_believes_nobody_else() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = tls_service(&authority, None);
    let files = Files::new(&authority, &authority);
    let mut misnamed = files.tls(false);
    misnamed.server_name = Some("other.internal".into());
    let stranger = Files::new(&other, &other);
    for tls in [misnamed, stranger.tls(false)] {
        let proxy = edge(plain(), tls_upstream(address, tls));
        assert!(send(&proxy, GET).starts_with("HTTP/1.1 502"));
    }
}

#[test]
fn a_missing_authority_is_found_at_the_start() {
    let tls = UpstreamTls { ca: Some("/nonexistent/ca.pem".into()), ..UpstreamTls::default() };
    let upstream = tls_upstream(([127, 0, 0, 1], 1).into(), tls);
    let site = Site::new("a", vec!["a.test".parse().unwrap()]).route(Route::forward("origin"));
    let error = Proxy::builder().workers(1).site(site).upstream(upstream).start().map(drop).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(error.to_string().contains("upstream `origin`"), "{error}");
    assert!(cause.contains("/nonexistent/ca.pem"), "{cause}");
}

#[test]
fn double_tls_with_a_client_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let files = Files::new(&authority, &clients);
    let address = tls_service(&authority, Some(&clients));
    let proxy = edge(plain(), tls_upstream(address, files.tls(true)));
    assert!(send(&proxy, GET).ends_with("node.internal"));
    let proxy = edge(plain(), tls_upstream(address, files.tls(false)));
    assert!(send(&proxy, GET).starts_with("HTTP/1.1 502"));
}

#[test]
fn s16_plaintext_from_a_tls_upstream() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority);
    // It responds to the ClientHello in cleartext.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&answer("plaintext"));
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let proxy = edge(plain(), tls_upstream(address, files.tls(false)));
    let got = send(&proxy, GET);
    assert!(got.starts_with("HTTP/1.1 502") && !got.contains("plaintext"), "{got:?}");
}

#[test]
fn a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                while let Ok(1..) = stream.read(&mut [0; 4096]) {
                    if stream.write_all(&answer("by the socket")).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let proxy = edge(plain(), Upstream::new("origin", Target::Unix(path)));
    assert!(send(&proxy, GET).ends_with("by the socket"));
}

#[test]
fn proxy_protocol_out() {
    for (version, begins) in [
        (ProxyOut::V1, &b"PROXY TCP4 127.0.0.1 127.0.0.1 "[..]),
        (ProxyOut::V2, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"),
    ] {
        // It only listens; its interpretation of the header does not matter.
        let origin = Origin::scripted(|_| None);
        let mut upstream = Upstream::new("origin", tcp(origin.address()));
        upstream.proxy_protocol = Some(version);
        let proxy = edge(plain(), upstream);
        let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
        stream.write_all(GET).unwrap();
        assert!(origin.wait(|text| text.contains("GET / HTTP/1.1")));
        let got = origin.bytes();
        assert!(got.starts_with(begins), "{}", got.escape_ascii());
    }
}

#[test]
fn proxy_protocol_in() {
    let origin = Origin::simple();
    let mut listener = plain();
    listener.proxy_protocol = vec!["127.0.0.1/32".parse().unwrap()];
    let proxy = edge(listener, Upstream::new("origin", tcp(origin.address())));
    let mut bytes = b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 80\r\n".to_vec();
    bytes.extend_from_slice(GET);
    assert!(send(&proxy, &bytes).starts_with("HTTP/1.1 200"));
    assert!(origin.text().contains("X-Real-IP: 203.0.113.7\r\n"), "{}", origin.text());
    // D9: a missing, malformed or overlong header closes the connection without a response.
    for bytes in [
        GET,
        b"PROXY TCP4 203.0.113.7 192.0.2.1 40000\r\n",
        b"PROXY TCP4 203.0.113.7\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        assert_eq!(send(&proxy, bytes), "", "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_name_that_does_not_resolve_stops_nothing() {
    let proxy =
        edge(plain(), Upstream::new("origin", Target::Tcp { host: "nowhere.invalid".into(), port: 80 }));
    assert!(send(&proxy, GET).starts_with("HTTP/1.1 502"));
}
