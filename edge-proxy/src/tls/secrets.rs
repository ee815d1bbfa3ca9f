//! The traffic secrets of the handshakes that rustls performs on this thread, captured by its key log.

use crate::tls13::Secret;
use rustls::KeyLog;
use std::cell::RefCell;

/// The traffic secrets of both sides of a TLS 1.3 connection.
#[derive(Clone, Debug)]
pub(crate) struct TrafficSecrets {
    /// The secret from which the keys of the client's records are derived.
    pub(super) client: Secret,
    /// The secret from which the keys of the server's records are derived.
    pub(super) server: Secret,
}

thread_local! {
    /// The client's traffic secret that was derived last. `None` if it was taken.
    static CLIENT: RefCell<Option<Secret>> = const { RefCell::new(None) };
    /// The server's traffic secret that was derived last. `None` if it was taken.
    static SERVER: RefCell<Option<Secret>> = const { RefCell::new(None) };
}

/// A key log that stores the first application traffic secrets that rustls derives, one of each side per thread. A
/// handshake step is a call on the worker's thread, so the secrets belong to the connection of the last call:
/// [`take_secrets`] must be called directly after it.
#[derive(Debug)]
pub(crate) struct SecretCapture;

impl KeyLog for SecretCapture {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let of = if label == "SERVER_TRAFFIC_SECRET_0" { &SERVER } else { &CLIENT };
        of.set(Secret::new(secret));
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, "SERVER_TRAFFIC_SECRET_0" | "CLIENT_TRAFFIC_SECRET_0")
    }
}

/// Removes and returns the traffic secrets that rustls derived last on this thread. `None`, and none remains, unless
/// both are stored.
pub(crate) fn take_secrets() -> Option<TrafficSecrets> {
    let (client, server) = (CLIENT.take(), SERVER.take());
    Some(TrafficSecrets { client: client?, server: server? })
}
