//! Figures of contenders and their ratios.

use crate::contender::Contender;
use crate::workload::{Measure, Workload};
use serde_json::{Value, json};
use std::fmt;

/// Figures of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Processor time per request in microseconds.
    pub(crate) processor: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Median latency in microseconds. 0 if it is not measured.
    pub(crate) p50: f64,
    /// 99th percentile of latency in microseconds. 0 if it is not measured.
    pub(crate) p99: f64,
    /// Largest resident set or, for idle connections, the memory of one connection, in bytes.
    pub(crate) memory: f64,
}

/// Figures of a contender at a workload, one for each turn.
pub(crate) struct Figures {
    pub(crate) contender: Contender,
    pub(crate) samples: Vec<Sample>,
}

impl Figures {
    /// Returns the figure of `measure` of each turn, ascending.
    fn values(&self, measure: Measure) -> Vec<f64> {
        let of = |sample: &Sample| match measure {
            Measure::Processor => sample.processor,
            Measure::Memory => sample.memory,
            Measure::Rate => sample.rate,
        };
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// Returns the figure of the least disturbed turn: the highest of a rate, the lowest of another measure. NaN
    /// without a turn.
    pub(crate) fn best(&self, measure: Measure) -> f64 {
        let values = self.values(measure);
        let best = if measure == Measure::Rate { values.last() } else { values.first() };
        best.copied().unwrap_or(f64::NAN)
    }

    /// Returns the median over all turns of the figure that `of` selects; the upper one of two. NaN without a turn.
    pub(crate) fn median_of(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Returns the median of the figure of `measure` over all turns; the upper one of two. NaN without a turn.
    pub(crate) fn median(&self, measure: Measure) -> f64 {
        let values = self.values(measure);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Figures of one workload: those of each contender, the peers with which edge-proxyd is compared (`beside`), and the
/// target ratio (`reach`).
pub(crate) struct Line {
    pub(crate) title: &'static str,
    name: &'static str,
    pub(crate) measure: Measure,
    beside: &'static [Contender],
    pub(crate) reach: f64,
    pub(crate) all: Vec<Figures>,
}

impl Line {
    /// Creates the line of a workload. `samples` are those of each contender, in the same order.
    pub(crate) fn new(workload: &Workload, contenders: &[Contender], samples: Vec<Vec<Sample>>) -> Self {
        let all = contenders
            .iter()
            .zip(samples)
            .map(|(contender, samples)| Figures { contender: *contender, samples })
            .collect();
        Self {
            title: workload.title,
            name: workload.name,
            measure: workload.measure(),
            beside: workload.beside,
            reach: workload.reach,
            all,
        }
    }

    /// Returns the figures of a contender. `None` if it was not measured.
    pub(crate) fn of(&self, contender: Contender) -> Option<&Figures> {
        self.all.iter().find(|figures| figures.contender == contender)
    }

    /// Returns edge-proxyd's figure divided by the best peer's, from the least disturbed turns, and that peer. `None`
    /// if either was not measured.
    pub(crate) fn ratio(&self) -> Option<(f64, Contender)> {
        let ours = self.of(Contender::Edge)?.best(self.measure);
        let peers = self.beside.iter().filter_map(|peer| Some((self.of(*peer)?.best(self.measure), *peer)));
        let better = |a: &(f64, Contender), b: &(f64, Contender)| match self.measure {
            Measure::Rate => b.0.total_cmp(&a.0),
            _ => a.0.total_cmp(&b.0),
        };
        let (best, peer) = peers.min_by(better)?;
        Some((ours / best, peer))
    }

    /// Returns edge-proxyd's median divided by that of a peer. NaN if either was not measured.
    pub(crate) fn ratio_of_medians(&self, peer: Contender) -> f64 {
        let of = |contender| self.of(contender).map_or(f64::NAN, |figures| figures.median(self.measure));
        of(Contender::Edge) / of(peer)
    }

    /// Returns `true` if the target ratio is reached. `false` if there is no ratio.
    pub(crate) fn is_target_reached(&self) -> bool {
        self.ratio().is_some_and(|(ratio, _)| match self.measure {
            Measure::Rate => ratio >= self.reach,
            _ => ratio <= self.reach,
        })
    }

    /// Returns the figures of all turns, the target ratio and the ratio as JSON; the ratio is null if there is none.
    pub(crate) fn json(&self) -> Value {
        let all: Vec<Value> = self
            .all
            .iter()
            .map(|figures| {
                let list = |of: fn(&Sample) -> f64| figures.samples.iter().map(of).collect::<Vec<f64>>();
                json!({
                    "contender": figures.contender.name(),
                    "processor_us": list(|sample| sample.processor),
                    "requests_per_second": list(|sample| sample.rate),
                    "p50_us": list(|sample| sample.p50),
                    "p99_us": list(|sample| sample.p99),
                    "memory_bytes": list(|sample| sample.memory),
                })
            })
            .collect();
        json!({ "workload": self.name, "title": self.title, "reach": self.reach,
            "ratio": self.ratio().map(|(ratio, _)| ratio), "figures": all })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14}", self.name)?;
        for figures in &self.all {
            write!(f, " {} {}", figures.contender.name(), amount(figures.best(self.measure), self.measure))?;
        }
        if let Some((ratio, peer)) = self.ratio() {
            let sign = if self.measure == Measure::Rate { "≥" } else { "≤" };
            let word = if self.is_target_reached() { "reached" } else { "MISSED" };
            write!(f, "  | {ratio:.2} of {} ({sign} {:.2} {word})", peer.name(), self.reach)?;
        }
        Ok(())
    }
}

/// Formats a figure with a unit that suits its size. `value` is in the unit of the measure: microseconds, bytes, or
/// requests per second. A dash for NaN.
pub(crate) fn amount(value: f64, measure: Measure) -> String {
    match measure {
        _ if value.is_nan() => "–".into(),
        Measure::Processor if value >= 10_000.0 => format!("{:.1} ms", value / 1e3),
        Measure::Processor if value >= 100.0 => format!("{value:.0} µs"),
        Measure::Processor => format!("{value:.1} µs"),
        Measure::Memory => format!("{:.1} kB", value / 1e3),
        Measure::Rate => format!("{:.1} k/s", value / 1e3),
    }
}
