//! Events of QUIC connections for the [`Service`](super::Service), and its verdicts.

use edge_http::h3::Code;
use std::net::{IpAddr, SocketAddr};

/// Numbers of requests that were rejected because of their heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RejectedHeads {
    /// Heads that exceed the limit of size.
    pub(crate) too_large: u32,
    /// Heads that were not complete in time.
    pub(crate) too_slow: u32,
    /// Heads that are malformed.
    pub(crate) malformed: u32,
}

/// The service's verdict on a client's first flight, by its address and server name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HelloVerdict {
    /// The connection is accepted, subject to the limits of the engine.
    Accept,
    /// The client gets no response.
    Silent,
    /// The connection is refused with CONNECTION_REFUSED.
    Alert,
}

/// The reason a datagram was dropped without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DropReason {
    /// The datagram is not a QUIC packet that can begin a connection, or QUIC would answer it without a connection.
    Garbage,
    /// The QUIC version is not version 1.
    Version,
    /// A CRYPTO frame or the ClientHello is malformed.
    Malformed,
    /// There are too many connections or too many bytes in incomplete first flights, or the flight has too many
    /// datagrams.
    Overload,
}

/// The properties of a connection that are known once its ClientHello was processed.
#[derive(Clone, Debug)]
pub(crate) struct AcceptedConnection {
    /// The client's address, which is validated at the latest when the handshake is complete.
    pub(crate) peer: SocketAddr,
    /// The local IP address of the connection. `None` if it is not known.
    pub(crate) local_ip: Option<IpAddr>,
    /// The index of the interface that its datagrams arrived on. `None` if they arrived on several, or if it is not
    /// recorded.
    pub(crate) interface: Option<u32>,
    /// The server name (SNI) as sent. `None` if there is none.
    pub(crate) sni: Option<String>,
}

/// The reason a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client closed the connection with this application error code.
    Peer(u64),
    /// The client closed the connection with this transport error code. `None` if the client sent a stateless reset.
    PeerTransport(Option<u64>),
    /// This side closed the connection with this application error code; `H3_NO_ERROR` also if quinn-proto gives no
    /// other reason.
    Local(Code),
    /// This side closed the connection with this transport error code, since QUIC or TLS failed.
    Transport(u64),
    /// Nothing arrived within the idle timeout.
    TimedOut,
}
