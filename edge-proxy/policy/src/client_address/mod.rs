//! Restoration of the client address behind trusted proxies.
//!
//! The evaluation starts at the source of the connection and reads the one configured header from right to left while
//! the hop reached so far is trusted. An address therefore counts only if a trusted proxy wrote it; entries that a
//! client forged further left are never reached. An entry that is not an address ends the evaluation.

mod entry;
mod walk;

pub use entry::parse_entry;
pub use walk::{next_lookup, restore};

use crate::config::TrustedHeader;
use std::fmt;
use std::net::IpAddr;

/// The client of a request: its address, the source of that address, and what trusted proxies reported about the
/// request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The IP address, never IPv4-mapped IPv6 and without a zone.
    pub address: IpAddr,
    /// The port of the client. `None` if it is not known, since the header does not contain it.
    pub port: Option<u16>,
    /// The trusted hops between the client and this proxy, the nearest last.
    pub via: Vec<IpAddr>,
    /// The source of `address`.
    pub source: Source,
    /// The reason the evaluation of the header stopped at `address`.
    pub stop: StopReason,
    /// The scheme, host and port of the client's request, as reported by a trusted proxy.
    pub forwarded: ForwardedInfo,
}

/// The source that a client's address was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The peer address of the connection.
    Connection,
    /// The configured header of a trusted proxy.
    Header(TrustedHeader),
    /// The PROXY header of the connection.
    ProxyProtocol,
}

/// The reason the evaluation of the forwarding header stopped at the client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// The header has no further entry. The address is that of a trusted proxy, or of the peer if the header is
    /// missing.
    End,
    /// The next entry is not an address: empty, `unknown`, obfuscated or malformed. Also if a header with a single
    /// address occurs twice. The address is that of the last hop.
    Garbage,
    /// The header has more than [`MAX_HOPS`] hops or [`MAX_BYTES`] bytes. The address is that of the last hop
    /// evaluated.
    TooLong,
    /// The address is not in a trusted range, or the header contains a single address; so it is the client's.
    Untrusted,
    /// The address is in a trusted range but does not have a trusted tailnet identity, so it is the client's.
    WrongIdentity,
    /// The source of the connection is in a trusted range, but the connection did not arrive on
    /// [`Trust::interface`](crate::config::Trust::interface).
    WrongInterface,
}

/// The parameters of the client's request as a trusted proxy reported them. Those of X-Forwarded-Proto, -Host and
/// -Port are ignored if the field is repeated or malformed; those in Forwarded take precedence if that is the
/// configured header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedInfo {
    /// True if the client used HTTPS, false if it used HTTP. `None` if that was not reported.
    pub https: Option<bool>,
    /// The authority of the client's request. `None` if that was not reported.
    pub host: Option<Box<str>>,
    /// The port that the client connected to. `None` if that was not reported.
    pub port: Option<u16>,
}

/// The highest number of hops that are evaluated.
pub const MAX_HOPS: usize = 32;
/// The highest number of hops of one request that are looked up in the tailnet, besides the source of the connection.
pub const MAX_LOOKUPS: usize = 8;
/// The highest number of header bytes that are evaluated.
pub const MAX_BYTES: usize = 8 * 1024;

impl ClientAddress {
    /// Returns an iterator over the client and the hops, in the order of X-Forwarded-For: the client first, the
    /// nearest hop last.
    pub fn chain(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address).chain(self.via.iter().copied())
    }

    /// Returns whether a trusted proxy sent the request, so that the forwarding headers were evaluated.
    pub const fn is_by_hop(&self) -> bool {
        !self.via.is_empty()
            || !matches!(
                self.stop,
                StopReason::Untrusted | StopReason::WrongIdentity | StopReason::WrongInterface
            )
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "the peer of the connection",
            Self::Header(header) => header.name(),
            Self::ProxyProtocol => "the PROXY header",
        })
    }
}

impl StopReason {
    /// Returns the stable code in kebab case, for use by programs.
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

    /// Returns whether the header was malformed or too long, so that the address may be that of a hop instead of the
    /// client's.
    pub const fn is_suspect(self) -> bool {
        matches!(self, Self::Garbage | Self::TooLong)
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "a trusted proxy, and the header has no further entry",
            Self::Garbage => "the next entry of the header is not an address",
            Self::TooLong => "the header has more entries or bytes than are read",
            Self::Untrusted => "not a trusted proxy",
            Self::WrongIdentity => "in a trusted range, but without the required tailnet identity",
            Self::WrongInterface => "in a trusted range, but not on the required interface",
        })
    }
}

/// Formats the address as text such as `192.0.2.1 (X-Forwarded-For; not a trusted proxy)`.
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}; {})", self.address, self.source, self.stop)
    }
}
