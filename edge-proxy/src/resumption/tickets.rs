//! Tickets that every edge can open (RFC 8446 §4.6.1; RFC 5077 for TLS 1.2).

use super::key_ring::SealedKind;
use super::store::StoreClient;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::Arc;

/// The ticketer of rustls: it seals with the current shared key, or with a key of this edge alone while there is none,
/// and opens both kinds of tickets.
pub(crate) struct Tickets {
    /// The client of the store, with the shared keys.
    link: Arc<StoreClient>,
    /// The ticketer of this edge alone.
    own: Arc<dyn ProducesTickets>,
}

impl Tickets {
    /// Creates a ticketer from the client of the store and the ticketer of this edge alone.
    pub(crate) const fn new(link: Arc<StoreClient>, own: Arc<dyn ProducesTickets>) -> Self {
        Self { link, own }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.link.schedule().lifetime().as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.link.seal(SealedKind::Ticket, plain).or_else(|| self.own.encrypt(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.link.open(SealedKind::Ticket, cipher).or_else(|| self.own.decrypt(cipher))
    }
}
