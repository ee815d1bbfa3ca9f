//! The ClientHello of a connection as TLS receives it, from which the server name is read again.
//!
//! The filter of first flights may pass an incomplete ClientHello to QUIC. The engine then decides about the server
//! name when the rest has arrived, before it sends any response of TLS.

use edge_http::h3::client_hello::{self, MalformedHello};
use edge_http::h3::initial::CryptoBuffer;

/// The server name in a ClientHello, `None` if it has none; or the error if the ClientHello is malformed or too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReceivedHello(pub(super) Result<Option<String>, MalformedHello>);

/// A ClientHello that is being received.
pub(super) enum HelloReader {
    /// The part that has arrived.
    Incomplete(Vec<u8>),
    /// All of it has arrived, or the part that has arrived is malformed or too long.
    Complete(ReceivedHello),
}

impl HelloReader {
    /// Adds the next bytes of the client's handshake messages. No effect once the ClientHello is complete.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let Self::Incomplete(message) = self else { return };
        message.extend_from_slice(bytes);
        let received = match client_hello::parse(message) {
            Ok(Some(hello)) => Ok(hello.sni.map(str::to_owned)),
            Ok(None) if message.len() <= CryptoBuffer::MAX_BYTES => return,
            Ok(None) | Err(MalformedHello) => Err(MalformedHello),
        };
        *self = Self::Complete(ReceivedHello(received));
    }

    /// Returns the ClientHello or its error. `None` while it is incomplete.
    pub(super) const fn received(&self) -> Option<&ReceivedHello> {
        match self {
            Self::Incomplete(_) => None,
            Self::Complete(hello) => Some(hello),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hello_is_read_in_pieces_and_once() {
        let mut message = vec![1, 0, 0, 61, 3, 3];
        message.extend([7; 32]);
        message.extend([0, 0, 2, 0x13, 1, 1, 0, 0, 18, 0, 0, 0, 14, 0, 12, 0, 0, 9]);
        message.extend(b"git.local");
        let mut reader = HelloReader::Incomplete(Vec::new());
        for byte in &message {
            assert_eq!(reader.received(), None);
            reader.read(&[*byte]);
        }
        let hello = ReceivedHello(Ok(Some("git.local".to_owned())));
        assert_eq!(reader.received(), Some(&hello));
        reader.read(&[20, 0, 0, 1, 0]);
        assert_eq!(reader.received(), Some(&hello), "a later message changes nothing");
    }

    #[test]
    fn a_malformed_or_endless_client_hello_is_an_error() {
        let malformed = ReceivedHello(Err(MalformedHello));
        let mut reader = HelloReader::Incomplete(Vec::new());
        reader.read(&[2]);
        assert_eq!(reader.received(), Some(&malformed));
        let mut reader = HelloReader::Incomplete(vec![1, 0xff, 0xff, 0xff]);
        reader.read(&[0; CryptoBuffer::MAX_BYTES]);
        assert_eq!(reader.received(), Some(&malformed));
    }
}
