//! Forwarding of TCP connections without interpreting their bytes.

use crate::config::Access;
use crate::rate::Rate;
use std::time::Duration;

/// The forwarding of a listener's TCP connections to an upstream, byte for byte: for SSH, databases, mail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// The name of an upstream in [`Config::upstreams`](crate::config::Config::upstreams) with
    /// [`Protocol::Tcp`](crate::config::Protocol::Tcp). Any other name is a [`ConfigError`](crate::ConfigError).
    pub upstream: String,
    /// The client addresses that may connect. The client is the peer, or the source in its PROXY header.
    pub access: Access,
    /// The time without a byte in either direction after which a connection is closed, 1 ms to 30 days. `None` means
    /// [`Timeouts::tunnel`](crate::config::Timeouts::tunnel).
    pub idle: Option<Duration>,
    /// The limits of the connections that are forwarded.
    pub rate: ConnectionLimits,
}

impl Forward {
    /// Returns a forward to the upstream of this name with the default settings: no restriction of addresses, no
    /// limits, and the idle timeout of tunnels.
    pub fn to(upstream: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            access: Access::default(),
            idle: None,
            rate: ConnectionLimits::default(),
        }
    }
}

/// The limits of forwarded connections. A connection above a limit is closed before the upstream is connected to.
/// `None`, the default of each, sets no limit.
///
/// A client is an IPv4 address or a /64 of IPv6. Connections of listeners with the same name and upstream count
/// together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The rate of new connections per client. `None` for no limit.
    pub client: Option<Rate>,
    /// The highest number of open connections per client, at least 1. `None` for no limit.
    pub client_concurrent: Option<u32>,
    /// The highest number of open connections of all clients together, at least 1. `None` for no limit.
    pub concurrent: Option<u32>,
}
