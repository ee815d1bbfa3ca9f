//! Recorded pauses, and whether they are still in force.

use crate::time::Time;
use std::time::Duration;

/// Maximum length of a recorded pause: the longest Retry-After that is respected, four weeks.
const MAX_PAUSE: Duration = crate::ledger::LONGEST_RETRY_AFTER;

/// Returns the end `until` of a pause that was recorded at `at`, `None` if that is unknown. Returns `None` without a
/// pause, or if it has passed, ends more than four weeks after `now`, or was recorded in the future.
pub(super) fn in_force(until: Option<Time>, at: Option<Time>, now: Time) -> Option<Time> {
    until
        .filter(|until| now < *until && *until <= now.after(MAX_PAUSE))
        .filter(|_| at.is_none_or(|at| !at.is_ahead_of(now)))
}
