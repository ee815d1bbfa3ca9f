//! Repeated polls of the CA or the DNS, with growing pauses.

use super::context::Context;
use crate::ledger::LONGEST_RETRY_AFTER;
use crate::time::Time;
use std::time::Duration;

/// Minimum pause between two polls, even if Retry-After is shorter.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// Longest Retry-After of an order that is waited for. A longer one is recorded, and ends the round.
const MAX_PAUSE: Duration = Duration::from_secs(120);

/// Returns a Retry-After that is too long to be waited for, but at most four weeks. `None` for a shorter one.
pub(super) fn long_pause(retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.filter(|after| *after > MAX_PAUSE).map(|after| after.min(LONGEST_RETRY_AFTER))
}

/// Series of polls of one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Polling {
    /// Time at which the series began. `None` before.
    since: Option<Time>,
    /// Polls with a pause that has grown.
    polls: u32,
}

impl Polling {
    /// Begins a new series.
    pub(super) const fn restart(&mut self, now: Time) {
        (self.since, self.polls) = (Some(now), 0);
    }

    /// Begins the series unless it has begun before.
    pub(super) fn start(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// Resets the pause to the configured one. The beginning of the series remains.
    pub(super) const fn reset_pause(&mut self) {
        self.polls = 0;
    }

    /// Returns the time since the series began. Zero before.
    pub(super) fn elapsed(&self, now: Time) -> Duration {
        now.since(self.since.unwrap_or(now))
    }

    /// Delays the next poll. The pause begins with the configured one and doubles with each poll, up to 16 times that;
    /// `retry_after` replaces it, with at least 50 ms. `why` is the reason given for the wait.
    pub(super) fn poll_later(
        &mut self,
        retry_after: Option<Duration>,
        why: String,
        context: &mut Context,
        now: Time,
    ) {
        let doubled = context.spec.timeouts.poll * 2_u32.pow(self.polls.min(4));
        self.polls += 1;
        let pause = retry_after.map_or(doubled, |after| after.clamp(MIN_PAUSE, doubled.max(after)));
        context.backoff.hold(now.after(pause), why);
    }
}
