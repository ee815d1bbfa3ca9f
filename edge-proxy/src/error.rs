//! Errors of starting and reloading a proxy.

use super::client_auth::ClientCertificatesError;
use super::upstream::UpstreamTlsError;
use edge_policy::ConfigErrors;
use std::io;
use std::net::SocketAddr;

/// The error of a start or a reload, which then has no effect. [`source`](std::error::Error::source) returns the
/// cause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is invalid.
    #[error("the configuration is not valid")]
    Config(#[source] ConfigErrors),
    /// A listener's sockets cannot be opened or duplicated, or another process listens on its address.
    #[error("cannot listen on {address}{}", bind_advice(*address, source))]
    Listen {
        /// The address of the listener.
        address: SocketAddr,
        /// The error of the system call.
        source: io::Error,
    },
    /// The TLS settings of an upstream cannot be applied, such as a file that cannot be read.
    #[error("TLS to the upstream `{upstream}` cannot be set up")]
    UpstreamTls {
        /// The name of the upstream.
        upstream: String,
        /// The underlying error.
        source: UpstreamTlsError,
    },
    /// The client certificate settings of a site cannot be applied, such as a file that cannot be read.
    #[error("client certificates of the site `{site}` cannot be asked for")]
    ClientCertificates {
        /// The name of the site.
        site: String,
        /// The underlying error.
        source: ClientCertificatesError,
    },
    /// rustls rejected the TLS configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The TLS configuration of QUIC was rejected.
    #[error("QUIC cannot be set up")]
    Quic {
        /// The underlying error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings of trace export cannot be applied.
    #[error("tracing: {why}")]
    Tracing {
        /// The problem and how to solve it. Does not contain the values of header fields.
        why: String,
    },
    /// A thread or its asynchronous runtime cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// A worker could not open its listeners, has ended, or was the first of those that had not replied after 10 s
    /// without a reply.
    #[error("worker {number} does not serve")]
    Worker {
        /// The zero-based index of the worker.
        number: usize,
        /// The error of the worker, or that it did not reply.
        source: io::Error,
    },
}

/// Returns advice on a bind error, to be appended to its message: for a permission error of a port below 1024, an
/// address in use, or an address that no interface has. Empty for other errors.
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
