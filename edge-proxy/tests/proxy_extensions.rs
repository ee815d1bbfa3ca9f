//! What PROXY headers of version 2 say of a client's connection, beside HAProxy: written for services, read from a proxy in front,
//! and passed on.
#![cfg(feature = "server")]

mod common;

use common::{Edge, read_until};
use edge_http::proxy_protocol::{Extensions, v2};
use edge_proxy::config::{
    ClientCertificates, Forward, Listener, PlainHttp, Protocol, ProxyOut, Route, Site, Target, Upstream,
};
use edge_proxy::{AccessRecord, ForwardRecord, Observer, Proxy, ProxyHandle};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Authority, Origin, answer, free_port, tls_client};

/// Keeps what the PROXY headers of requests and forwarded connections said.
#[derive(Default)]
struct RecordingObserver(Mutex<Vec<Extensions>>);

impl Observer for RecordingObserver {
    fn access(&self, record: &AccessRecord<'_>) {
        self.0.lock().unwrap().extend(record.proxy_header.cloned());
    }

    fn forwarded(&self, record: &ForwardRecord<'_>) {
        self.0.lock().unwrap().extend(record.proxy_header.cloned());
    }
}

/// Answers requests behind a PROXY header. Returns 200 and `ok`, whatever the header says.
fn origin() -> Origin {
    Origin::scripted(|bytes| {
        let (_, used) = v2::parse(bytes).ok()??;
        let head = bytes[used..].windows(4).position(|window| window == b"\r\n\r\n")? + used + 4;
        Some((answer("ok"), head))
    })
}

/// What the header of the origin's only connection said.
fn said_to(origin: &Origin) -> Extensions {
    let bytes = origin.bytes();
    let (_, used) = v2::parse(&bytes).unwrap().expect("a whole header");
    v2::extensions(&bytes[..used])
}

fn upstream(name: &str, address: SocketAddr, protocol: Protocol) -> Upstream {
    let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
    Upstream { protocol, proxy_protocol: Some(ProxyOut::V2), ..Upstream::new(name, target) }
}

/// HAProxy with this configuration, until it is dropped.
struct HaProxy(Child);

