//! The counters that are written while serving. Each worker writes its own, so counting is a load and a store; a reader
//! adds up those of all workers.

use edge_policy::Reason;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The inclusive upper bounds of a histogram's buckets in microseconds. A further bucket, the last one, has none.
pub(super) const BOUNDS: [u64; 12] = [
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// A counter that one worker writes and other threads read.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n` to the counter, which wraps around. Must be called on the thread of one worker only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Subtracts `n` from the counter, which wraps around. Must be called on the thread of one worker only.
    pub(crate) fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Returns the value of the counter.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one worker that belong to no site, on cache lines of their own.
#[repr(align(128))]
pub(crate) struct Shard {
    /// The number of TCP connections accepted.
    pub(crate) tcp: Counter,
    /// The number of TCP connections that are open.
    pub(crate) tcp_open: Counter,
    /// The number of times that accepting paused, for lack of descriptors or after an error.
    pub(crate) accept_waits: Counter,
    /// The number of QUIC connections accepted.
    pub(crate) quic: Counter,
    /// The number of QUIC connections that are open.
    pub(crate) quic_open: Counter,
    /// The number of TLS handshakes completed on TCP.
    pub(crate) handshakes: Counter,
    /// The number of completed TLS handshakes on TCP that resumed a session.
    pub(crate) resumed: Counter,
    /// The number of responses and tunnels whose content was at least in part spliced and encrypted by the kernel.
    pub(crate) kernel_tls: Counter,
    /// The number of content bytes spliced and encrypted by the kernel.
    pub(crate) kernel_tls_bytes: Counter,
    /// The number of rejected connections and of requests rejected for their heads, by reason.
    pub(super) rejected: [Counter; Reason::ALL.len()],
    /// The number of requests and forwarded connections that ended for a reason, by reason.
    pub(super) refused: [Counter; Reason::ALL.len()],
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            tcp: Counter::default(),
            tcp_open: Counter::default(),
            accept_waits: Counter::default(),
            quic: Counter::default(),
            quic_open: Counter::default(),
            handshakes: Counter::default(),
            resumed: Counter::default(),
            kernel_tls: Counter::default(),
            kernel_tls_bytes: Counter::default(),
            rejected: std::array::from_fn(|_| Counter::default()),
            refused: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Shard {
    /// Counts a rejected connection, or a request rejected for its head, by its reason.
    pub(crate) fn rejected(&self, reason: Reason) {
        self.rejected[reason as usize].add(1);
    }

    /// Counts a request that was refused or aborted, or a forwarded connection that ended for a reason.
    pub(crate) fn refused(&self, reason: Reason) {
        self.refused[reason as usize].add(1);
    }
}

/// The counters of one worker for one site.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct SiteShard {
    /// The number of requests by the class of their status: index 1 to 5 for 1xx to 5xx, index 0 for requests without
    /// a response.
    pub(super) statuses: [Counter; 6],
    /// The number of requests by version, in the order HTTP/1.0, 1.1, 2, 3.
    pub(super) versions: [Counter; 4],
    /// The number of requests in early data.
    pub(super) early: Counter,
    /// The number of content bytes received from clients.
    pub(super) received: Counter,
    /// The number of content bytes sent to clients.
    pub(super) sent: Counter,
    /// The number of requests by duration: one bucket for each of [`BOUNDS`], and one above the last. Not cumulative.
    pub(super) buckets: [Counter; BOUNDS.len() + 1],
    /// The sum of the durations of requests in microseconds.
    pub(super) microseconds: Counter,
}

impl SiteShard {
    /// Counts a request that has ended. `status` is `None` without a response; a status of 600 or more counts as 5xx.
    /// `version` is the index in `versions`, of which 3 is the highest. `early` is true for a request in early data.
    /// The pair is the content bytes received from and sent to the client. `took` is the duration of the request.
    pub(crate) fn request(
        &self,
        status: Option<u16>,
        version: usize,
        early: bool,
        (received, sent): (u64, u64),
        took: Duration,
    ) {
        self.statuses[usize::from(status.unwrap_or(0) / 100).min(5)].add(1);
        self.versions[version.min(3)].add(1);
        self.early.add(u64::from(early));
        self.received.add(received);
        self.sent.add(sent);
        let microseconds = took.as_micros() as u64;
        self.microseconds.add(microseconds);
        self.buckets[BOUNDS.partition_point(|bound| *bound < microseconds)].add(1);
    }
}

/// The counters of all workers, by the index of the worker.
pub(crate) struct Shards<T>(Box<[T]>);

impl<T: Default> Shards<T> {
    /// Creates counters of value 0 for this number of workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| T::default()).collect())
    }

    /// Returns the counters of the worker with this index.
    ///
    /// # Panics
    /// If there is no worker with this index.
    pub(crate) fn of(&self, worker: usize) -> &T {
        &self.0[worker]
    }

    /// Returns the sum of a counter over all workers, which wraps around. `count` selects the counter.
    pub(super) fn sum(&self, count: impl Fn(&T) -> &Counter) -> u64 {
        self.0.iter().fold(0, |sum, shard| sum.wrapping_add(count(shard).get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_bucket_that_bounds_it() {
        let shards = Shards::<SiteShard>::new(2);
        for (microseconds, bucket) in [(0, 0), (1000, 0), (1001, 1), (10_000_000, 11), (10_000_001, 12)] {
            let before = shards.sum(|shard| &shard.buckets[bucket]);
            let took = Duration::from_micros(microseconds);
            shards.of(bucket % 2).request(Some(200), 1, false, (1, 2), took);
            assert_eq!(shards.sum(|shard| &shard.buckets[bucket]), before + 1, "{microseconds}");
        }
        assert_eq!(shards.sum(|shard| &shard.statuses[2]), 5);
        assert_eq!(shards.sum(|shard| &shard.sent), 10);
    }
}
