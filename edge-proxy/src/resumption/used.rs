//! The sessions that were used at this edge, and those that the store still has to delete.
//!
//! A first flight that was recorded must not be acted upon again. If the store could not be queried about its session,
//! because it was unreachable or slow, the handshake is a full one, and whoever recorded the flight could make another
//! edge take the session later. This edge therefore never takes it again, and the store deletes it as soon as it
//! responds.

use super::session_claim::IDENTITY;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The highest number of identities that are remembered, and of deletions that are scheduled. The oldest identity is
/// forgotten for a new one; further deletions are not scheduled.
const MAX_REMEMBERED: usize = 64 * 1024;

/// The time after which a deletion is given up, in milliseconds. It is longer than early data of a session is accepted
/// (RFC 8446 §8.3).
const DELETION_TIMEOUT: u64 = 120_000;

/// The identity of a session, or its key in the store.
type Id = [u8; IDENTITY];

/// A session to be deleted from the store. Times are in milliseconds since the client of the store was created.
struct PendingDeletion {
    /// The key of the session in the store.
    id: Id,
    /// The time from which the deletion is attempted.
    since: u64,
    /// The time of the next attempt.
    due: u64,
}

/// The used identities and the pending deletions.
#[derive(Default)]
struct UsedState {
    /// The identities that were used.
    shown: HashSet<Id>,
    /// The identities in the order of their use, so that the oldest can be removed.
    order: VecDeque<Id>,
    /// The pending deletions.
    owed: VecDeque<PendingDeletion>,
}

/// The identities that were used at this edge, and the pending deletions. Times are in milliseconds since the client
/// of the store was created.
#[derive(Default)]
pub(super) struct UsedSessions(Mutex<UsedState>);

impl UsedSessions {
    /// Locks and returns the state, also after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, UsedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a client used this identity and returns true. Returns false if it was used before.
    pub(super) fn record_use(&self, identity: &Id) -> bool {
        let mut state = self.state();
        if !state.shown.insert(*identity) {
            return false;
        }
        state.order.push_back(*identity);
        if state.order.len() > MAX_REMEMBERED
            && let Some(oldest) = state.order.pop_front()
        {
            state.shown.remove(&oldest);
        }
        true
    }

    /// Schedules the deletion of the session with this key from the store, from the time `due` on. `now` is the time
    /// from which it is attempted. No effect if [`MAX_REMEMBERED`] deletions are scheduled.
    pub(super) fn schedule_deletion(&self, id: Id, now: u64, due: u64) {
        let mut state = self.state();
        if state.owed.len() < MAX_REMEMBERED {
            state.owed.push_back(PendingDeletion { id, since: now, due });
        }
    }

    /// Removes and returns at most `most` deletions that are due at `now`, each as the session's key and the time
    /// since which the deletion is attempted. Those older than [`DELETION_TIMEOUT`] are discarded. A failed one is
    /// scheduled again by [`UsedSessions::reschedule`].
    pub(super) fn take_due(&self, now: u64, most: usize) -> Vec<(Id, u64)> {
        let mut state = self.state();
        let mut due = Vec::new();
        for _ in 0..state.owed.len() {
            let Some(owed) = state.owed.pop_front() else { break };
            if now.saturating_sub(owed.since) > DELETION_TIMEOUT {
                continue;
            }
            if owed.due <= now && due.len() < most {
                due.push((owed.id, owed.since));
            } else {
                state.owed.push_back(owed);
            }
        }
        due
    }

    /// Schedules a deletion that failed for another attempt from `due` on. `since` is as [`UsedSessions::take_due`]
    /// returned it.
    pub(super) fn reschedule(&self, id: Id, since: u64, due: u64) {
        self.state().owed.push_back(PendingDeletion { id, since, due });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_identity_is_shown_once() {
        let used = UsedSessions::default();
        assert!(used.record_use(&[1; 32]) && !used.record_use(&[1; 32]) && used.record_use(&[2; 32]));
        let id = |number: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&number.to_be_bytes());
            id
        };
        for number in 0..MAX_REMEMBERED as u32 {
            used.record_use(&id(number + 7));
        }
        // Only so many are remembered.
        assert_eq!(used.state().shown.len(), MAX_REMEMBERED);
        assert!(used.record_use(&[1; 32]));
    }

    #[test]
    fn deletions_are_owed_until_they_are_worthless() {
        let used = UsedSessions::default();
        used.schedule_deletion([1; 32], 0, 1000);
        used.schedule_deletion([2; 32], 0, 0);
        assert_eq!(used.take_due(10, 9), [([2; 32], 0)]);
        assert_eq!(used.take_due(1000, 9), [([1; 32], 0)]);
        used.reschedule([1; 32], 0, 2000);
        assert_eq!(used.take_due(1999, 9), []);
        assert_eq!(used.take_due(2000, 0), []);
        assert_eq!(used.take_due(DELETION_TIMEOUT + 1, 9), []);
        assert_eq!(used.take_due(2000, 9), []);
    }
}
