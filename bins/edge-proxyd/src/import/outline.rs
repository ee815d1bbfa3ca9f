//! The parts of a configuration by which its answers are compared.

use super::parse::Directive;
use std::net::SocketAddr;

/// A server with its hosts and addresses.
#[derive(Debug)]
pub(crate) struct OutlinedServer {
    pub(crate) hosts: Vec<String>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) directive: Directive,
}

/// The parts of a configuration by which its answers are compared.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Addresses, with TLS, and with PROXY headers.
    pub(crate) listens: Vec<(SocketAddr, bool, bool)>,
    /// The servers with their hosts and addresses.
    pub(crate) servers: Vec<OutlinedServer>,
    /// Every target that requests may be forwarded to, as a URL.
    pub(crate) targets: Vec<String>,
    /// The targets of each upstream that has several.
    pub(crate) groups: Vec<Vec<String>>,
    /// The header that carries the client's address.
    pub(crate) header: Option<String>,
    /// Addresses with HTTP/3.
    pub(crate) quic: Vec<SocketAddr>,
    /// The servers of `stream`, whose hosts are those that names in the handshake decide about.
    pub(crate) forwards: Vec<OutlinedServer>,
}
