//! Resource limits of QUIC clients.

use std::time::Duration;

/// The limits of an HTTP/3 engine, for each client connection or for all of them.
#[derive(Clone, Debug)]
pub(crate) struct QuicLimits {
    /// The limits of a request head and of trailers.
    pub(crate) section: edge_http::h3::SectionLimits,
    /// The highest number of concurrent requests on one connection.
    pub(crate) streams: u32,
    /// The receive window of one stream in bytes: the highest number of request content bytes in flight or not
    /// consumed. It is smaller than that of the connection, so that a request that nobody reads does not keep others
    /// from being sent.
    pub(crate) stream_window: u32,
    /// The initial receive window of one connection in bytes, which grows as the module `receive_window` describes.
    pub(crate) connection_window: u32,
    /// The highest number of response bytes buffered for one stream.
    pub(crate) send_buffer: usize,
    /// The highest number of response bytes in flight or queued in QUIC on one connection. The effective limit begins
    /// lower and grows with the congestion window.
    pub(crate) send_window: u64,
    /// The highest count of aborted requests of one connection, which decreases by [`QuicLimits::resets_per_second`].
    /// One more closes the connection.
    pub(crate) resets: u32,
    /// The number by which the count of aborted requests decreases per second.
    pub(crate) resets_per_second: u32,
    /// The number of frames on a control stream that are tolerated beyond one per request. More close the connection.
    pub(crate) control_frames: u64,
    /// The longest time from the first packet to the end of the handshake.
    pub(crate) handshake: Duration,
    /// The longest time from the opening of a request stream to the end of the request's head.
    pub(crate) head: Duration,
    /// True if the interface that each datagram arrives on is to be recorded.
    pub(crate) interfaces: bool,
    /// The time after which a connection without received packets ends.
    pub(crate) idle: Duration,
    /// The highest number of connections of one engine. Above it, first flights of unknown clients are dropped.
    pub(crate) connections: usize,
    /// The highest number of handshakes from addresses that are not validated. Above it, a client must validate its
    /// address by a Retry before any cryptography (RFC 9000 §8.1.2).
    pub(crate) pending_handshakes: usize,
    /// The highest number of handshakes from addresses that are not validated of one client, which is an IPv4 address
    /// or a /64 of IPv6. Above it, the client must validate its address by a Retry.
    pub(crate) pending_handshakes_per_client: u32,
    /// The highest number of incomplete first flights. Above it, the oldest is removed for a new one.
    pub(crate) pending_flows: usize,
    /// The highest number of bytes in all incomplete first flights. The oldest are removed for a new one.
    pub(crate) pending_bytes: usize,
    /// The longest time for a first flight to become complete. A refused one is remembered for twice as long.
    pub(crate) pending_time: Duration,
}

impl Default for QuicLimits {
    fn default() -> Self {
        Self {
            section: edge_http::h3::SectionLimits::default(),
            streams: 100,
            // 100 Mbit/s at a round trip of 300 ms.
            stream_window: 4 * 1024 * 1024,
            connection_window: 6 * 1024 * 1024,
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
