//! Forwarding of TCP connections without interpreting their bytes.

use crate::config::Access;
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
}

impl Forward {
    /// Returns a forward to the upstream of this name without access restrictions.
    pub fn to(upstream: impl Into<String>) -> Self {
        Self { upstream: upstream.into(), access: Access::default(), idle: None }
    }
}
