//! Which protocol switches pass.

use crate::websocket::is_websocket;
use crate::{BodyLength, Method, RequestHead, Version};

/// What becomes of the wish for another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// There is none, or it is left out and the request goes on: a server may always decline one (RFC 9110 §7.8).
    None,
    /// It is WebSocket, and passes.
    WebSocket,
    /// An extended CONNECT makes no sense without its protocol (RFC 9220 §3).
    Unknown,
}

/// Looks at the request. `h2c` is never passed on: an upstream that accepts it would be talked to past every rule here.
pub(super) fn of(head: &RequestHead) -> Upgrade {
    let Some(protocol) = head.upgrade.as_deref() else {
        return Upgrade::None;
    };
    match (head.version, &head.method) {
        (Version::Http2 | Version::Http3, Method::Connect) if is_websocket(protocol) => Upgrade::WebSocket,
        (Version::Http2 | Version::Http3, Method::Connect) => Upgrade::Unknown,
        // RFC 6455 §4.1: a GET; content before the switch would be taken for frames by one side.
        (Version::Http11, Method::Get) if is_websocket(protocol) && head.body == BodyLength::None => {
            Upgrade::WebSocket
        }
        _ => Upgrade::None,
    }
}
