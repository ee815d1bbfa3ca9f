//! Errors of starting and reloading a proxy.

use super::client_auth::ClientCertificatesError;
use super::upstream::UpstreamTlsError;
use edge_policy::ConfigErrors;
use std::io;
use std::net::SocketAddr;

/// The error of a start or a reload, after which nothing has changed. [`source`](std::error::Error::source) has the cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not valid.
    #[error("the configuration is not valid")]
    Config(#[source] ConfigErrors),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}{}", bind_advice(*address, source))]
    Listen {
        /// The address that cannot be bound.
        address: SocketAddr,
        /// The cause, as the system reports it.
        source: io::Error,
    },
    /// TLS to an upstream cannot be set up.
    #[error("TLS to the upstream `{upstream}` cannot be set up")]
    UpstreamTls {
        /// The upstream's name.
        upstream: String,
        /// The underlying error.
        source: UpstreamTlsError,
    },
    /// A site's client certificates cannot be asked for.
    #[error("client certificates of the site `{site}` cannot be asked for")]
    ClientCertificates {
        /// The site's name.
        site: String,
        /// The underlying error.
        source: ClientCertificatesError,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// QUIC cannot be set up.
    #[error("QUIC cannot be set up")]
    Quic {
        /// The underlying error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Traces cannot be exported as configured.
    #[error("tracing: {why}")]
    Tracing {
        /// The mistake and what to write instead, without the value of a field.
        why: String,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// A worker cannot open its listeners, or has ended.
    #[error("worker {number} does not serve")]
    Worker {
        /// The zero-based index of the worker.
        number: usize,
        /// The cause, as the system reports it.
        source: io::Error,
    },
}

/// Advice for an address that cannot be bound.
fn bind_advice(address: SocketAddr, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            " (ports below 1024 take CAP_NET_BIND_SERVICE: AmbientCapabilities= in the unit, or setcap)"
        }
        io::ErrorKind::AddrInUse => " (another program listens there: ss -lntup shows which)",
        io::ErrorKind::AddrNotAvailable => {
            " (no interface has this address: ip address shows which there are)"
        }
        _ => "",
    }
}