impl HaProxy {
    fn start(folder: &Path, port: u16, config: &str) -> Self {
        let path = folder.join(format!("haproxy-{port}.cfg"));
        let rest = "defaults\n timeout client 10s\n timeout server 10s\n timeout connect 10s\n";
        std::fs::write(&path, format!("{rest}{config}")).unwrap();
        let child =
            Command::new("/usr/sbin/haproxy").arg("-db").arg("-f").arg(&path).stdin(Stdio::null()).spawn();
        let child = child.expect("haproxy is there; cargo xtask tools installs it");
        let running = Self(child);
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "haproxy does not listen: {config}");
            std::thread::sleep(Duration::from_millis(20));
        }
        running
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks over TLS by HTTP/1.1 and returns the response.
fn ask(address: SocketAddr, config: rustls::ClientConfig, path: &str) -> String {
    let mut tls = common::tls(address, &Arc::new(config)).unwrap();
    write!(tls, "GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = tls.read_to_string(&mut text);
    text
}

fn client(root: &str, pair: &(String, String)) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let chain = CertificateDer::pem_slice_iter(pair.0.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.1.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// The edge ends TLS: the service learns of the name, the protocol, the cipher and the certificate, and HAProxy reads the same.
#[test]
fn a_service_learns_of_the_tls_that_ended_here() {
    let origin = origin();
    let mut edge = Edge::before(origin.address(), 1);
    let clients = Authority::named("the authority of clients");
    let ca = edge.folder.path().join("clients.pem");
    std::fs::write(&ca, clients.root()).unwrap();
    edge.config.upstreams = vec![upstream("origin", origin.address(), Protocol::Http1)];
    edge.config.request_id = Some("x-request-id".into());
    edge.proxy.reload(edge.config.clone()).unwrap();
    assert!(ask(edge.tls(), tls_client(edge.root(), &[b"http/1.1"]), "/").starts_with("HTTP/1.1 200"));
    let said = said_to(&origin);
    assert_eq!((said.authority.as_deref(), said.alpn.as_deref()), (Some("a.test"), Some(&b"http/1.1"[..])));
    let tls = said.tls.unwrap();
    assert!(tls.over_tls && !tls.certificate && !tls.verified);
    assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
    assert!(tls.cipher.is_some_and(|cipher| cipher.starts_with("TLS_")));
    // The identifier is that of the request.
    let id = String::from_utf8(said.unique_id.unwrap()).unwrap();
    assert!(origin.text().to_lowercase().contains(&format!("x-request-id: {id}\r\n")), "{id}");

    // HAProxy reads the same, and a certificate is told by its name.
    let second = self::origin();
    let port = free_port();
    let _haproxy = HaProxy::start(
        edge.folder.path(),
        port,
        &format!(
            "frontend f\n mode http\n bind 127.0.0.1:{port} accept-proxy\n \
             http-request return status 200 content-type text/plain lf-string \"%[fc_pp_authority] %[fc_pp_unique_id] %[src]\"\n"
        ),
    );
    let mut route = Route::forward("second");
    route.path = edge_proxy::config::PathMatch::Prefix("/second".into());
    edge.config.sites[0].routes.insert(0, route);
    edge.config.sites[0].client_certificates = Some(ClientCertificates::required(&ca));
    edge.config.sites[0].plain = PlainHttp::Redirect;
    edge.config.upstreams = vec![
        upstream("origin", ([127, 0, 0, 1], port).into(), Protocol::Http1),
        upstream("second", second.address(), Protocol::Http1),
    ];
    edge.proxy.reload(edge.config.clone()).unwrap();
    let pair = clients.issue_client("Ann Lee", 7);
    let text = ask(edge.tls(), client(edge.root(), &pair), "/");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("X-Request-ID: ").or(line.strip_prefix("x-request-id: ")));
    assert_eq!(body, format!("a.test {} 127.0.0.1", id.expect(head)));
    assert!(ask(edge.tls(), client(edge.root(), &pair), "/second").starts_with("HTTP/1.1 200"));
    let tls = said_to(&second).tls.unwrap();
    assert!(tls.certificate && tls.verified);
    assert_eq!(tls.common_name.as_deref(), Some("Ann Lee"));
}

/// A plain listener or a forward behind a HAProxy that ends TLS.
fn behind(observer: Arc<RecordingObserver>, listener: Listener, upstream: Upstream) -> ProxyHandle {
    let mut site = Site::new("a", vec!["a.test".parse().unwrap()]);
    site.plain = PlainHttp::Serve;
    let site = match upstream.protocol {
        Protocol::Tcp => {
            site.routes.push(Route::new(
                edge_proxy::config::PathMatch::Prefix("/".into()),
                edge_proxy::config::Action::Respond(edge_proxy::config::Response {
                    status: 200,
                    content_type: "text/plain".into(),
                    body: b"not forwarded".to_vec(),
                }),
            ));
            site
        }
        _ => site.route(Route::forward("origin")),
    };
    Proxy::builder()
        .workers(1)
        .listener(listener)
        .site(site)
        .upstream(upstream)
        .observer(observer)
        .start()
        .unwrap()
}

#[test]
fn what_haproxy_says_is_read_and_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::named("the authority of clients"));
    let (chain, key) = authority.issue(&["a.test"]);
    std::fs::write(folder.path().join("pair.pem"), format!("{chain}{key}")).unwrap();
    std::fs::write(folder.path().join("clients.pem"), clients.root()).unwrap();
    let pair = clients.issue_client("Ann Lee", 7);
    let any = ([127, 0, 0, 1], 0).into();
    for protocol in [Protocol::Http1, Protocol::Tcp] {
        let (origin, heard) = (origin(), Arc::new(RecordingObserver::default()));
        let mut listener = match protocol {
            Protocol::Tcp => Listener::tcp(any, Forward::to("origin")),
            _ => Listener::plain(any),
        };
        listener.proxy_protocol = vec!["127.0.0.1/32".parse().unwrap()];
        let proxy = behind(heard.clone(), listener, upstream("origin", origin.address(), protocol));
        let port = free_port();
        let _haproxy = HaProxy::start(
            folder.path(),
            port,
            &format!(
                "frontend f\n mode http\n bind 127.0.0.1:{port} ssl crt {0}/pair.pem ca-file {0}/clients.pem verify optional alpn http/1.1\n \
                 unique-id-format id-%rt\n default_backend b\n\
                 backend b\n mode http\n server s {1} send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,authority,unique-id,crc32c\n",
                folder.path().display(),
                proxy.addresses()[0],
            ),
        );
        let address = ([127, 0, 0, 1], port).into();
        let text = ask(address, client(authority.root(), &pair), "/");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let until = Instant::now() + Duration::from_secs(20);
        let got = loop {
            if let Some(got) = heard.0.lock().unwrap().pop() {
                break got;
            }
            assert!(Instant::now() < until, "no record");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(got.authority.as_deref(), Some("a.test"));
        assert!(got.unique_id.as_ref().is_some_and(|id| id.starts_with(b"id-")), "{got:?}");
        let tls = got.tls.clone().unwrap();
        assert!(tls.over_tls && tls.certificate && tls.verified, "{tls:?}");
        assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
        assert_eq!(tls.common_name.as_deref(), Some("Ann Lee"));
        assert!(tls.cipher.as_deref().is_some_and(|cipher| cipher.starts_with("TLS_")), "{tls:?}");
        // The service learns the same from the edge, which knows nothing of it by itself.
        assert_eq!(said_to(&origin), got);
    }
}

/// A header inside a forwarded connection, or of a peer that is not to send one, describes nothing.
#[test]
fn headers_of_strangers_describe_nothing() {
    let (origin, heard) = (Origin::simple(), Arc::new(RecordingObserver::default()));
    let address = origin.address();
    let target = Target::Tcp { host: address.ip().to_string(), port: address.port() };
    let upstream = Upstream { protocol: Protocol::Tcp, ..Upstream::new("origin", target) };
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), Forward::to("origin"));
    let proxy = behind(heard.clone(), listener, upstream);
    let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut forged =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x15\x01\x02\x03\x04\x01\x02\x03\x04\0\x01\0\x02".to_vec();
    forged.extend_from_slice(b"\x02\0\x06a.test");
    forged.extend_from_slice(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    stream.write_all(&forged).unwrap();
    // It is content of the connection, and arrives as such.
    assert!(origin.wait(|text| text.contains("QUIT\n") && text.contains("a.test")));
    let _ = read_until(&mut stream, "ok");
    assert!(heard.0.lock().unwrap().is_empty());
}
