//! The environment of the demonstration: certificate authority, upstream services and edge.

use super::origin::{self, Memory};
use crate::authority::Authority;
use edge_http::host::HostPattern;
use edge_proxy::config::{Config, Listener, PlainHttp, Protocol, Route, Site, Target, Upstream};
use edge_proxy::{Certificates, ConnectionRejected, Observer, Proxy, ProxyHandle, Reason};
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The local address of clients that the edge trusts as a proxy.
pub(super) const TRUSTED: [u8; 4] = [127, 0, 0, 2];

/// An observer that records rejected connections, and requests that got no response: true if over QUIC, and the reason.
#[derive(Debug, Default)]
pub(super) struct Watcher(Mutex<Vec<(bool, Reason)>>);

impl Observer for Watcher {
    fn access(&self, record: &edge_proxy::AccessRecord<'_>) {
        if let (None, Some(reason)) = (record.status, record.reason) {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((false, reason));
        }
    }

    fn rejected(&self, record: &ConnectionRejected<'_>) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((record.quic, record.reason));
    }
}

impl Watcher {
    /// Returns how many connections were rejected, or requests dropped, for this reason: over QUIC if `quic`, otherwise
    /// over TCP.
    pub(super) fn count(&self, quic: bool, reason: &str) -> usize {
        let all = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.iter().filter(|(was_quic, why)| *was_quic == quic && why.as_str() == reason).count()
    }
}

/// The running edge of the demonstration, with its services and its observer.
pub(super) struct Lab {
    /// The address for HTTPS, on TCP and UDP.
    pub(super) tls: SocketAddr,
    /// The address for HTTP without TLS.
    pub(super) plain: SocketAddr,
    /// The certificate of the authority, as PEM.
    pub(super) root: String,
    /// The requests that the HTTP/1.1 service received.
    pub(super) memory: Memory,
    /// The observer that records rejected connections.
    pub(super) watcher: Arc<Watcher>,
    /// The configuration of the edge.
    pub(super) config: Config,
    /// The handle of the edge.
    pub(super) proxy: ProxyHandle,
    /// The temporary folder of the certificates, deleted with this value.
    folder: tempfile::TempDir,
}

/// Returns the target with this address.
fn tcp(address: SocketAddr) -> Target {
    Target::Tcp { host: address.ip().to_string(), port: address.port() }
}

impl Lab {
    /// Starts the services and the edge on 127.0.0.1. The port 0 stands for any free port.
    ///
    /// # Errors
    /// A port could not be bound, or certificates could not be issued or written.
    pub(super) async fn start(tls_port: u16, http_port: u16) -> Result<Self, Box<dyn Error>> {
        let (app, memory) = origin::http1().await?;
        let grpc = origin::grpc().await?;
        let authority = Authority::new("edge-proxyd demonstration, worthless elsewhere")?;
        let folder = tempfile::Builder::new().prefix("edge-proxyd-demo-").tempdir()?;
        let root = folder.path().join("root.pem");
        std::fs::write(&root, authority.root())?;
        let acme = folder.path().join("acme");
        authority.issue(&acme.join("localhost"), &["app.localhost", "early.localhost", "grpc.localhost"])?;
        let (certificates, refreshed) = Certificates::load(&acme)?;
        if let Some(problem) = refreshed.problems.into_iter().next() {
            return Err(problem.into());
        }

        let site = |name: &str, upstream: &str| -> Result<Site, Box<dyn Error>> {
            Ok(Site::new(name, vec![HostPattern::parse(name)?]).route(Route::forward(upstream)))
        };
        let mut early = site("early.localhost", "app")?;
        early.early_data = true;
        let mut node = site("node.localhost", "app")?;
        node.plain = PlainHttp::Serve;
        let mut grpc_upstream = Upstream::new("grpc", tcp(grpc));
        grpc_upstream.protocol = Protocol::Http2;
        let mut config = Config {
            listeners: vec![
                Listener::tls(([127, 0, 0, 1], tls_port).into()).http3(true),
                Listener::plain(([127, 0, 0, 1], http_port).into()),
            ],
            sites: vec![site("app.localhost", "app")?, early, node, site("grpc.localhost", "grpc")?],
            upstreams: vec![Upstream::new("app", tcp(app)), grpc_upstream],
            ..Config::default()
        };
        config.https_port = (tls_port != 0).then_some(tls_port);
        config.trust.ranges = vec![ipnet::IpNet::from(std::net::IpAddr::from(TRUSTED))];
        let watcher = Arc::new(Watcher::default());
        let proxy = Proxy::builder()
            .config(config.clone())
            .certificates(certificates)
            .observer(watcher.clone())
            .start()?;
        let addresses = proxy.addresses();
        Ok(Self {
            tls: addresses[0],
            plain: addresses[1],
            root: authority.root().to_owned(),
            memory,
            watcher,
            config,
            proxy,
            folder,
        })
    }

    /// Returns the path of the PEM file with the certificate of the authority.
    pub(super) fn root_path(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Stops the edge. Requests in flight have a second to finish.
    pub(super) fn stop(self) {
        self.proxy.shutdown(Duration::from_secs(1));
    }
}
