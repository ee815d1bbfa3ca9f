//! The client of the store that workers use: the current keys, and a queue of queries.

use super::identity::{IdentityMac, IdentityRandom};
use super::key_ring::{KeyRing, SealedKind};
use super::session_claim::{SessionClaim, session_id};
use super::used::UsedSessions;
use super::{SealedSession, SharedMetrics, StoreError};
use edge_policy::TicketSchedule;
use rustls::crypto::SecureRandom;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc, oneshot};

/// The time for which handshakes do not query the store after it did not respond in time.
const PAUSE_AFTER_TIMEOUT: Duration = Duration::from_secs(1);

/// The delay before the next attempt to delete a session, in milliseconds.
pub(super) const DELETION_DELAY: u64 = 1500;

/// The sender of the store's response to the handshake that waits for it: the sealed session, `None` if the store does
/// not have it, or the error of the store.
pub(super) type ClaimSender = oneshot::Sender<Result<Option<Vec<u8>>, StoreError>>;

/// A query to the store.
pub(super) enum StoreRequest {
    /// Store this session.
    Put(SealedSession),
    /// Take the session with this key and send it to a handshake.
    Take([u8; 32], ClaimSender),
    /// Delete the session with this key. Contains the time since which that is attempted, in milliseconds since the
    /// client of the store was created.
    Forget([u8; 32], u64),
}

/// The client of the store that all workers share: the current keys, the queue of queries, and counters.
pub(crate) struct StoreClient {
    /// The lifecycle of ticket keys.
    schedule: TicketSchedule,
    /// The longest time for which a handshake waits for the store.
    wait: Duration,
    /// The current ticket keys.
    ring: RwLock<Arc<KeyRing>>,
    /// The queue of queries.
    wishes: mpsc::Sender<StoreRequest>,
    /// The time at which this client was created.
    started: Instant,
    /// The time until which handshakes do not query the store, in milliseconds since `started`. 0 if that does not
    /// apply.
    paused: AtomicU64,
    /// Notified when a query fails.
    pub(super) failed: Arc<Notify>,
    /// The counters of queries and sessions.
    pub(super) counts: StoreCounters,
    /// The source of random bytes that creates identities. It is never freed, since rustls requires `'static`.
    random: &'static IdentityRandom,
    /// The sessions that were used at this edge, and those to be deleted.
    pub(super) used: UsedSessions,
}

/// The counters of [`SharedMetrics`], by the same names.
#[derive(Default)]
pub(super) struct StoreCounters {
    /// True if the last query for ticket keys succeeded; false before the first. Queries for sessions do not change it.
    pub(super) reached: AtomicBool,
    /// The number of sessions that were stored.
    pub(super) kept: AtomicU64,
    /// The number of sessions that were not stored, because the store failed or was too slow.
    pub(super) lost: AtomicU64,
    /// The number of sessions taken from the store for resumption.
    pub(super) taken: AtomicU64,
    /// The number of sessions that were not in the store or could not be opened.
    pub(super) missing: AtomicU64,
    /// The number of handshakes for which the store did not respond in time.
    pub(super) timed_out: AtomicU64,
    /// The number of handshakes for which the store could not be queried, or failed.
    pub(super) unavailable: AtomicU64,
    /// The number of handshakes for which the store was not queried, because of their identity.
    pub(super) refused: AtomicU64,
}

