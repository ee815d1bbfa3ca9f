//! A layer above the packet protection of rustls that removes PADDING frames from received packets.
//!
//! quinn-proto processes padding byte by byte as frames: if a client fills the packet of a short request up to 1,444
//! bytes, that costs more than the request. Once a payload is decrypted, the frames other than padding are moved
//! together.
//!
//! The same layer reads the ClientHello, so that the engine learns the server name also if TLS rejects it.

use super::received_hello::HelloReader;
use bytes::BytesMut;
use edge_http::h3::padding;
use quinn_proto::crypto::{
    CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectionId, Side, TransportError};
use std::any::Any;
use std::sync::Arc;

/// A crypto configuration whose sessions remove padding from received packets, except from Initial packets.
pub(super) struct UnpaddingConfig(pub(super) Arc<dyn ServerConfig>);

impl ServerConfig for UnpaddingConfig {
    fn initial_keys(&self, version: u32, destination: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        // quinn-proto counts the bytes of the first packet after its decryption, for the limit before an address is
        // validated.
        self.0.initial_keys(version, destination)
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.0.retry_tag(version, original, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, parameters: &TransportParameters) -> Box<dyn Session> {
        let tls = self.0.clone().start_session(version, parameters);
        Box::new(UnpaddingSession { tls, hello: HelloReader::Incomplete(Vec::new()) })
    }
}

/// A session whose keys remove padding from received packets, except from Initial packets.
struct UnpaddingSession {
    /// The session of TLS.
    tls: Box<dyn Session>,
    /// The ClientHello of the session.
    hello: HelloReader,
}

impl Session for UnpaddingSession {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        self.tls.initial_keys(destination, side)
    }

    /// Returns the [`ReceivedHello`](super::received_hello::ReceivedHello). `None` until the ClientHello is complete.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let hello = self.hello.received()?;
        Some(Box::new(hello.clone()))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.tls.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let (header, packet) = self.tls.early_crypto()?;
        Some((header, Box::new(UnpaddingKey(packet))))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.tls.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.hello.read(bytes);
        self.tls.read_handshake(bytes)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.tls.transport_parameters()
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        self.tls.write_handshake(out).map(keys)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.tls.next_1rtt_keys().map(packet_keys)
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.tls.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.tls.export_keying_material(out, label, context)
    }
}

/// Returns the keys with the packet key for received packets (`remote`) wrapped in an [`UnpaddingKey`].
fn keys(keys: Keys) -> Keys {
    Keys { header: keys.header, packet: packet_keys(keys.packet) }
}

/// Returns the keys with the one for received packets (`remote`) wrapped in an [`UnpaddingKey`].
fn packet_keys(keys: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
    KeyPair { local: keys.local, remote: Box::new(UnpaddingKey(keys.remote)) }
}

/// A packet key that removes padding from the payloads that it decrypts.
struct UnpaddingKey(Box<dyn PacketKey>);

impl PacketKey for UnpaddingKey {
    fn encrypt(&self, packet: u64, buffer: &mut [u8], header_len: usize) {
        self.0.encrypt(packet, buffer, header_len);
    }

    fn decrypt(&self, packet: u64, header: &[u8], payload: &mut BytesMut) -> Result<(), CryptoError> {
        self.0.decrypt(packet, header, payload)?;
        let len = padding::remove(payload);
        if len < payload.len() {
            // A copy, so that stream data which waits to be read holds no more memory than quinn-proto accounts for.
            *payload = BytesMut::from(&payload[..len]);
        }
        Ok(())
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}
