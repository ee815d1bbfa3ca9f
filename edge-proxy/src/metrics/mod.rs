//! Metrics as plain values and in the Prometheus text format.

pub(crate) mod counters;
mod prometheus;

use super::resumption::SharedMetrics;
use super::upstream::TargetStatus;
use counters::{BOUNDS, Shard, Shards, SiteShard};
use edge_policy::Reason;
use std::time::Duration;

/// The metrics of a proxy. Counters begin at its start and are monotonic; those of a site survive reloads that retain
/// the site's name.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// The time since the start of the proxy.
    pub uptime: Duration,
    /// The number of TCP connections accepted, without those above [`Limits::connections`](crate::config::Limits) and
    /// those that arrived on another interface than the listener's.
    pub tcp_connections: u64,
    /// The number of TCP connections that are open.
    pub tcp_open: u64,
    /// The number of times that a worker paused accepting connections on a listener: for 50 ms after an error, or until
    /// a file descriptor for clients was free.
    pub accept_waits: u64,
    /// The number of QUIC connections whose ClientHello was accepted, also if the handshake was not completed.
    pub quic_connections: u64,
    /// The number of QUIC connections that are open, with those whose handshake is not complete.
    pub quic_open: u64,
    /// The number of TLS handshakes completed on TCP.
    pub handshakes: u64,
    /// The number of TLS handshakes completed on TCP that resumed a session, by a ticket or a stored session. Part of
    /// `handshakes`.
    pub resumed: u64,
    /// The number of responses and tunnels whose content was at least in part spliced and encrypted by the kernel.
    pub kernel_tls: u64,
    /// The number of content bytes spliced and encrypted by the kernel.
    pub kernel_tls_bytes: u64,
    /// The number of connections that were rejected or ended by the proxy, and of requests rejected for their heads, by
    /// reason: those that [`Observer::rejected`](crate::Observer::rejected) receives. Contains every reason for which
    /// [`Reason::is_of_connections`] is true, also with 0, and others with a count.
    pub rejected: Vec<(Reason, u64)>,
    /// The number of requests whose access record has a reason, and of forwarded connections whose record has one, by
    /// reason: those that were refused, dropped, aborted or failed. Contains every reason for which
    /// [`Reason::is_of_requests`] is true, also with 0, and others with a count.
    pub refused: Vec<(Reason, u64)>,
    /// The metrics of each site, in the order of the configuration. The last entry, with an empty name, is for requests
    /// of no site.
    pub sites: Vec<SiteMetrics>,
    /// The status of each target of each upstream, in the order of the configuration.
    pub targets: Vec<TargetStatus>,
    /// The metrics of the state shared with other edges. `None` if no state is shared.
    pub shared: Option<SharedMetrics>,
    /// The metrics of span export. `None` if spans are disabled.
    pub spans: Option<SpanMetrics>,
}

/// The number of trace spans by the result of their export, since the start of the proxy. Spans that wait for their
/// export are not counted yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanMetrics {
    /// Spans that the collector accepted.
    pub exported: u64,
    /// Spans that were discarded because the queue was full.
    pub dropped: u64,
    /// Spans that the collector rejected, or did not accept within five minutes or before the proxy ended.
    pub failed: u64,
}

/// The metrics of the requests to one site, or to none. Counters begin at the start of the proxy, or when the site is
/// added, and survive reloads that retain the site's name.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SiteMetrics {
    /// The name of the site. Empty for the metrics of requests that matched no site.
    pub name: String,
    /// The number of requests that have ended, by the class of their status: index 1 to 5 for 1xx to 5xx, index 0 for
    /// requests without a response. A status of 600 or more counts as 5xx.
    pub statuses: [u64; 6],
    /// The number of requests by version, in the order HTTP/1.0, 1.1, 2, 3.
    pub versions: [u64; 4],
    /// The number of requests that arrived in early data.
    pub early: u64,
    /// The number of content bytes received from clients.
    pub received: u64,
    /// The number of content bytes sent to clients.
    pub sent: u64,
    /// The durations of requests, from the complete head to the end of the response or of the tunnel.
    pub durations: Histogram,
}

