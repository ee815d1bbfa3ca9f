//! State that several edges share, so that a client that comes to another edge resumes its session there, and so that early data is
//! accepted once by all of them together.
//!
//! - **Tickets** (sites without early data) are sealed by keys that all edges have ([`TicketSchedule`]).
//! - **Sessions** (sites with early data) are in the store, sealed by the same keys, each under the hash of the identity that its
//!   ticket is. Whoever resumes one takes it: the store deletes it and says whether it was there. This is RFC 8446 §8.1, single-use
//!   tickets, over all edges; rustls adds §8.3, the check of freshness. Where a session cannot be taken, for whatever reason, the
//!   handshake is a full one, and the client sends its request again after it.
//!
//! The store is asked after the ClientHello was read and before rustls sees it, for a bounded time.

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
pub(crate) use store::Link;
pub(crate) use tickets::Tickets;

use edge_policy::TicketSchedule;
use identity::IdentityMark;
use key_ring::Wrapping;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The future of a store's response.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The reason why a store failed, in words, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// The key of an epoch, as the store keeps it: sealed by the edges' secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The epoch ([`TicketSchedule::sealing`]).
    pub epoch: u64,
    /// When it is to be deleted, in seconds since 1970.
    pub ends: u64,
    /// The sealed key.
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

/// A session that can be resumed once, as the store keeps it: sealed by a key of the edges.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSession {
    /// The SHA-256 of what the client shows.
    pub id: [u8; 32],
    /// For how long it is kept.
    pub lifetime: Duration,
    /// The sealed session.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for SealedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSession").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// A store for the state that several edges share. Its methods are called on one thread, in a tokio runtime with time
/// and I/O; calls may overlap, and one that takes too long is dropped.
pub trait SharedStore: Send + Sync + 'static {
    /// Stores each of these keys unless there is one of its epoch, deletes expired ones, and returns all that remain.
    fn keys<'a>(&'a self, made: &'a [SealedKey]) -> StoreFuture<'a, Vec<SealedKey>>;

    /// Stores a session. It must be stored at most once: after an unknown outcome, do not retry. It may be lost at any
    /// time, which is better than reappearing after it was taken, as from a lagging replica.
    fn put(&self, session: SealedSession) -> StoreFuture<'_, ()>;

    /// Deletes a session and returns what was sealed, if it was there. Of all who ever ask for the same one, one may get it.
    fn take<'a>(&'a self, id: &'a [u8; 32]) -> StoreFuture<'a, Option<Vec<u8>>>;
}

/// The reason why shared state cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// The secret is too short to be one.
    #[error("the secret has {0} bytes, and less than {least} are guessed: openssl rand -base64 32 makes one", least = LEAST_SECRET)]
    Secret(usize),
}

/// The least that a secret has, in bytes.
const LEAST_SECRET: usize = 32;

/// The configuration of state shared with other edges: see [`Builder::shared`](crate::Builder::shared).
#[derive(Clone)]
pub struct Shared {
    store: Arc<dyn SharedStore>,
    wrapping: Arc<Wrapping>,
    mark: Arc<IdentityMark>,
    schedule: TicketSchedule,
    wait: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Shared");
        debug.field("schedule", &self.schedule).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl Shared {
    /// State in this store. Keys in it are sealed under this secret, which all edges have: random, of 32 bytes or more.
    ///
    /// # Errors
    /// [`SharedError::Secret`] if it is too short.
    pub fn new(store: Arc<dyn SharedStore>, secret: &[u8]) -> Result<Self, SharedError> {
        if secret.len() < LEAST_SECRET {
            return Err(SharedError::Secret(secret.len()));
        }
        let wrapping = Arc::new(Wrapping::new(secret));
        let mark = Arc::new(IdentityMark::new(secret));
        Ok(Self {
            store,
            wrapping,
            mark,
            schedule: TicketSchedule::default(),
            wait: Duration::from_millis(200),
        })
    }

    /// When keys change and how long tickets live. All edges have the same.
    #[must_use]
    pub const fn schedule(mut self, schedule: TicketSchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets the maximum time a handshake waits for the store; 200 ms by default. It continues as a full handshake then.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// Numbers of shared state since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedMetrics {
    /// True if the last query to the store succeeded.
    pub reached: bool,
    /// Keys that are known now.
    pub keys: u64,
    /// Sessions that were given to the store.
    pub kept: u64,
    /// Sessions that were not: the store was away, or too slow.
    pub lost: u64,
    /// Sessions that were taken, to be resumed.
    pub taken: u64,
    /// Sessions that were not there: used before, ended, or never made.
    pub missing: u64,
    /// Handshakes that waited for the store in vain.
    pub late: u64,
    /// Handshakes that could not ask the store.
    pub unavailable: u64,
    /// Handshakes for which the store was not asked: no edge made their session's identity, or it was shown here before.
    pub refused: u64,
}

#[cfg(test)]
mod tests;
