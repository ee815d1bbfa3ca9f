//! Metrics, as plain values and in Prometheus' format.

pub(crate) mod counters;
mod prometheus;

use super::resumption::SharedMetrics;
use super::upstream::TargetStatus;
use counters::{BOUNDS, Shard, Shards, SiteShard};
use edge_policy::Reason;
use std::time::Duration;

/// Numbers since the start. Those of a site stay through reloads that keep its name.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Since the start.
    pub uptime: Duration,
    /// TCP connections that were accepted.
    pub tcp_connections: u64,
    /// Those that are open.
    pub tcp_open: u64,
    /// Times that accepting had to wait, because descriptors were missing or the system could not accept.
    pub accept_waits: u64,
    /// QUIC connections that were accepted.
    pub quic_connections: u64,
    /// Those that are open.
    pub quic_open: u64,
    /// TLS handshakes on TCP that were completed.
    pub handshakes: u64,
    /// Those that resumed a session.
    pub resumed: u64,
    /// Responses and tunnels whose content the kernel encrypted and passed on.
    pub kernel_tls: u64,
    /// Bytes of that content.
    pub kernel_tls_bytes: u64,
    /// Connections that were rejected, by reason; all reasons of connections, with 0 where it never happened.
    pub turned_away: Vec<(Reason, u64)>,
    /// Requests that ended without the upstream's own response, by reason; all reasons of requests, with 0 if unused.
    pub refused: Vec<(Reason, u64)>,
    /// In the order of the configuration. The last, without a name, is for requests of no site.
    pub sites: Vec<SiteMetrics>,
    /// In the order of the configuration.
    pub targets: Vec<TargetStatus>,
    /// The metrics of state shared with other edges, if any.
    pub shared: Option<SharedMetrics>,
    /// Spans of traces. `None` without traces.
    pub spans: Option<SpanMetrics>,
}

/// Counts of spans, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpanMetrics {
    /// Those that the collector took.
    pub exported: u64,
    /// Those for which there was no room, because the collector was slow or away.
    pub dropped: u64,
    /// Those that the collector refused, or did not take in five minutes or before the end.
    pub failed: u64,
}

/// Numbers of one site.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SiteMetrics {
    /// The name of the site.
    pub name: String,
    /// Requests by the class of their status: 1xx to 5xx at 1 to 5, at 0 those that got no answer.
    pub statuses: [u64; 6],
    /// Requests by version: HTTP/1.0, 1.1, 2 and 3.
    pub versions: [u64; 4],
    /// Requests that came as early data.
    pub early: u64,
    /// Bytes of content from clients.
    pub received: u64,
    /// Bytes of content to clients.
    pub sent: u64,
    /// Durations of requests, from the arrival of the head to the end of the response.
    pub durations: Histogram,
}

/// A distribution of durations.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// Upper bounds of the buckets in seconds, and how many were at most that and above the bound before. The last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all, in seconds.
    pub sum: f64,
}

impl SiteMetrics {
    /// Returns the number of all requests.
    pub fn requests(&self) -> u64 {
        self.statuses.iter().sum()
    }

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
    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// A bound below which this share (0 to 1) of all was, in seconds: the upper bound of its bucket. `None` without any.
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

    /// Returns the difference to an earlier reading of the same metrics.
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

/// Returns the counts of these reasons.
fn by_reason(
    shards: &Shards<Shard>,
    reasons: impl Fn(Reason) -> bool,
    counts: impl Fn(&Shard) -> &[counters::Count],
) -> Vec<(Reason, u64)> {
    let all =
        Reason::ALL.iter().map(|reason| (*reason, shards.sum(|shard| &counts(shard)[*reason as usize])));
    all.filter(|(reason, count)| *count > 0 || reasons(*reason)).collect()
}

/// All metrics, read while serving continues.
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
        turned_away: by_reason(shards, Reason::is_of_connections, |shard| &shard.turned_away),
        refused: by_reason(shards, Reason::is_of_requests, |shard| &shard.refused),
        sites,
        targets,
        shared: None,
        spans: None,
    }
}