/// A histogram of the durations of requests.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The buckets in ascending order: the inclusive upper bound in seconds, and the number of durations up to it and
    /// above the previous bound. Not cumulative. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all durations in seconds.
    pub sum: f64,
}

impl SiteMetrics {
    /// Returns the number of requests of all statuses.
    pub fn requests(&self) -> u64 {
        self.statuses.iter().sum()
    }

    /// Returns the metrics of the site with this name: the sums over all workers.
    pub(crate) fn of(name: &str, shards: &Shards<SiteShard>) -> Self {
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        Self {
            name: name.to_owned(),
            statuses: std::array::from_fn(|at| shards.sum(|shard| &shard.statuses[at])),
            versions: std::array::from_fn(|at| shards.sum(|shard| &shard.versions[at])),
            early: shards.sum(|shard| &shard.early),
            received: shards.sum(|shard| &shard.received),
            sent: shards.sum(|shard| &shard.sent),
            durations: Histogram {
                buckets: bounds
                    .enumerate()
                    .map(|(at, bound)| (bound, shards.sum(|shard| &shard.buckets[at])))
                    .collect(),
                sum: shards.sum(|shard| &shard.microseconds) as f64 / 1e6,
            },
        }
    }
}

impl Histogram {
    /// Returns the number of durations in all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// Returns the upper bound, in seconds, of the bucket that contains the quantile `share`, from 0 to 1; infinite
    /// for the last bucket. `None` if the histogram is empty.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let wanted = (count as f64 * share).ceil().max(1.0) as u64;
        let mut sum = 0;
        let bound = self.buckets.iter().find(|(_, count)| {
            sum += count;
            sum >= wanted
        });
        bound.filter(|_| count > 0).map(|(bound, _)| *bound)
    }

    /// Returns the durations that were added after `before`, an earlier reading of the same histogram: the differences
    /// of the buckets and of the sum. Differences below 0 become 0.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let earlier = |at: usize| before.buckets.get(at).map_or(0, |(_, count)| *count);
        let buckets = self.buckets.iter().enumerate();
        Self {
            buckets: buckets
                .map(|(at, (bound, count))| (*bound, count.saturating_sub(earlier(at))))
                .collect(),
            sum: (self.sum - before.sum).max(0.0),
        }
    }
}

/// Returns the sums over all workers by reason: for every reason with a count, and also with 0 for those for which
/// `reasons` returns true. `counts` selects the counters.
fn by_reason(
    shards: &Shards<Shard>,
    reasons: impl Fn(Reason) -> bool,
    counts: impl Fn(&Shard) -> &[counters::Counter],
) -> Vec<(Reason, u64)> {
    let all =
        Reason::ALL.iter().map(|reason| (*reason, shards.sum(|shard| &counts(shard)[*reason as usize])));
    all.filter(|(reason, count)| *count > 0 || reasons(*reason)).collect()
}

/// Returns the current values of all metrics except `shared` and `spans`, which are `None`. Serving continues, so the
/// values are not a consistent snapshot.
pub(crate) fn read(
    uptime: Duration,
    shards: &Shards<Shard>,
    sites: Vec<SiteMetrics>,
    targets: Vec<TargetStatus>,
) -> Metrics {
    Metrics {
        uptime,
        tcp_connections: shards.sum(|shard| &shard.tcp),
        tcp_open: shards.sum(|shard| &shard.tcp_open),
        quic_connections: shards.sum(|shard| &shard.quic),
        quic_open: shards.sum(|shard| &shard.quic_open),
        handshakes: shards.sum(|shard| &shard.handshakes),
        resumed: shards.sum(|shard| &shard.resumed),
        accept_waits: shards.sum(|shard| &shard.accept_waits),
        kernel_tls: shards.sum(|shard| &shard.kernel_tls),
        kernel_tls_bytes: shards.sum(|shard| &shard.kernel_tls_bytes),
        rejected: by_reason(shards, Reason::is_of_connections, |shard| &shard.rejected),
        refused: by_reason(shards, Reason::is_of_requests, |shard| &shard.refused),
        sites,
        targets,
        shared: None,
        spans: None,
    }
}
