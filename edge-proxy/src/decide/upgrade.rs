//! Protocol upgrades that are allowed.

use crate::websocket::is_websocket;
use crate::{BodyLength, Method, Name, RequestHead, Version};

/// The handling of a requested upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// None was requested, or it is removed and the request goes on: a server may always decline an upgrade (RFC 9110
    /// §7.8).
    None,
    /// WebSocket, which is forwarded.
    WebSocket,
    /// An unsupported extended CONNECT, which is meaningless without its protocol (RFC 9220 §3).
    Unknown,
}

/// Classifies the upgrade of a request. `h2c` is never forwarded: an upstream that accepts it would be reachable past
/// every rule here.
pub(super) fn of(head: &RequestHead) -> Upgrade {
    let Some(protocol) = head.upgrade.as_deref() else {
        return Upgrade::None;
    };
    match (head.version, &head.method) {
        (Version::Http2 | Version::Http3, Method::Connect) if is_websocket(protocol) => Upgrade::WebSocket,
        (Version::Http2 | Version::Http3, Method::Connect) => Upgrade::Unknown,
        // RFC 6455 §4.1: a GET with one key; content before the switch would be taken for frames by one side.
        (Version::Http11, Method::Get)
            if is_websocket(protocol)
                && head.body == BodyLength::None
                && head.fields.all(Name::SecWebSocketKey).count() <= 1 =>
        {
            Upgrade::WebSocket
        }
        _ => Upgrade::None,
    }
}
