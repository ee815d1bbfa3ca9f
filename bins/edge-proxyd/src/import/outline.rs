//! The parts of a converted configuration for which requests can be made, for a comparison with nginx.

use super::parse::Directive;
use std::net::SocketAddr;

/// A server of nginx.
#[derive(Debug)]
pub(crate) struct OutlinedServer {
    /// The hosts of the server, as edge-proxyd writes them.
    pub(crate) hosts: Vec<String>,
    /// The addresses on which it listens.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The `server` directive.
    pub(crate) directive: Directive,
}

/// The parts of a converted configuration for which requests can be made.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// The addresses on which HTTP is served. The first boolean is true with TLS, the second if connections begin with
    /// PROXY headers.
    pub(crate) listens: Vec<(SocketAddr, bool, bool)>,
    /// The servers of `http`.
    pub(crate) servers: Vec<OutlinedServer>,
    /// The URLs of all targets and backups of the upstreams.
    pub(crate) targets: Vec<String>,
    /// The URLs of the targets of each upstream that has more than one, without backups.
    pub(crate) groups: Vec<Vec<String>>,
    /// The name of the header with the client's address. `None` if no proxy is trusted.
    pub(crate) header: Option<String>,
    /// The addresses on which HTTP/3 is served.
    pub(crate) quic: Vec<SocketAddr>,
    /// The servers of `stream` that forward TCP. The hosts are the names in the TLS handshake by which they choose an
    /// upstream; empty if they do not.
    pub(crate) forwards: Vec<OutlinedServer>,
}
