//! Events of QUIC connections for the [`Service`](super::Service), and its verdicts.

use edge_http::h3::Code;
use std::net::{IpAddr, SocketAddr};

/// Numbers of requests rejected for their heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RejectedHeads {
    pub(crate) too_large: u32,
    pub(crate) too_slow: u32,
}

/// The verdict on the server name in a client's first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloVerdict {
    /// The connection is accepted.
    Accept,
    /// The client never gets a response.
    Silent,
    /// The connection is refused with an error.
    Alert,
}

/// The reason a datagram was dropped without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DropReason {
    /// The datagram is not a QUIC packet that this worker can use.
    Garbage,
    /// The QUIC version is not supported.
    Version,
    /// The ClientHello is malformed.
    Malformed,
    /// There are too many incomplete first flights, or one took too long.
    Overload,
}

/// The properties of a connection, known once its ClientHello was read.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedConnection {
    /// The client's address, validated only at the end of the handshake.
    pub(crate) peer: SocketAddr,
    /// The local address of the connection, if known.
    pub(crate) local_ip: Option<IpAddr>,
    /// The index of the interface that its datagrams arrived on. `None` if that does not matter.
    pub(crate) interface: Option<u32>,
    /// The server name (SNI).
    pub(crate) sni: Option<String>,
}

/// The reason a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client closed it with this application error code.
    Peer(u64),
    /// The client closed it with this transport error code. `None` if it reset the connection.
    PeerTransport(Option<u64>),
    /// This side closed it with this application error code.
    Local(Code),
    /// QUIC or TLS failed on this side with this transport error code.
    Transport(u64),
    /// Nothing arrived within the idle timeout.
    TimedOut,
}
