//! HTTP/3: one engine a worker, which drives the QUIC state machine over a UDP socket and hands requests to a
//! [`Service`].
//!
//! The engine is one task. It takes what the socket has, feeds the connections, lets the tasks of the requests run, and
//! only then sends what all of them wrote, in as few system calls as it takes. Connections and streams are shared
//! between the engine and the tasks of one thread, so nothing is locked.

mod cid;
mod conn;
mod engine;
mod gate;
mod requests;
mod shared;
mod socket;
mod stream;
mod timers;
mod uni;

pub(crate) use cid::Handover;
pub(crate) use stream::H3Stream;

use crate::RequestHead;
use crate::h3::Code;
use quinn_proto as quic;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What an engine needs.
pub(crate) struct EngineConfig {
    /// Bound with SO_REUSEPORT if there are several workers.
    pub(crate) socket: UdpSocket,
    /// How connections are accepted: see [`server_config`].
    pub(crate) server: Arc<quic::ServerConfig>,
    /// This engine's place among those that share its address: see [`Handover::mesh`].
    pub(crate) handover: Handover,
    pub(crate) limits: Limits,
}

/// What a client may cost.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// A request's head, and its trailers.
    pub(crate) section: crate::h3::Limits,
    /// Requests at a time on one connection.
    pub(crate) streams: u32,
    /// Request content that may be under way on one stream.
    pub(crate) stream_window: u32,
    /// Request content that may be under way on one connection.
    pub(crate) connection_window: u32,
    /// Response content kept for one stream beyond what the path takes.
    pub(crate) send_buffer: usize,
    /// Response content in flight or waiting on one connection, at most. It grows with the congestion window.
    pub(crate) send_window: u64,
    /// Requests broken off by the client that are forgiven at once; see [`Limits::resets_per_second`].
    pub(crate) resets: u32,
    /// How many of those are forgotten in a second.
    pub(crate) resets_per_second: u32,
    /// Frames on a control stream beyond one a request.
    pub(crate) control_frames: u64,
    /// From the first packet to the end of the handshake.
    pub(crate) handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub(crate) head: Duration,
    /// A connection on which nothing arrives.
    pub(crate) idle: Duration,
    /// Connections at a time; strangers beyond that hear nothing.
    pub(crate) connections: usize,
    /// Handshakes under way from addresses that are not proved. Beyond that a client must prove its own before anything
    /// is computed for it (RFC 9000 §8.1.2).
    pub(crate) unproved: usize,
    /// First flights of strangers that are not whole yet.
    pub(crate) pending_flows: usize,
    /// Bytes of them.
    pub(crate) pending_bytes: usize,
    /// How long they have to become whole, and how long a refused one is remembered.
    pub(crate) pending_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            section: crate::h3::Limits::default(),
            streams: 100,
            stream_window: 1024 * 1024,
            connection_window: 4 * 1024 * 1024,
            send_buffer: 256 * 1024,
            send_window: 8 * 1024 * 1024,
            resets: 200,
            resets_per_second: 20,
            control_frames: 256,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            connections: 100_000,
            unproved: 1000,
            pending_flows: 1024,
            pending_bytes: 4 * 1024 * 1024,
            pending_time: Duration::from_secs(5),
        }
    }
}

/// Heads that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) too_large: u32,
    pub(crate) too_slow: u32,
}

/// What happens to a stranger that asks for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// It is served.
    Accept,
    /// Nothing is sent to it, ever.
    Silent,
    /// It is told that it is refused.
    Alert,
}

/// Why a datagram was dropped without an answer.
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

/// What is known of a connection once its ClientHello was read.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// The client's address. Only the end of the handshake proves it.
    pub(crate) peer: SocketAddr,
    /// The address of this machine that it talks to.
    pub(crate) local_ip: Option<IpAddr>,
    /// The name that it asked for, as TLS understood it.
    pub(crate) sni: Option<String>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The client closed it with this application code.
    Peer(u64),
    /// The client's QUIC failed or refused ours, with this transport code; or it reset the connection.
    PeerTransport(Option<u64>),
    /// It was closed here with this code.
    Local(Code),
    /// QUIC or TLS failed here, with this transport code.
    Transport(u64),
    /// Nothing came for too long.
    TimedOut,
}

