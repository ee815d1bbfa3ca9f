//! The PROXY protocol, versions 1 and 2, both ways (haproxy.org, doc/proxy-protocol.txt).

mod crc32c;
pub mod v1;
pub mod v2;

use std::net::{IpAddr, SocketAddr};

/// What a PROXY header says about the connection that it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The sender speaks for itself, or does not know: the connection's own addresses count.
    Local,
    /// The sender passes on a connection.
    Proxied {
        /// The client.
        source: SocketAddr,
        /// Where the client connected to.
        destination: SocketAddr,
    },
}

impl ProxyHeader {
    /// The client's address, unless the connection's own counts.
    pub const fn source(&self) -> Option<SocketAddr> {
        match self {
            Self::Local => None,
            Self::Proxied { source, .. } => Some(*source),
        }
    }
}

/// Why bytes are no PROXY header. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address or a port is malformed, or of another family than announced.
    #[error("an address of the PROXY header is malformed")]
    Address,
    /// The checksum is wrong.
    #[error("the PROXY header's checksum is wrong")]
    Checksum,
    /// A command, family, protocol or version that is not known.
    #[error("the PROXY header has an unknown command, family, protocol or version")]
    Unknown,
    /// The extensions do not fill their space exactly.
    #[error("the PROXY header's extensions are malformed")]
    Extension,
    /// The connection begins otherwise.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// The header is longer than allowed.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Reads the header that a connection begins with, of either version: how it reads, and its length in bytes. `None` as
/// long as bytes are missing.
///
/// # Errors
/// The bytes are no PROXY header, however they go on.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// Both addresses in one family: a header has one. IPv4 next to IPv6 is mapped into it.
fn same_family(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    };
    if a.is_ipv4() == b.is_ipv4() { (a, b) } else { (mapped(a), mapped(b)) }
}
