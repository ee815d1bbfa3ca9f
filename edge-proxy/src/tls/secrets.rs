//! The traffic secrets of the handshakes that rustls performs on this thread, captured by its key log.

use crate::tls13::Secret;
use rustls::KeyLog;
use std::cell::RefCell;

/// The secrets of both sides, as soon as there are any.
#[derive(Clone, Debug)]
pub(crate) struct TrafficSecrets {
    pub(super) client: Secret,
    pub(super) server: Secret,
}

thread_local! {
    static CLIENT: RefCell<Option<Secret>> = const { RefCell::new(None) };
    static SERVER: RefCell<Option<Secret>> = const { RefCell::new(None) };
}

/// Receives the traffic secrets from rustls. A handshake is a call on the worker's thread, so the last secrets belong
/// to the connection of the last call: use [`take_secrets`] directly after it.
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

/// The traffic secrets, if the call to rustls before this one made them.
pub(crate) fn take_secrets() -> Option<TrafficSecrets> {
    let (client, server) = (CLIENT.take(), SERVER.take());
    Some(TrafficSecrets { client: client?, server: server? })
}
