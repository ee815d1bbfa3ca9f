//! The places of the queue in which passwords wait.

use crate::limits::sketch::client_key;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The highest number of passwords of all clients that wait for or are in verification, each of which takes about a
/// tenth of a second. For clients whose password was verified before, the limit is twice as high.
const MAX_WAITING: usize = 64;
/// The highest number of passwords of one client that wait for or are in verification.
pub(super) const MAX_WAITING_PER_CLIENT: usize = 4;

/// The number of passwords that wait for or are in verification, by the key of the client.
static WAIT: LazyLock<Mutex<HashMap<u64, usize>>> = LazyLock::new(Mutex::default);

/// Locks and returns the count of waiting passwords, also after a panic of another thread.
fn wait() -> MutexGuard<'static, HashMap<u64, usize>> {
    WAIT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A counted place in the queue of passwords, with the key of its client. Dropping it frees the place.
pub(super) struct QueueSlot(u64);

impl QueueSlot {
    /// Takes a place for this client. If `right_before` is true, the limit of all clients together is doubled. `None`
    /// if the client has [`MAX_WAITING_PER_CLIENT`] places already, or all clients together have too many.
    pub(super) fn take(client: IpAddr, right_before: bool) -> Option<Self> {
        let client = client_key(client);
        let mut waiting = wait();
        let places = if right_before { 2 * MAX_WAITING } else { MAX_WAITING };
        let own = waiting.get(&client).copied().unwrap_or_default();
        if own >= MAX_WAITING_PER_CLIENT || waiting.values().sum::<usize>() >= places {
            return None;
        }
        waiting.insert(client, own + 1);
        Some(Self(client))
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        let mut waiting = wait();
        match waiting.get_mut(&self.0) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(waiting.remove(&self.0)),
        }
    }
}
