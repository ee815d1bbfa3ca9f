//! Forwarding of TCP connections whose bytes are not looked at.

use crate::config::Access;
use std::time::Duration;

/// The forwarding of a listener's connections to an upstream, byte for byte: SSH, databases, mail.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// The name of an upstream in [`Config::upstreams`](crate::config::Config::upstreams) with
    /// [`Protocol::Tcp`](crate::config::Protocol::Tcp).
    pub upstream: String,
    /// The clients that may connect, by the peer's address or the source in its PROXY header.
    pub access: Access,
    /// Time without a byte in either direction after which a connection ends. `None` is
    /// [`Timeouts::tunnel`](crate::config::Timeouts::tunnel).
    pub idle: Option<Duration>,
}

impl Forward {
    /// Returns a forward to the upstream of this name that every client may use.
    pub fn to(upstream: impl Into<String>) -> Self {
        Self { upstream: upstream.into(), access: Access::default(), idle: None }
    }
}
