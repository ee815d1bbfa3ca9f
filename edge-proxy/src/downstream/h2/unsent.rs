//! The limit of unsent bytes in the kernel's send queue, by the rate at which the client's connection accepts output.
//!
//! A response that becomes ready waits until the unsent bytes of less urgent ones are sent, so there should be few. But
//! the fewer there are, the more often the queue runs low and this process is woken to write: a download over a fast
//! network costs half as much again if at most 128 KiB are unsent instead of 4 MiB.

use std::time::{Duration, Instant};

/// The time in which about all unsent bytes should be sent.
const QUEUE_TIME: Duration = Duration::from_millis(10);
/// The least limit in bytes, which is that of a new connection.
const MIN_UNSENT: u32 = 128 * 1024;
/// The highest limit in bytes: the default size to which Linux lets a send queue grow.
const MAX_UNSENT: u32 = 4 * 1024 * 1024;

/// The limit of unsent bytes of a connection, and the output by which it is measured.
#[derive(Debug)]
pub(super) struct UnsentLimit {
    /// The limit in bytes, a power of two from [`MIN_UNSENT`] to [`MAX_UNSENT`].
    limit: u32,
    /// The number of bytes that were accepted since `since`.
    bytes: u64,
    /// The time at which the measurement began.
    since: Instant,
}

impl UnsentLimit {
    /// Returns the limit of a connection that begins now.
    pub(super) const fn new(now: Instant) -> Self {
        Self { limit: MIN_UNSENT, bytes: 0, since: now }
    }

    /// Returns the limit in bytes.
    pub(super) const fn bytes(&self) -> u32 {
        self.limit
    }

    /// Counts bytes of output that the connection has accepted. Returns true if the limit changed: it doubles once
    /// twice as many bytes were accepted within [`QUEUE_TIME`], and falls if less than half as many would have been.
    /// `now` is called only when enough bytes were accepted to tell.
    pub(super) fn count(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> bool {
        self.bytes += bytes as u64;
        if self.bytes < u64::from(MIN_UNSENT) {
            return false;
        }
        let now = now();
        let elapsed = now.saturating_duration_since(self.since);
        let before = self.limit;
        if elapsed > QUEUE_TIME {
            let rate = u128::from(self.bytes) * QUEUE_TIME.as_nanos() / elapsed.as_nanos();
            if rate < u128::from(before / 2) {
                let least = u32::try_from(rate).unwrap_or(MAX_UNSENT).next_power_of_two();
                self.limit = least.clamp(MIN_UNSENT, MAX_UNSENT);
            }
        } else if self.bytes >= 2 * u64::from(before) {
            self.limit = (2 * before).min(MAX_UNSENT);
        } else {
            return false;
        }
        (self.bytes, self.since) = (0, now);
        self.limit != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A connection that sends at a constant rate.
    struct ConstantRate {
        now: Instant,
        unsent: u64,
        limit: UnsentLimit,
    }

    impl ConstantRate {
        fn new() -> Self {
            let now = Instant::now();
            Self { now, unsent: 0, limit: UnsentLimit::new(now) }
        }

        /// Writes `part` bytes whenever the limit permits, for this time, while `rate` bytes per second are sent.
        fn download(&mut self, time: Duration, rate: u64, part: u64) {
            let end = self.now + time;
            while self.now < end {
                while self.unsent < u64::from(self.limit.bytes()) {
                    self.unsent += part;
                    let now = self.now;
                    self.limit.count(part as usize, || now);
                }
                let sent = self.unsent.min(part);
                self.unsent -= sent;
                self.now += Duration::from_nanos(sent * 1_000_000_000 / rate);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn unsent_bytes_are_sent_in_the_time_of_the_queue(
            rates in proptest::collection::vec(1u64..2000, 1..4),
            part in 1000u64..70_000,
        ) {
            let mut connection = ConstantRate::new();
            for rate in rates {
                let rate = rate * 1_000_000;
                // What is unsent at the previous rate is sent first.
                let time = Duration::from_secs(1 + connection.unsent / rate);
                connection.download(time, rate, part);
                let limit = u64::from(connection.limit.bytes());
                let in_time = rate * QUEUE_TIME.as_millis() as u64 / 1000;
                prop_assert!(limit.is_power_of_two());
                prop_assert!(limit <= (2 * in_time).next_power_of_two().max(u64::from(MIN_UNSENT)), "{rate}: {limit}");
                prop_assert!(limit >= (in_time / 4).min(u64::from(MAX_UNSENT)), "{rate}: {limit}");
            }
        }
    }

    #[test]
    fn a_fast_connection_gets_the_highest_limit_and_loses_it_when_it_is_quiet() {
        let mut connection = ConstantRate::new();
        assert_eq!(connection.limit.bytes(), MIN_UNSENT);
        connection.download(Duration::from_millis(50), 1_000_000_000, 65_536);
        assert_eq!(connection.limit.bytes(), MAX_UNSENT);
        let later = connection.now + Duration::from_secs(1);
        assert!(connection.limit.count(MIN_UNSENT as usize, || later));
        assert_eq!(connection.limit.bytes(), MIN_UNSENT);
    }

    #[test]
    fn the_time_is_not_asked_for_small_responses() {
        let mut limit = UnsentLimit::new(Instant::now());
        for _ in 0..127 {
            assert!(!limit.count(1024, || unreachable!()));
        }
        assert_eq!(limit.bytes(), MIN_UNSENT);
    }
}
