//! Samples of the counters over the last hour.

use edge_proxy::{Histogram, Metrics};
use std::collections::VecDeque;
use std::time::Duration;

/// The interval between samples.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// The largest number of samples: those of an hour at intervals of [`STEP`].
const MAX_SAMPLES: usize = 720;

/// The rates over one interval between two readings of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RateSample {
    /// Requests per second.
    pub(crate) requests: f64,
    /// Responses with status 5xx per second.
    pub(crate) errors: f64,
    /// Rejected connections per second.
    pub(crate) rejected: f64,
    /// Bytes of content sent to clients per second.
    pub(crate) sent: f64,
    /// The median duration of requests in seconds, as the upper bound of its bucket. `None` without requests.
    pub(crate) median: Option<f64>,
    /// The 99th percentile of durations in seconds, as the upper bound of its bucket. `None` without requests.
    pub(crate) p99: Option<f64>,
}

/// The samples of the last hour, at most [`MAX_SAMPLES`].
#[derive(Default)]
pub(crate) struct History {
    /// The counters at the last sample. `None` before the first.
    before: Option<Totals>,
    /// The samples, the oldest first.
    points: VecDeque<RateSample>,
}

/// Counters since the start of the process, summed over all sites.
#[derive(Clone, Default)]
struct Totals {
    /// The time since the start.
    uptime: Duration,
    /// The number of requests.
    requests: u64,
    /// The number of responses with a status 5xx.
    errors: u64,
    /// The number of rejected connections.
    rejected: u64,
    /// The bytes of content sent to clients.
    sent: u64,
    /// The histogram of the durations of requests.
    durations: Histogram,
}

impl Totals {
    /// Sums the counters of all sites of a proxy.
    fn of(metrics: &Metrics) -> Self {
        let mut totals = Self {
            uptime: metrics.uptime,
            rejected: metrics.rejected.iter().map(|(_, count)| count).sum(),
            ..Self::default()
        };
        for site in &metrics.sites {
            totals.requests += site.requests();
            totals.errors += site.statuses[5];
            totals.sent += site.sent;
            let durations = &mut totals.durations;
            durations.sum += site.durations.sum;
            if durations.buckets.is_empty() {
                durations.buckets.clone_from(&site.durations.buckets);
            } else {
                for (sum, (_, count)) in durations.buckets.iter_mut().zip(&site.durations.buckets) {
                    sum.1 += count;
                }
            }
        }
        totals
    }
}

impl History {
    /// Adds a sample: the rates since the last call, and drops the oldest beyond an hour. The first call only records
    /// the counters. Counters that decreased, since a reload removed a site, count as unchanged.
    pub(crate) fn add(&mut self, metrics: &Metrics) {
        let now = Totals::of(metrics);
        if let Some(before) = &self.before {
            let seconds = now.uptime.saturating_sub(before.uptime).as_secs_f64().max(0.001);
            // A site that a reload removed takes its counters with it.
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let durations = now.durations.since(&before.durations);
            self.points.push_back(RateSample {
                requests: rate(now.requests, before.requests),
                errors: rate(now.errors, before.errors),
                rejected: rate(now.rejected, before.rejected),
                sent: rate(now.sent, before.sent),
                median: durations.quantile(0.5),
                p99: durations.quantile(0.99),
            });
            if self.points.len() > MAX_SAMPLES {
                self.points.pop_front();
            }
        }
        self.before = Some(now);
    }

    /// Returns the samples, the oldest first.
    pub(crate) fn samples(&self) -> impl ExactSizeIterator<Item = &RateSample> {
        self.points.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_proxy::SiteMetrics;

    fn metrics(seconds: u64, requests: u64) -> Metrics {
        let mut metrics = Metrics::default();
        let mut site = SiteMetrics::default();
        site.statuses[2] = requests;
        site.durations.buckets = vec![(0.01, requests), (f64::INFINITY, 0)];
        metrics.uptime = Duration::from_secs(seconds);
        metrics.sites = vec![site];
        metrics
    }

    #[test]
    fn rates_are_by_second_and_an_hour_is_kept() {
        let mut history = History::default();
        for step in 0..1000 {
            history.add(&metrics(step * 5, step * 50));
        }
        assert_eq!(history.samples().len(), MAX_SAMPLES);
        assert!(history.samples().all(|point| point.requests == 10.0 && point.p99 == Some(0.01)));
        // A reload removed counters: the rate must not be negative.
        history.add(&metrics(5000, 3));
        assert_eq!(history.samples().last().map(|point| point.requests), Some(0.0));
    }
}
