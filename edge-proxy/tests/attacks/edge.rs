//! A proxy with one site in front of a recording origin, and raw clients.

use edge_http::host::HostPattern;
use edge_proxy::config::{Config, Limits, Listener, PlainHttp, Route, Site, Target, Upstream};
use edge_proxy::{Certificates, Proxy, ProxyHandle};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Authority, Origin, tls_client};

/// The proxy under attack.
pub(crate) struct Edge {
    pub(crate) origin: Origin,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) root: String,
    _proxy: ProxyHandle,
    _folder: tempfile::TempDir,
}

pub(crate) fn site(name: &str) -> Site {
    let mut site = Site::new(name, vec![HostPattern::parse(name).unwrap()]).route(Route::forward("origin"));
    site.plain = PlainHttp::Serve;
    site
}

impl Edge {
    /// Starts a proxy with `a.test` and `b.test` in front of this origin.
    pub(crate) fn before(origin: Origin) -> Self {
        Self::with(origin, vec![site("a.test"), site("b.test")])
    }

    pub(crate) fn with(origin: Origin, sites: Vec<Site>) -> Self {
        let target = Target::Tcp { host: "127.0.0.1".into(), port: origin.address().port() };
        Self::build(origin, Upstream::new("origin", target), sites)
    }

    /// Starts the proxy with this upstream, which need not point to `origin`.
    pub(crate) fn build(origin: Origin, upstream: Upstream, sites: Vec<Site>) -> Self {
        Self::limited(origin, upstream, sites, Limits::default())
    }

    /// Starts the proxy with this upstream and these limits.
    pub(crate) fn limited(origin: Origin, upstream: Upstream, sites: Vec<Site>, limits: Limits) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().unwrap();
        authority.write(&folder.path().join("test"), &["a.test", "b.test"]);
        let (certificates, refreshed) = Certificates::load(folder.path()).unwrap();
        assert!(refreshed.problems.is_empty(), "{refreshed:?}");
        let mut builder = Proxy::builder()
            .config(Config { limits, ..Config::default() })
            .workers(1)
            .certificates(certificates)
            .listener(Listener::plain(([127, 0, 0, 1], 0).into()))
            .listener(Listener::tls(([127, 0, 0, 1], 0).into()).http3(true))
            .upstream(upstream);
        for site in sites {
            builder = builder.site(site);
        }
        let proxy = builder.start().unwrap();
        let addresses = proxy.addresses();
        Self {
            origin,
            plain: addresses[0],
            tls: addresses[1],
            root: authority.root().to_owned(),
            _proxy: proxy,
            _folder: folder,
        }
    }

    /// Sends bytes over plain HTTP and reads until the proxy closes, or a second passes without data.
    pub(crate) fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.plain).unwrap();
        stream.write_all(bytes).unwrap();
        read(&mut stream)
    }

    /// Opens a TLS connection with this name and these protocols, or returns the reason for the failure.
    pub(crate) fn tls(&self, name: &str, alpn: &[&[u8]]) -> std::io::Result<Tls> {
        let config = Arc::new(tls_client(&self.root, alpn));
        let session = rustls::ClientConnection::new(config, name.to_owned().try_into().unwrap()).unwrap();
        let stream = TcpStream::connect(self.tls)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut stream = rustls::StreamOwned::new(session, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// Asserts that nothing was sent to the origin.
    #[track_caller]
    pub(crate) fn assert_nothing_forwarded(&self) {
        // Bytes in transit have time to arrive.
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(self.origin.text(), "", "bytes were sent upstream");
    }

    /// Asserts that the request gets 400 (or this status), the connection is closed, and nothing is sent upstream.
    #[track_caller]
    pub(crate) fn assert_refused(&self, bytes: &[u8], status: u16) {
        let shown = bytes.escape_ascii();
        let answer = self.send(bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown} was answered {answer:?}");
        assert!(answer.contains("Connection: close"), "{shown} left the connection open: {answer:?}");
        assert!(!answer.to_lowercase().contains("server:"), "the answer names the product: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{shown} was answered twice: {answer:?}");
        self.assert_nothing_forwarded();
    }
}

pub(crate) type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// Reads until the end, or until a second passes without data.
pub(crate) fn read(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut all = Vec::new();
    let mut part = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut part) {
        all.extend_from_slice(&part[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
