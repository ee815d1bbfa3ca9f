//! Errors of starting and reloading a proxy.

use super::upstream::UpstreamTlsError;
use crate::ConfigErrors;
use std::io;
use std::net::SocketAddr;

/// Why a proxy does not start, or does not take a new configuration. Nothing changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error("the configuration is wrong: {0}")]
    Config(ConfigErrors),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {why}{}", bind_advice(*address, why))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        why: io::Error,
    },
    /// TLS to an upstream cannot be set up.
    #[error("upstream `{upstream}`: {why}")]
    UpstreamTls {
        /// The upstream's name.
        upstream: String,
        /// The reason.
        why: UpstreamTlsError,
    },
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// QUIC cannot be set up.
    #[error("QUIC: {why}")]
    Quic {
        /// The reason.
        why: String,
    },
    /// Traces cannot be sent as it was said.
    #[error("tracing: {why}")]
    Tracing {
        /// What is wrong and what to write instead, without the value of a field.
        why: String,
    },
    /// A thread cannot be started.
    #[error("cannot start a worker: {0}")]
    Thread(io::Error),
}

/// What would help where an address cannot be taken.
fn bind_advice(address: SocketAddr, why: &io::Error) -> &'static str {
    match why.kind() {
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
