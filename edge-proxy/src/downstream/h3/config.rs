//! The configuration of an engine and of the QUIC connections that it accepts.

use super::packet_keys::UnpaddingConfig;
use super::{Handover, QuicLimits, congestion, conn};
use edge_policy::config::Congestion;
use quinn_proto as quic;
use std::net::UdpSocket;
use std::sync::Arc;

/// The configuration of an HTTP/3 engine.
pub(crate) struct EngineConfig {
    /// The UDP socket. It is bound with SO_REUSEPORT if there are several workers.
    pub(crate) socket: UdpSocket,
    /// The QUIC configuration of accepted connections: see [`server_config`].
    pub(crate) server: Arc<quic::ServerConfig>,
    /// The membership in the group of engines that share the address: see [`Handover::mesh`].
    pub(crate) handover: Handover,
    /// The limits of the engine.
    pub(crate) limits: QuicLimits,
}

/// The number of packets that a client is asked to receive before it must acknowledge, if it supports that
/// (draft-ietf-quic-ack-frequency). By default it acknowledges every second packet (RFC 9000 §13.2.2), which costs a
/// third of the work of a download.
const ACK_ELICITING_THRESHOLD: u32 = 9;

/// Creates the QUIC configuration of accepted connections from a TLS configuration, whose ALPN becomes `h3`, with the
/// windows, streams and idle timeout of `limits` and this congestion control. `tls` must use TLS 1.3 and, if it
/// accepts early data at all, permit `u32::MAX` bytes of it (RFC 9001 §4.6.1).
///
/// # Errors
/// `NoInitialCipherSuite` if `tls` lacks the cipher suite of Initial packets.
pub(crate) fn server_config(
    mut tls: rustls::ServerConfig,
    limits: &QuicLimits,
    congestion: Congestion,
) -> Result<Arc<quic::ServerConfig>, quic::crypto::rustls::NoInitialCipherSuite> {
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quic::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let mut acknowledgements = quic::AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(ACK_ELICITING_THRESHOLD.into());
    let mut transport = quic::TransportConfig::default();
    transport
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
    let mut server = quic::ServerConfig::with_crypto(Arc::new(UnpaddingConfig(Arc::new(crypto))));
    server.transport_config(Arc::new(transport));
    Ok(Arc::new(server))
}