/// Returns the time in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl StoreClient {
    /// Creates a client without keys. `wait` is the longest time for which a handshake waits, `mac` the MAC of
    /// identities, and `wishes` the queue of queries. It leaks the source of random bytes.
    pub(super) fn new(
        schedule: TicketSchedule,
        wait: Duration,
        mac: &IdentityMac,
        wishes: mpsc::Sender<StoreRequest>,
    ) -> Self {
        Self {
            schedule,
            wait,
            ring: RwLock::default(),
            wishes,
            started: Instant::now(),
            paused: AtomicU64::new(0),
            failed: Arc::default(),
            counts: StoreCounters::default(),
            random: Box::leak(Box::new(IdentityRandom::new(mac.clone()))),
            used: UsedSessions::default(),
        }
    }

    /// Returns the source of random bytes for a TLS configuration with stored sessions.
    pub(crate) const fn random(&self) -> &'static dyn SecureRandom {
        self.random
    }

    /// Returns a sender of queries that does not keep the queue open.
    pub(super) fn requests(&self) -> mpsc::WeakSender<StoreRequest> {
        self.wishes.downgrade()
    }

    /// Returns the time in milliseconds since this client was created.
    pub(super) fn clock(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Returns the lifecycle of ticket keys.
    pub(super) const fn schedule(&self) -> &TicketSchedule {
        &self.schedule
    }

    /// Returns the current ticket keys, which stay the same for the caller if they are replaced.
    pub(super) fn ring(&self) -> Arc<KeyRing> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the ticket keys.
    pub(super) fn set_ring(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// Seals data for this purpose with the current key. `None` if there is no current key or the library fails.
    pub(super) fn seal(&self, what: SealedKind<'_>, plain: &[u8]) -> Option<Vec<u8>> {
        self.ring().seal(&self.schedule, now(), what, plain)
    }

    /// Opens sealed data of this purpose. `None` if it is not authentic, or its key is missing or expired.
    pub(super) fn open(&self, what: SealedKind<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        self.ring().open(&self.schedule, now(), what, sealed)
    }

    /// Queues a session for storing and returns true. Returns false, and counts a loss, if the last query for keys
    /// failed or the queue is full.
    pub(super) fn put(&self, session: SealedSession) -> bool {
        if !self.counts.reached.load(Relaxed) || self.wishes.try_send(StoreRequest::Put(session)).is_err() {
            return self.count_lost();
        }
        true
    }

    /// Counts a session that is not stored, and returns false.
    pub(super) fn count_lost(&self) -> bool {
        self.counts.lost.fetch_add(1, Relaxed);
        false
    }

    /// Takes the session of this identity from the store, so that no other edge can. Every identity is taken at most
    /// once at this edge. `None` if no edge created the identity or it was used here before, or if the store does not
    /// have the session, cannot be queried, or does not respond in time; in these latter cases the session is deleted
    /// later. Also `None` if the session cannot be opened.
    pub(crate) async fn take(&self, identity: [u8; 32]) -> Option<SessionClaim> {
        let since = self.clock();
        let counts = &self.counts;
        if !self.random.mac().is_ours(&identity) || !self.used.record_use(&identity) {
            counts.refused.fetch_add(1, Relaxed);
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let id = session_id(&identity);
        if since < self.paused.load(Relaxed) || self.wishes.try_send(StoreRequest::Take(id, answer)).is_err()
        {
            counts.unavailable.fetch_add(1, Relaxed);
            self.used.schedule_deletion(id, since, since + DELETION_DELAY);
            return None;
        }
        let Ok(answered) = tokio::time::timeout(self.wait, answered).await else {
            // The query may still be executed, which deletes the session as well.
            counts.timed_out.fetch_add(1, Relaxed);
            self.paused.store(
                self.started.elapsed().saturating_add(PAUSE_AFTER_TIMEOUT).as_millis() as u64,
                Relaxed,
            );
            return None;
        };
        match answered {
            Ok(Ok(Some(sealed))) => {
                let session = self.open(SealedKind::Session(&id), &sealed);
                let count = if session.is_some() { &counts.taken } else { &counts.missing };
                count.fetch_add(1, Relaxed);
                session.map(|session| SessionClaim::new(identity, session))
            }
            Ok(Ok(None)) => {
                counts.missing.fetch_add(1, Relaxed);
                // The session may not have reached the store yet.
                self.used.schedule_deletion(id, since, since + DELETION_DELAY);
                None
            }
            Ok(Err(_)) | Err(_) => {
                counts.unavailable.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// Returns a copy of the counters, with the number of ticket keys.
    pub(crate) fn metrics(&self) -> SharedMetrics {
        let counts = &self.counts;
        SharedMetrics {
            reached: counts.reached.load(Relaxed),
            keys: self.ring().len() as u64,
            kept: counts.kept.load(Relaxed),
            lost: counts.lost.load(Relaxed),
            taken: counts.taken.load(Relaxed),
            missing: counts.missing.load(Relaxed),
            timed_out: counts.timed_out.load(Relaxed),
            unavailable: counts.unavailable.load(Relaxed),
            refused: counts.refused.load(Relaxed),
        }
    }
}
