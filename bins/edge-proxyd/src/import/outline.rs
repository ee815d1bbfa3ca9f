//! The parts of a converted configuration for which requests can be made, for a comparison with nginx.

use super::parse::Directive;
use std::net::SocketAddr;

/// A server of nginx.
#[derive(Debug)]
pub(crate) struct OutlinedServer {
    /// Its hosts, as edge-proxyd writes them.
    pub(crate) hosts: Vec<String>,
    /// The addresses on which it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The `server` directive.
    pub(crate) directive: Directive,
}

/// The parts of a converted configuration for which requests can be made.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// The addresses for HTTP. The first boolean is true with TLS, the second with PROXY headers.
    pub(crate) listens: Vec<(SocketAddr, bool, bool)>,
    /// The servers of `http`.
    pub(crate) servers: Vec<OutlinedServer>,
    /// The URLs of all targets to which requests may be forwarded.
    pub(crate) targets: Vec<String>,
    /// The targets of each upstream that has more than one, without backups.
    pub(crate) groups: Vec<Vec<String>>,
    /// The header with the client's address. `None` if no proxy is trusted.
    pub(crate) header: Option<String>,
    /// The addresses with HTTP/3.
    pub(crate) quic: Vec<SocketAddr>,
    /// The servers of `stream`. Their hosts are the names in the TLS handshake by which they forward.
    pub(crate) forwards: Vec<OutlinedServer>,
}
