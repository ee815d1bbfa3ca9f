//! The growth of stream windows of an HTTP/2 connection to an upstream, as long as its clients take what arrives.
//!
//! A window limits a response to its size in each round trip. It is doubled whenever a whole window of each stream has
//! arrived and the clients have taken at least half of that, so that after a few round trips the path is full.
//! Responses that are not taken leave it as it is.

/// The receive window of a stream in bytes before it grows.
pub(super) const INITIAL_WINDOW: usize = 256 * 1024;
/// The largest receive window of a stream in bytes: 100 Mbit/s at a round trip of 300 ms.
pub(super) const LARGEST_WINDOW: usize = 4 * 1024 * 1024;

/// The growth of the receive windows of one connection.
#[derive(Debug)]
pub(super) struct WindowGrowth {
    /// The present window of a stream in bytes.
    window: usize,
    /// The number of bytes that had arrived when the window last grew.
    grown_at: u64,
    /// The number of arrived bytes from which on growth is considered again.
    next: u64,
}

impl WindowGrowth {
    /// Returns the state of a new connection, with the initial window.
    pub(super) const fn new() -> Self {
        Self { window: INITIAL_WINDOW, grown_at: 0, next: INITIAL_WINDOW as u64 }
    }

    /// Returns the window of a stream in bytes, after `arrived` bytes have arrived on the connection in all, for this
    /// many open streams. Doubles it if a whole window of each stream has arrived since the last growth and at most
    /// half of that is buffered. `buffered` returns the number of bytes that clients have not read; it is called at
    /// most once for each window that has arrived.
    pub(super) fn window(&mut self, arrived: u64, streams: usize, buffered: impl FnOnce() -> usize) -> usize {
        if self.window < LARGEST_WINDOW && arrived >= self.next {
            let since = arrived - self.grown_at;
            let round = (self.window * streams.max(1)) as u64;
            if since >= round && buffered() as u64 <= since / 2 {
                self.window *= 2;
                self.grown_at = arrived;
            }
            self.next = arrived + self.window as u64;
        }
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_doubles_with_each_round_that_is_taken() {
        let mut growth = WindowGrowth::new();
        let mut arrived = 0;
        let mut rounds = 0;
        while growth.window(arrived, 1, || 0) < LARGEST_WINDOW {
            arrived += growth.window as u64;
            rounds += 1;
        }
        assert_eq!((rounds, arrived), (4, 15 * INITIAL_WINDOW as u64));
        assert_eq!(growth.window(u64::MAX, 1, || 0), LARGEST_WINDOW);
    }

    proptest! {
        /// Streams whose clients take nothing fill their windows and no more, and cause no growth.
        #[test]
        fn nothing_grows_for_clients_that_take_nothing(streams in 1usize..500, parts in 1u64..100) {
            let mut growth = WindowGrowth::new();
            let all = (INITIAL_WINDOW * streams) as u64;
            for part in 1..=parts {
                let arrived = all * part / parts;
                prop_assert_eq!(growth.window(arrived, streams, || arrived as usize), INITIAL_WINDOW);
            }
        }

        /// Whatever arrives: the window only grows, by doubling, up to the largest.
        #[test]
        fn windows_grow_within_their_limits(steps in proptest::collection::vec((0u64..20_000_000, 0usize..50, 0usize..20_000_000), 0..60)) {
            let (mut growth, mut arrived, mut before) = (WindowGrowth::new(), 0, INITIAL_WINDOW);
            for (more, streams, buffered) in steps {
                arrived += more;
                let window = growth.window(arrived, streams, || buffered);
                prop_assert!(window == before || window == 2 * before);
                prop_assert!(window <= LARGEST_WINDOW);
                before = window;
            }
        }
    }
}
