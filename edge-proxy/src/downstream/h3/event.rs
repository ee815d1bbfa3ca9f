//! Events of QUIC connections for the [`Service`](super::Service), and its verdicts.

use edge_http::h3::Code;
use std::net::{IpAddr, SocketAddr};

/// Heads that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) too_large: u32,
    pub(crate) too_slow: u32,
}

/// The verdict on the server name in a client's first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloVerdict {
    /// It is served.
    Accept,
    /// Nothing is sent to it, ever.
    Silent,
    /// Refuse with an error.
    Alert,
}

/// The reason a datagram was dropped without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// No packet of QUIC that this worker can have a use for.
    Garbage,
    /// A version of QUIC that is not spoken here.
    Version,
    /// The ClientHello is none.
    Malformed,
    /// Too many first flights that are not whole, or one took too long.
    Overload,
}

/// The properties of a connection, known once its ClientHello was read.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedConnection {
    /// The client's address. Only the end of the handshake proves it.
    pub(crate) peer: SocketAddr,
    /// The address of this machine that it talks to.
    pub(crate) local_ip: Option<IpAddr>,
    /// The name that it asked for, as TLS understood it.
    pub(crate) sni: Option<String>,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client closed it with this application code.
    Peer(u64),
    /// The client's QUIC failed, or rejected ours with this transport error code; or it reset the connection.
    PeerTransport(Option<u64>),
    /// It was closed here with this code.
    Local(Code),
    /// QUIC or TLS failed here, with this transport code.
    Transport(u64),
    /// Nothing came for too long.
    TimedOut,
}
