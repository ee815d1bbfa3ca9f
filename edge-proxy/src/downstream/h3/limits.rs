//! Resource limits of QUIC clients.

use std::time::Duration;

/// The resource limits of QUIC clients.
#[derive(Clone, Debug)]
pub(crate) struct QuicLimits {
    /// The limits of a request head and of trailers.
    pub(crate) section: edge_http::h3::SectionLimits,
    /// The highest number of concurrent requests on one connection.
    pub(crate) streams: u32,
    /// The maximum of request content in flight on one stream.
    pub(crate) stream_window: u32,
    /// The maximum of request content in flight on one connection.
    pub(crate) connection_window: u32,
    /// The highest number of response bytes buffered for one stream.
    pub(crate) send_buffer: usize,
    /// The highest number of response bytes in flight or buffered on one connection. The limit grows with the congestion window.
    pub(crate) send_window: u64,
    /// The number of requests aborted by the client that are tolerated as a burst; see [`QuicLimits::resets_per_second`].
    pub(crate) resets: u32,
    /// The number of aborted requests that are tolerated per second.
    pub(crate) resets_per_second: u32,
    /// The number of frames on a control stream that are tolerated beyond one per request.
    pub(crate) control_frames: u64,
    /// The time from the first packet to the end of the handshake.
    pub(crate) handshake: Duration,
    /// The time from the first byte of a request to the end of its head.
    pub(crate) head: Duration,
    /// True if the interface that datagrams arrive on matters.
    pub(crate) interfaces: bool,
    /// The time after which a connection without received packets ends.
    pub(crate) idle: Duration,
    /// The highest number of connections. Above it, unknown clients get no response.
    pub(crate) connections: usize,
    /// The highest number of handshakes from addresses that are not validated. Above it, a client must validate its
    /// address before any cryptography (RFC 9000 §8.1.2).
    pub(crate) pending_handshakes: usize,
    /// The highest number of such handshakes of one client: an IPv4 address or a /64 of IPv6.
    pub(crate) pending_handshakes_per_client: u32,
    /// The maximum of incomplete first flights.
    pub(crate) pending_flows: usize,
    /// The highest number of bytes in incomplete first flights.
    pub(crate) pending_bytes: usize,
    /// The time for a first flight to become complete, and for which a refused one is remembered.
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
            interfaces: false,
            idle: Duration::from_secs(60),
            connections: 100_000,
            pending_handshakes: 1000,
            pending_handshakes_per_client: 16,
            pending_flows: 1024,
            pending_bytes: 4 * 1024 * 1024,
            pending_time: Duration::from_secs(5),
        }
    }
}
