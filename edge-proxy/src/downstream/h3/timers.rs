//! The times at which connections are to be handled next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of times, each with the index of a connection. The time of a connection changes with nearly every packet,
/// mostly to a later one, so the heap contains an earlier one; when that has passed, the engine asks the connection
/// for its present time.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    /// Adds a time for the connection with this index.
    pub(super) fn push(&mut self, at: Instant, index: usize) {
        self.0.push(Reverse((at, index)));
    }

    /// Returns the earliest time in the heap. `None` if the heap is empty.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes and returns the earliest entry if its time is not after `now`: the time and the index of the connection.
    /// `None` otherwise.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((at, index)) = *self.0.peek()?;
        if at > now {
            return None;
        }
        self.0.pop();
        Some((at, index))
    }
}
