//! The configuration of an engine and of the QUIC connections that it accepts.

use super::packet_keys::UnpaddingConfig;
use super::{Handover, QuicLimits, congestion, conn};
use edge_policy::config::Congestion;
use quinn_proto as quic;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

/// The configuration of an HTTP/3 engine.
pub(crate) struct EngineConfig {
    /// The UDP socket. It is bound with SO_REUSEPORT if there are several workers.
    pub(crate) socket: UdpSocket,
    /// The QUIC configurations of accepted connections: see [`server_config`].
    pub(crate) server: Arc<QuicServerConfig>,
    /// The membership in the group of engines that share the address: see [`Handover::mesh`].
    pub(crate) handover: Handover,
    /// The limits of the engine.
    pub(crate) limits: QuicLimits,
}

/// The QUIC configurations of accepted connections, which differ in the largest datagram that is sent.
pub(crate) struct QuicServerConfig {
    /// The configuration for clients of other hosts. Their datagrams fit into a packet of Ethernet.
    pub(super) network: Arc<quic::ServerConfig>,
    /// The configuration for clients of this host. Their datagrams are as large as UDP allows, if the client accepts
    /// that: the loopback interface has an MTU of 65,536 bytes.
    pub(super) same_host: Arc<quic::ServerConfig>,
}

/// The largest datagram over IPv4 in bytes: the largest packet less the headers of IP and UDP.
pub(super) const MAX_DATAGRAM: u16 = u16::MAX - 28;

/// The precision in bytes with which the largest datagram to a client of this host is determined, which takes seven
/// probes.
const MIN_MTU_CHANGE: u16 = 1000;

/// The time after which the largest datagram to a client of this host is determined again, after several losses of large
/// datagrams in a row. The MTU of the loopback interface does not change: those datagrams did not fit into the client's
/// receive buffer, which contains three of them by default.
const LOCAL_COOLDOWN: Duration = Duration::from_millis(10);

/// The number of packets that a client is asked to receive before it must acknowledge, if it supports that
/// (draft-ietf-quic-ack-frequency). By default it acknowledges every second packet (RFC 9000 §13.2.2), which costs a
/// third of the work of a download.
const ACK_ELICITING_THRESHOLD: u32 = 9;

/// The round-trip time that is assumed before one was measured. What the edge sent first is sent again after three times
/// as long if nothing is acknowledged (RFC 9002 §6.2.1). With the recommended 333 ms, a lost first datagram would cost a
/// second; other servers assume 100 ms too. On a longer path it costs one or two datagrams that would not be needed.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Creates the QUIC configurations of accepted connections from a TLS configuration, whose ALPN becomes `h3`, with the
/// windows, streams and idle timeout of `limits` and this congestion control. `tls` must use TLS 1.3 and, if it
/// accepts early data at all, permit `u32::MAX` bytes of it (RFC 9001 §4.6.1).
///
/// # Errors
/// `NoInitialCipherSuite` if `tls` lacks the cipher suite of Initial packets.
pub(crate) fn server_config(
    mut tls: rustls::ServerConfig,
    limits: &QuicLimits,
    congestion: Congestion,
) -> Result<Arc<QuicServerConfig>, quic::crypto::rustls::NoInitialCipherSuite> {
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quic::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let mut network = quic::ServerConfig::with_crypto(Arc::new(UnpaddingConfig(Arc::new(crypto))));
    // A copy, so that a token is valid for both.
    let mut same_host = network.clone();
    network.transport_config(Arc::new(transport(limits, congestion)));
    let mut discovery = quic::MtuDiscoveryConfig::default();
    discovery.upper_bound(MAX_DATAGRAM).minimum_change(MIN_MTU_CHANGE).black_hole_cooldown(LOCAL_COOLDOWN);
    let mut local = transport(limits, congestion);
    local.mtu_discovery_config(Some(discovery));
    same_host.transport_config(Arc::new(local));
    Ok(Arc::new(QuicServerConfig { network: Arc::new(network), same_host: Arc::new(same_host) }))
}

/// Creates the transport parameters of accepted connections with the windows, streams and idle timeout of `limits`, and
/// this congestion control.
fn transport(limits: &QuicLimits, congestion: Congestion) -> quic::TransportConfig {
    let mut acknowledgements = quic::AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(ACK_ELICITING_THRESHOLD.into());
    let mut transport = quic::TransportConfig::default();
    transport
        .initial_rtt(INITIAL_RTT)
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(limits.streams.into())
        // Control, QPACK's two, and some grease.
        .max_concurrent_uni_streams(8u32.into())
        .stream_receive_window(limits.stream_window.into())
        .receive_window(limits.connection_window.into())
        .congestion_controller_factory(congestion::factory(congestion))
        .send_window(conn::SEND_WINDOW.min(limits.send_window))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(limits.idle.try_into().ok());
    transport
}
