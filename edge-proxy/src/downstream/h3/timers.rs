//! The wake-up times of connections.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of wake-up times. The time of a connection changes with nearly every packet, mostly to a later one, so the
/// heap contains only the earliest; when it has passed, the connection is asked for the current one.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Instant, index: usize) {
        self.0.push(Reverse((at, index)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes and returns an entry whose time has come. `None` if there is none.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((at, index)) = *self.0.peek()?;
        if at > now {
            return None;
        }
        self.0.pop();
        Some((at, index))
    }
}
