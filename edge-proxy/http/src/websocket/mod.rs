//! The translation of WebSocket handshakes between versions of HTTP (RFC 6455 §4, RFC 8441 §5, RFC 9220).

use crate::{BodyLength, Method, Name, RequestHead, ResponseHead};
use crate::{encoding, sha1};

/// The text that is appended to the key before it is hashed (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 §4.2.2).
///
/// ```
/// assert_eq!(&edge_http::websocket::accept(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept(key: &[u8]) -> [u8; 28] {
    let mut out = [0; 28];
    encoding::base64_into(&sha1::of(&[key, GUID]), &mut out);
    out
}

/// Returns the Sec-WebSocket-Key for 16 random bytes: their Base64 (RFC 6455 §4.1).
pub fn key(nonce: [u8; 16]) -> [u8; 24] {
    let mut out = [0; 24];
    encoding::base64_into(&nonce, &mut out);
    out
}

/// Returns whether the protocol of an Upgrade field or of `:protocol` is WebSocket, compared without regard to case.
pub const fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("websocket")
}

/// Converts an extended CONNECT (RFC 8441 §5, RFC 9220) into an HTTP/1.1 WebSocket handshake: a GET with a
/// Sec-WebSocket-Key from 16 random bytes. Returns the expected Sec-WebSocket-Accept. The writer adds Connection and
/// Upgrade.
pub fn extended_to_http1(head: &mut RequestHead, nonce: [u8; 16]) -> [u8; 28] {
    let key = key(nonce);
    head.method = Method::Get;
    head.body = BodyLength::None;
    head.fields.remove(Name::SecWebSocketKey);
    head.fields.push(b"Sec-WebSocket-Key", &key);
    accept(&key)
}

/// Returns whether a response completes the handshake: status 101 with exactly one Sec-WebSocket-Accept that has the
/// expected value (RFC 6455 §4.1).
pub fn is_accepted(head: &ResponseHead, expected: &[u8; 28]) -> bool {
    let mut values = head.fields.all(Name::SecWebSocketAccept);
    head.status == 101 && values.next() == Some(&expected[..]) && values.next().is_none()
}

/// Converts a 101 into the response to an extended CONNECT: 200 without Sec-WebSocket-Accept (RFC 8441 §5).
pub fn http1_to_extended(head: &mut ResponseHead) {
    head.status = 200;
    head.body = BodyLength::Unknown;
    head.fields.remove(Name::SecWebSocketAccept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    #[test]
    fn there_and_back() {
        let mut head = RequestHead::new(Version::Http2);
        head.method = Method::Connect;
        head.upgrade = Some("websocket".into());
        head.fields.push(b"sec-websocket-key", b"a stranger's");
        let expected = extended_to_http1(&mut head, *b"the sample nonce");
        assert_eq!(head.method, Method::Get);
        assert_eq!(head.fields.all(Name::SecWebSocketKey).collect::<Vec<_>>(), [b"dGhlIHNhbXBsZSBub25jZQ=="]);
        let mut answer = ResponseHead::new(101);
        assert!(!is_accepted(&answer, &expected));
        answer.fields.push(b"Sec-WebSocket-Accept", &expected);
        assert!(is_accepted(&answer, &expected));
        http1_to_extended(&mut answer);
        assert_eq!((answer.status, answer.fields.len()), (200, 0));
    }
}