/// What requests are handed to.
pub(crate) trait Service: 'static {
    /// What is kept for a connection.
    type Conn: 'static;

    /// Decides about a stranger, before anything is answered.
    fn hello(&self, peer: SocketAddr, sni: Option<&str>) -> Hello;

    /// A connection that was accepted has read its ClientHello.
    fn opened(&self, opened: Opened) -> Self::Conn;

    /// A request came. `peer` is the client's address, which is proved unless the stream is early. Whatever is done
    /// about it is done in a task of its own.
    fn request(&self, conn: &Rc<Self::Conn>, peer: SocketAddr, head: RequestHead, stream: H3Stream);

    /// Requests were refused for their heads, which were too large, or not whole in time.
    fn refused(&self, _conn: &Rc<Self::Conn>, _heads: Heads) {}

    /// The connection is over. Its streams are lost.
    fn closed(&self, conn: &Rc<Self::Conn>, why: Closed);

    /// A datagram of a stranger was dropped for another reason than [`Service::hello`].
    fn dropped(&self, _peer: SocketAddr, _why: Dropped) {}
}

pub(crate) use engine::run;

/// What an engine can be told while it runs.
enum Command {
    Reload(Arc<quic::ServerConfig>, Box<Limits>),
    Shutdown(Duration),
}

/// Tells an engine what to do, from any thread.
#[derive(Clone)]
pub(crate) struct Control(mpsc::UnboundedSender<Command>);

/// The engine's end of a [`Control`].
pub(crate) struct ControlReceiver(mpsc::UnboundedReceiver<Command>);

impl Control {
    /// A control, and what the engine takes.
    pub(crate) fn new() -> (Self, ControlReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), ControlReceiver(receiver))
    }

    /// Connections that come from now on are accepted so; those that are there stay, and have these limits too, as far as they
    /// were not agreed on with the client.
    pub(crate) fn reload(&self, server: Arc<quic::ServerConfig>, limits: Limits) {
        // An engine that has ended needs no configuration.
        let _ = self.0.send(Command::Reload(server, Box::new(limits)));
    }

    /// No new connections and, after a moment for what is under way, no new requests; ends when those that run are
    /// done, or after this time.
    pub(crate) fn shutdown(&self, within: Duration) {
        let _ = self.0.send(Command::Shutdown(within));
    }
}

/// Packets that a client is asked to take before it acknowledges them, where it can be asked (draft-ietf-quic-ack-frequency): of
/// every second one, as is usual (RFC 9000 §13.2.2), a download is for a third work of reading acknowledgements.
const UNACKNOWLEDGED: u32 = 9;

/// How connections are accepted, from how TLS is. `tls` needs TLS 1.3, and if it allows early data at all, `u32::MAX`
/// bytes of it (RFC 9001 §4.6.1).
pub(crate) fn server_config(
    mut tls: rustls::ServerConfig,
    limits: &Limits,
) -> Result<Arc<quic::ServerConfig>, quic::crypto::rustls::NoInitialCipherSuite> {
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quic::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let mut acknowledgements = quic::AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(UNACKNOWLEDGED.into());
    let mut transport = quic::TransportConfig::default();
    transport
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(limits.streams.into())
        // Control, QPACK's two, and some grease.
        .max_concurrent_uni_streams(8u32.into())
        .stream_receive_window(limits.stream_window.into())
        .receive_window(limits.connection_window.into())
        .send_window(conn::SEND_WINDOW.min(limits.send_window))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(limits.idle.try_into().ok());
    let mut server = quic::ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport));
    Ok(Arc::new(server))
}

#[cfg(test)]
mod tests;
