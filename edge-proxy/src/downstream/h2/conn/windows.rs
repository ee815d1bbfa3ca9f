//! Receive windows: the content of requests that may be on its way, or wait here.
//!
//! A window bounds an upload to one window a round trip. So while content is passed on, it is measured by a PING how much of it is
//! passed on in one round trip; if that is half a window or more, the windows are doubled, as far as the worker's budget allows. What
//! a service does not take makes no window larger.

use std::cell::Cell;

/// Content of one request that may wait here at first, in bytes.
pub(super) const STREAM_WINDOW: u32 = 256 * 1024;
/// Content of all requests of a connection that may wait here at first, in bytes.
pub(super) const WINDOW: u32 = 4 * STREAM_WINDOW;
/// The largest window of a stream, in bytes.
const LARGEST: u32 = 8 * 1024 * 1024;
/// Bytes by which the windows of all connections of a worker may be larger than at first.
const BUDGET: usize = 64 * 1024 * 1024;
/// The content of the PING that measures.
pub(super) const PING: &[u8; 8] = b"measures";

thread_local! {
    static GROWN: Cell<usize> = const { Cell::new(0) };
}

/// The sizes of the windows of one connection.
#[derive(Debug)]
pub(super) struct Windows {
    stream: u32,
    connection: u32,
    /// Bytes that were passed on since the PING that is under way.
    measured: Option<u64>,
}

impl Windows {
    pub(super) const fn new() -> Self {
        Self { stream: STREAM_WINDOW, connection: WINDOW, measured: None }
    }

    /// The window of a stream.
    pub(super) const fn stream(&self) -> u32 {
        self.stream
    }

    /// The window of the connection.
    pub(super) const fn connection(&self) -> u32 {
        self.connection
    }

    /// Counts bytes that were passed on.
    pub(super) const fn passed(&mut self, bytes: usize) {
        if let Some(measured) = &mut self.measured {
            *measured += bytes as u64;
        }
    }

    /// Begins to measure, if the windows can be larger and nothing is measured yet. Returns whether the PING is to be sent.
    pub(super) const fn measure(&mut self) -> bool {
        let begins = self.measured.is_none() && self.stream < LARGEST;
        if begins {
            self.measured = Some(0);
        }
        begins
    }

    /// Ends a measurement: the PING was answered.
    pub(super) fn answered(&mut self) {
        if self.measured.take().is_some_and(|measured| measured >= u64::from(self.stream / 2)) {
            let stream = (2 * self.stream).min(LARGEST);
            let connection = self.connection.max(2 * stream);
            let grown = GROWN.get() + (connection - self.connection) as usize;
            if grown <= BUDGET {
                GROWN.set(grown);
                (self.stream, self.connection) = (stream, connection);
            }
        }
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        // A thread that ends has no budget any more.
        let _ = GROWN.try_with(|grown| grown.set(grown.get() - (self.connection - WINDOW) as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_grow_with_what_is_passed_on() {
        let mut windows = Windows::new();
        assert!(windows.measure() && !windows.measure());
        windows.passed(STREAM_WINDOW as usize / 2 - 1);
        windows.answered();
        assert_eq!((windows.stream(), windows.connection()), (STREAM_WINDOW, WINDOW));
        for expected in [512, 1024, 2048, 4096, 8192] {
            assert!(windows.measure());
            windows.passed(windows.stream() as usize);
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
                        connections[at].passed(passed);
                        connections[at].answered();
                    }
                    let more: usize = connections.iter().map(|one| (one.connection() - WINDOW) as usize).sum();
                    prop_assert!(more <= BUDGET && more == GROWN.get());
                }
            }
            prop_assert_eq!(GROWN.get(), 0);
        }
    }
}
