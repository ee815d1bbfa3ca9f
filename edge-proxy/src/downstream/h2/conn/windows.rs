//! The sizes of receive windows, which limit request content in flight and in buffers.
//!
//! A sender can send at most one window per round trip. While content is forwarded, a PING measures how many bytes are
//! forwarded in one round trip. If that is half a stream's window or more, the windows are doubled, within the budget
//! of the worker. Content that an upstream does not accept enlarges no window.

use crate::downstream::window_budget::WindowShare;

/// The initial receive window of a stream in bytes.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;
/// The initial receive window of a connection in bytes.
pub(super) const WINDOW: u32 = 4 * STREAM_WINDOW;
/// The largest receive window of a stream, in bytes.
const MAX_STREAM_WINDOW: u32 = 8 * 1024 * 1024;
/// The payload of the PING that measures a round trip.
pub(super) const PING: &[u8; 8] = b"measures";

/// The sizes of the receive windows of one connection, and the pending measurement.
#[derive(Debug)]
pub(super) struct Windows {
    /// The receive window of new streams, in bytes.
    stream: u32,
    /// The receive window of the connection, in bytes.
    connection: u32,
    /// The number of bytes forwarded since the PING of the pending measurement was sent. `None` if none is pending.
    measured: Option<u64>,
    /// The part of the worker's budget by which the window of the connection exceeds the initial one.
    share: WindowShare,
}

impl Windows {
    /// Creates the initial windows, without a measurement.
    pub(super) fn new() -> Self {
        Self { stream: STREAM_WINDOW, connection: WINDOW, measured: None, share: WindowShare::default() }
    }

    /// Returns the receive window that each stream is to have, in bytes.
    pub(super) const fn stream(&self) -> u32 {
        self.stream
    }

    /// Returns the receive window that the connection is to have, in bytes.
    pub(super) const fn connection(&self) -> u32 {
        self.connection
    }

    /// Counts forwarded bytes for the pending measurement, if there is one.
    pub(super) const fn count_passed(&mut self, bytes: usize) {
        if let Some(measured) = &mut self.measured {
            *measured += bytes as u64;
        }
    }

    /// Begins a measurement if none is pending and the windows are not at their largest. Returns true if one has
    /// begun, so that the PING is to be sent.
    pub(super) const fn measure(&mut self) -> bool {
        let begins = self.measured.is_none() && self.stream < MAX_STREAM_WINDOW;
        if begins {
            self.measured = Some(0);
        }
        begins
    }

    /// Ends the pending measurement, since the acknowledgement of its PING has arrived. If half a stream's window or
    /// more was forwarded in the meantime and the worker's budget permits it, doubles the stream's window up to
    /// [`MAX_STREAM_WINDOW`], and enlarges the connection's window to at least two of those. No effect if none is
    /// pending.
    pub(super) fn answered(&mut self) {
        if self.measured.take().is_some_and(|measured| measured >= u64::from(self.stream / 2)) {
            let stream = (2 * self.stream).min(MAX_STREAM_WINDOW);
            let connection = self.connection.max(2 * stream);
            if self.share.extend((connection - self.connection) as usize) {
                (self.stream, self.connection) = (stream, connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downstream::window_budget::MAX_GROWTH;
    use proptest::prelude::*;

    #[test]
    fn windows_grow_with_what_is_passed_on() {
        let mut windows = Windows::new();
        assert!(windows.measure() && !windows.measure());
        windows.count_passed(STREAM_WINDOW as usize / 2 - 1);
        windows.answered();
        assert_eq!((windows.stream(), windows.connection()), (STREAM_WINDOW, WINDOW));
        for expected in [512, 1024, 2048, 4096, 8192] {
            assert!(windows.measure());
            windows.count_passed(windows.stream() as usize);
            windows.answered();
            assert_eq!(windows.stream(), expected * 1024);
            assert!(windows.connection() >= 2 * windows.stream());
        }
        assert!(!windows.measure(), "none is larger");
    }

    proptest! {
        /// Whatever the connections of a worker do, their windows stay within its budget, and give it back.
        #[test]
        fn the_budget_is_kept(steps in proptest::collection::vec((0usize..12, any::<bool>(), 0usize..10_000_000), 1..200)) {
            {
                let mut connections: Vec<Windows> = (0..12).map(|_| Windows::new()).collect();
                for (at, ends, passed) in steps {
                    if ends && passed % 3 == 0 {
                        connections[at] = Windows::new();
                    } else {
                        connections[at].measure();
                        connections[at].count_passed(passed);
                        connections[at].answered();
                    }
                    let more: usize = connections.iter().map(|one| (one.connection() - WINDOW) as usize).sum();
                    prop_assert!(more <= MAX_GROWTH && more == WindowShare::total());
                }
            }
            prop_assert_eq!(WindowShare::total(), 0);
        }
    }
}
