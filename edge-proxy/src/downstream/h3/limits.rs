//! Limits of what a QUIC client may cost.

use std::time::Duration;

/// The limits for QUIC clients.
#[derive(Clone, Debug)]
pub(crate) struct QuicLimits {
    /// A request's head, and its trailers.
    pub(crate) section: edge_http::h3::SectionLimits,
    /// Requests at a time on one connection.
    pub(crate) streams: u32,
    /// The maximum of request content in flight on one stream.
    pub(crate) stream_window: u32,
    /// The maximum of request content in flight on one connection.
    pub(crate) connection_window: u32,
    /// Response content kept for one stream beyond what the path takes.
    pub(crate) send_buffer: usize,
    /// Response content in flight or waiting on one connection, at most. It grows with the congestion window.
    pub(crate) send_window: u64,
    /// Requests broken off by the client that are forgiven at once; see [`QuicLimits::resets_per_second`].
    pub(crate) resets: u32,
    /// The number of resets that are forgiven per second.
    pub(crate) resets_per_second: u32,
    /// Frames on a control stream beyond one a request.
    pub(crate) control_frames: u64,
    /// From the first packet to the end of the handshake.
    pub(crate) handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub(crate) head: Duration,
    /// A connection on which nothing arrives.
    pub(crate) idle: Duration,
    /// The maximum of connections; further unknown clients get no response.
    pub(crate) connections: usize,
    /// The maximum of handshakes from addresses that are not validated. Beyond it, a client must validate its address
    /// before any cryptography (RFC 9000 §8.1.2).
    pub(crate) unproved: usize,
    /// The same from one client, an IPv4 address or a /64 of IPv6.
    pub(crate) unproved_per_client: u32,
    /// The maximum of incomplete first flights.
    pub(crate) pending_flows: usize,
    /// Bytes of them.
    pub(crate) pending_bytes: usize,
    /// The time for first flights to become complete, and for which a refused one is remembered.
    pub(crate) pending_time: Duration,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            section: edge_http::h3::SectionLimits::default(),
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
            unproved_per_client: 16,
            pending_flows: 1024,
            pending_bytes: 4 * 1024 * 1024,
            pending_time: Duration::from_secs(5),
        }
    }
}
