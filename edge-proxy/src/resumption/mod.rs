//! State shared by several edges, so that a client can resume its session at any of them, and so that all of them
//! together accept early data of a session once.
//!
//! - **Tickets** (sites without early data) are sealed by keys that all edges have ([`TicketSchedule`]).
//! - **Sessions** (sites with early data) are in the store, sealed by the same keys. The key of a session in the store
//!   is the hash of its identity, which the client has as its ticket. Resuming a session takes it: the store deletes it
//!   and returns whether it existed. These are the single-use tickets of RFC 8446 §8.1 across all edges; rustls adds
//!   the freshness check of §8.3. If a session cannot be taken, the handshake is a full one, and the client sends its
//!   request again after it.
//!
//! The store is queried after the ClientHello was read and before rustls processes it, for a bounded time.

mod event;
mod identity;
mod key_refresh;
mod key_ring;
mod session_claim;
mod sessions;
mod store;
mod tickets;
mod used;

pub use event::SharedEvent;
pub(crate) use key_refresh::start;
pub(crate) use session_claim::with_claim;
pub(crate) use sessions::{OfferedSession, Sessions};
pub(crate) use store::StoreClient;
pub(crate) use tickets::Tickets;

use edge_policy::TicketSchedule;
use identity::IdentityMac;
use key_ring::WrappingKey;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The future that a method of [`SharedStore`] returns: the response of the store, or its failure.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The failure of a store as text, which must not contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A ticket key of one epoch as it is stored: sealed under a key that is derived from the edges' secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The epoch of the key ([`TicketSchedule::sealing_epoch`]).
    pub epoch: u64,
    /// The time from which on the key is expired and must be deleted, in seconds since 1970.
    pub ends: u64,
    /// The sealed key, opaque to the store.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedKey")
            .field("epoch", &self.epoch)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// A single-use session as it is stored: sealed by a ticket key of the edges.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSession {
    /// The key of the session in the store: the SHA-256 of the identity that the client sends.
    pub id: [u8; 32],
    /// The time after which the store may delete the session.
    pub lifetime: Duration,
    /// The sealed session, opaque to the store.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSession").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// A store of the state that several edges share: ticket keys, and single-use sessions for early data.
///
/// The methods are called on one thread, inside a tokio runtime with time and I/O enabled. Calls may overlap. The
/// future of a call that takes longer than 5 s is dropped.
pub trait SharedStore: Send + Sync + 'static {
    /// Stores each key in `made` whose epoch has no key yet, deletes expired keys, and returns all keys that remain in
    /// the store.
    fn keys<'a>(&'a self, made: &'a [SealedKey]) -> StoreFuture<'a, Vec<SealedKey>>;

    /// Stores a session, at most once: an attempt with an unknown outcome must not be repeated. A session may be lost
    /// at any time, but must not reappear after it was taken, for example on a lagging replica.
    fn put(&self, session: SealedSession) -> StoreFuture<'_, ()>;

    /// Deletes the session with this key atomically and returns its sealed content. `None` if it does not exist. At
    /// most one caller ever receives a session.
    fn take<'a>(&'a self, id: &'a [u8; 32]) -> StoreFuture<'a, Option<Vec<u8>>>;
}

/// The error of settings for state shared with other edges: see [`Shared::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// The secret is shorter than 32 bytes. Contains its length in bytes.
    #[error("the secret has {0} bytes, and less than {least} are guessed: openssl rand -base64 32 makes one", least = MIN_SECRET_LEN)]
    Secret(usize),
}

/// The minimum length of the secret in bytes.
const MIN_SECRET_LEN: usize = 32;

/// The settings of state shared with other edges: see [`Builder::shared`](crate::Builder::shared).
#[derive(Clone)]
pub struct Shared {
    /// The store of keys and sessions.
    store: Arc<dyn SharedStore>,
    /// The key that seals ticket keys in the store.
    wrapping: Arc<WrappingKey>,
    /// The MAC by which edges recognize session identities.
    mac: Arc<IdentityMac>,
    /// The lifecycle of ticket keys.
    schedule: TicketSchedule,
    /// The longest time for which a handshake waits for the store.
    wait: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Shared");
        debug.field("schedule", &self.schedule).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl Shared {
    /// Creates settings with this store and the default schedule and waiting time. `secret` must be random and the
    /// same at all edges, at least 32 bytes. Keys in the store are sealed under a key derived from it.
    ///
    /// # Errors
    /// [`SharedError::Secret`] if `secret` has fewer than 32 bytes.
    pub fn new(store: Arc<dyn SharedStore>, secret: &[u8]) -> Result<Self, SharedError> {
        if secret.len() < MIN_SECRET_LEN {
            return Err(SharedError::Secret(secret.len()));
        }
        let wrapping = Arc::new(WrappingKey::new(secret));
        let mac = Arc::new(IdentityMac::new(secret));
        Ok(Self {
            store,
            wrapping,
            mac,
            schedule: TicketSchedule::default(),
            wait: Duration::from_millis(200),
        })
    }

    /// Sets the rotation of ticket keys and the lifetime of tickets, which must be the same at all edges. Without this
    /// call it is [`TicketSchedule::default`].
    #[must_use]
    pub const fn schedule(mut self, schedule: TicketSchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets the longest time for which a handshake waits for the store, after which it continues as a full handshake.
    /// Without this call it is 200 ms.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// The metrics of the state shared with other edges. Counters begin at the start of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedMetrics {
    /// True if the last query for ticket keys succeeded; false before the first. Queries for sessions do not change
    /// it.
    pub reached: bool,
    /// The number of ticket keys that this edge has at present.
    pub keys: u64,
    /// The number of sessions that were stored.
    pub kept: u64,
    /// The number of sessions that were not stored: the last query for keys or the query to store the session failed or
    /// took longer than 5 s, more than 1024 queries waited, or there was no key to seal with.
    pub lost: u64,
    /// The number of sessions taken from the store for resumption.
    pub taken: u64,
    /// The number of handshakes whose session was not in the store (already used, expired, or never stored) or could
    /// not be opened.
    pub missing: u64,
    /// The number of handshakes for which the store did not return the session within [`Shared::wait`], so that they
    /// continued as full handshakes.
    pub timed_out: u64,
    /// The number of handshakes for which the store was not queried, since it had not responded in time less than a
    /// second before or more than 1024 queries waited, or for which it returned an error.
    pub unavailable: u64,
    /// The number of handshakes for which the store was not queried, since the identity that the client offered was not
    /// created by an edge with the same secret, or was offered at this edge before.
    pub refused: u64,
}

#[cfg(test)]
mod tests;
