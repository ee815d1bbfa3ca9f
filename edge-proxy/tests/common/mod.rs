//! A proxy with the site `a.test` in front of one origin, and clients of every HTTP version.

// Shared by several test programs, none of which uses all of it.
#![allow(dead_code)]

#[path = "any_name.rs"]
pub(crate) mod any_name;
#[path = "link.rs"]
pub(crate) mod link;
#[path = "memory_store.rs"]
pub(crate) mod memory_store;
#[path = "wire2.rs"]
pub(crate) mod wire2;
#[path = "wire3.rs"]
pub(crate) mod wire3;

use edge_http::host::HostPattern;
use edge_proxy::config::{
    Action, Config, Limits, Listener, PathMatch, PlainHttp, Response, Route, Site, Target, Upstream,
};
use edge_proxy::{Certificates, Proxy, ProxyHandle, Reason};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Authority, tls_client};

pub(crate) type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A running proxy for one site.
pub(crate) struct Edge {
    pub(crate) proxy: ProxyHandle,
    pub(crate) config: Config,
    pub(crate) authority: Authority,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) folder: tempfile::TempDir,
}

impl Edge {
    pub(crate) fn before(origin: SocketAddr, workers: usize) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        authority.write(&folder.path().join("test"), &["a.test"]);
        let (certificates, refreshed) = Certificates::load(folder.path()).unwrap();
        assert!(refreshed.problems.is_empty(), "{refreshed:?}");
        let hosts = vec![HostPattern::parse("a.test").unwrap()];
        let said = Response { status: 200, content_type: "text/plain".into(), body: b"ok".to_vec() };
        let mut site = Site::new("a.test", hosts)
            .route(Route::forward("origin"))
            .route(Route::new(PathMatch::Exact("/here".into()), Action::Respond(said)));
        site.plain = PlainHttp::Serve;
        let target = Target::Tcp { host: origin.ip().to_string(), port: origin.port() };
        let config = Config {
            listeners: vec![
                Listener::plain(([127, 0, 0, 1], 0).into()),
                Listener::tls(([127, 0, 0, 1], 0).into()).http3(true),
            ],
            sites: vec![site],
            upstreams: vec![Upstream::new("origin", target)],
            // All clients share one address here.
            limits: Limits { connections_per_client: 0, ..Limits::default() },
            ..Config::default()
        };
        let proxy = Proxy::builder()
            .config(config.clone())
            .certificates(certificates.clone())
            .workers(workers)
            .start()
            .unwrap();
        Self { proxy, config, authority, certificates, folder }
    }

    pub(crate) fn plain(&self) -> SocketAddr {
        self.proxy.addresses()[0]
    }

    pub(crate) fn tls(&self) -> SocketAddr {
        self.proxy.addresses()[1]
    }

    pub(crate) fn root(&self) -> &str {
        self.authority.root()
    }

    /// Returns the number of requests that were refused for this reason.
    pub(crate) fn refused(&self, reason: Reason) -> u64 {
        let counts = self.proxy.metrics().refused;
        counts.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }

    /// Asserts that this many requests are refused for this reason, soon: a request is counted after its answer.
    #[track_caller]
    pub(crate) fn assert_refused(&self, reason: Reason, count: u64) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.refused(reason) < count && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.refused(reason), count, "{reason}");
    }
}

/// The configuration of a client with this certificate and key, or without.
pub(crate) fn client(
    root: &str,
    pair: Option<&(String, String)>,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// TLS clients for HTTP/1.1.
pub(crate) fn tls(address: SocketAddr, config: &Arc<rustls::ClientConfig>) -> std::io::Result<Tls> {
    let session = rustls::ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    let mut stream = rustls::StreamOwned::new(session, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub(crate) fn http1(root: &str) -> Arc<rustls::ClientConfig> {
    Arc::new(tls_client(root, &[b"http/1.1"]))
}

/// Reads byte by byte until the input ends with a delimiter: slow, but never a byte too many.
pub(crate) fn read_until(stream: &mut impl std::io::Read, end: &str) -> String {
    let mut all = Vec::new();
    let mut byte = [0];
    while !all.ends_with(end.as_bytes()) {
        match stream.read(&mut byte) {
            Ok(1) => all.push(byte[0]),
            other => panic!("{other:?} instead of {end:?} behind {:?}", all.escape_ascii().to_string()),
        }
    }
    String::from_utf8(all).unwrap()
}
