//! The real address of a client behind hops of ours.
//!
//! It starts at the connection's own source and walks the one configured header from right to left, as long as the hop
//! reached so far is trusted. So an address only ever counts because a trusted hop wrote it; what a stranger wrote
//! further left never does. Anything that is no address ends the walk where it is.

mod entry;
mod walk;

pub use entry::parse_entry;
pub use walk::{restore, unasked};

use crate::config::TrustedHeader;
use std::fmt;
use std::net::IpAddr;

/// Who asks, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
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
    pub told: ForwardedInfo,
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
    /// The address is in a trusted range, but is not who hops of ours are: it is the client.
    WrongIdentity,
    /// The connection's source is trusted, but came by another interface than hops of ours do.
    WrongInterface,
}

/// What a trusted hop said about how the client came to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedInfo {
    /// Whether the client came by https.
    pub https: Option<bool>,
    /// The authority that the client asked for.
    pub host: Option<Box<str>>,
    /// The port that the client connected to.
    pub port: Option<u16>,
}

/// The most hops that are walked.
pub const MAX_HOPS: usize = 32;
/// The most hops of one request that are asked about, besides the connection's source.
pub const MAX_ASKED: usize = 8;
/// The most bytes of the header that are read.
pub const MAX_BYTES: usize = 8 * 1024;

impl ClientAddress {
    /// The client and the hops, in the order of X-Forwarded-For.
    pub fn chain(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address).chain(self.via.iter().copied())
    }

    /// Whether the connection came from a trusted hop, so that what it says about requests counts.
    pub const fn is_by_hop(&self) -> bool {
        !self.via.is_empty()
            || !matches!(self.stop, Stop::Untrusted | Stop::WrongIdentity | Stop::WrongInterface)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "the other end of the connection",
            Self::Header(header) => header.name(),
            Self::ProxyProtocol => "the PROXY header",
        })
    }
}

impl Stop {
    /// The stable name, for logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Garbage => "garbage",
            Self::TooLong => "too-long",
            Self::Untrusted => "untrusted",
            Self::WrongIdentity => "wrong-identity",
            Self::WrongInterface => "wrong-interface",
        }
    }

    /// Whether something was wrong with what the hops wrote, so that the address may be a hop's.
    pub const fn is_suspect(self) -> bool {
        matches!(self, Self::Garbage | Self::TooLong)
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "it is trusted, and its header names nobody further",
            Self::Garbage => "the next entry of the header is no address",
            Self::TooLong => "the header has more entries or bytes than are read",
            Self::Untrusted => "it is no trusted hop",
            Self::WrongIdentity => "it is in a trusted range, but is not who hops are in the tailnet",
            Self::WrongInterface => "it is in a trusted range, but came by another interface than hops do",
        })
    }
}

/// `192.0.2.1 (X-Forwarded-For; it is no trusted hop)`
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}; {})", self.address, self.source, self.stop)
    }
}
