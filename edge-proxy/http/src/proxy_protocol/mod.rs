//! The PROXY protocol, versions 1 and 2, in both directions (HAProxy, doc/proxy-protocol.txt).

mod crc32c;
mod extensions;
pub mod v1;
pub mod v2;

pub use extensions::{Extensions, TlsExtension};

use std::net::{IpAddr, SocketAddr};

/// The content of a PROXY header: the addresses of a client's connection, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The sender opened the connection itself, does not know the client, or the client does not use TCP over IP. The
    /// addresses of the connection apply.
    Local,
    /// The sender forwards a client's connection.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// The address the client connected to.
        destination: SocketAddr,
    },
}

impl ProxyHeader {
    /// Returns the client's address. `None` for [`ProxyHeader::Local`].
    pub const fn source(&self) -> Option<SocketAddr> {
        match self {
            Self::Local => None,
            Self::Proxied { source, .. } => Some(*source),
        }
    }
}

/// The reason bytes are not a valid PROXY header. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address or a port is malformed, or of another family than declared.
    #[error("an address of the PROXY header is malformed")]
    Address,
    /// The checksum (CRC32C) of a version 2 header is wrong.
    #[error("the PROXY header's checksum is wrong")]
    Checksum,
    /// The command, family, protocol or version is unknown.
    #[error("the PROXY header has an unknown command, family, protocol or version")]
    Unknown,
    /// The extensions (TLVs) do not fill their space exactly, or one is repeated, too long or malformed.
    #[error("the PROXY header's extensions are malformed")]
    Extension,
    /// The connection does not begin with a PROXY header.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// The header exceeds the length limit: [`v1::MAX`], [`v2::MAX`] or that given.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Parses the PROXY header of either version at the beginning of a connection. Returns the header and its length in
/// bytes. `Ok(None)` if it is incomplete.
///
/// # Errors
/// [`Error`] as soon as the bytes cannot become a valid header.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// Returns both addresses in one family, as a header requires: if one is IPv6, an IPv4 address is mapped to IPv6.
fn same_family(a: IpAddr, b: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    };
    if a.is_ipv4() == b.is_ipv4() { (a, b) } else { (mapped(a), mapped(b)) }
}
