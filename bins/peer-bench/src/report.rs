//! Figures, ratios, the table.

use crate::args::Args;
use crate::chart;
use crate::contender::Contender;
use crate::workload::{Measure, Workload};
use serde_json::{Value, json};
use std::fmt::{self, Write as _};
use std::path::Path;

/// One turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Microseconds of processor time a request.
    pub(crate) processor: f64,
    /// Requests a second.
    pub(crate) rate: f64,
    /// Median latency, microseconds; 0 where it is not measured.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
    /// Bytes: the largest resident set, or those of one connection.
    pub(crate) memory: f64,
}

/// A contender's figures at a workload.
pub(crate) struct Figures {
    pub(crate) contender: Contender,
    pub(crate) samples: Vec<Sample>,
}

impl Figures {
    /// What is compared, of each turn.
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

    /// The turn that was disturbed least.
    pub(crate) fn best(&self, measure: Measure) -> f64 {
        let values = self.values(measure);
        let best = if measure == Measure::Rate { values.last() } else { values.first() };
        best.copied().unwrap_or(f64::NAN)
    }

    fn median_of(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn median(&self, measure: Measure) -> f64 {
        let values = self.values(measure);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// One workload's figures.
pub(crate) struct Line {
    pub(crate) title: &'static str,
    name: &'static str,
    pub(crate) measure: Measure,
    beside: &'static [Contender],
    pub(crate) reach: f64,
    pub(crate) all: Vec<Figures>,
}

impl Line {
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

    fn of(&self, contender: Contender) -> Option<&Figures> {
        self.all.iter().find(|figures| figures.contender == contender)
    }

    /// Ours divided by the best of the peers that count, by the least disturbed turns, and that peer.
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

    /// The same by medians.
    fn ratio_of_medians(&self, peer: Contender) -> f64 {
        let of = |contender| self.of(contender).map_or(f64::NAN, |figures| figures.median(self.measure));
        of(Contender::Edge) / of(peer)
    }

    /// Whether what was aimed at is reached.
    pub(crate) fn reached(&self) -> bool {
        self.ratio().is_some_and(|(ratio, _)| match self.measure {
            Measure::Rate => ratio >= self.reach,
            _ => ratio <= self.reach,
        })
    }

    fn json(&self) -> Value {
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
            let word = if self.reached() { "reached" } else { "MISSED" };
            write!(f, "  | {ratio:.2} of {} ({sign} {:.2} {word})", peer.name(), self.reach)?;
        }
        Ok(())
    }
}

/// A figure as people read it.
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

/// Everything.
pub(crate) struct Report {
    about: String,
    contenders: Vec<Contender>,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(args: &Args, contenders: &[Contender]) -> Self {
        let about = format!(
            "{} rounds of turns of {} s after one to warm up; the machine: {}, {} cores, Linux {}",
            args.rounds,
            args.seconds,
            first_of("/proc/cpuinfo", "model name"),
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        );
        Self { about, contenders: contenders.to_vec(), lines: Vec::new() }
    }

    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{}.\n\n| workload |", self.about);
        for contender in &self.contenders {
            let _ = write!(text, " {} |", contender.name());
        }
        text.push_str(" ratio | of medians | aim |\n|-|");
        text.push_str(&"-|".repeat(self.contenders.len() + 3));
        text.push('\n');
        for line in &self.lines {
            let _ = write!(text, "| {} |", line.title);
            for contender in &self.contenders {
                match line.of(*contender) {
                    Some(figures) => {
                        let (best, median) = (figures.best(line.measure), figures.median(line.measure));
                        let spread = (median / best - 1.0).abs() * 100.0;
                        let _ = write!(text, " {} ±{spread:.0} % |", amount(best, line.measure));
                    }
                    None => text.push_str(" – |"),
                }
            }
            if let Some((ratio, peer)) = line.ratio() {
                let sign = if line.measure == Measure::Rate { '≥' } else { '≤' };
                let mark = if line.reached() { "✓" } else { "✗" };
                let medians = line.ratio_of_medians(peer);
                let _ = writeln!(
                    text,
                    " **{ratio:.2}** of {} | {medians:.2} | {sign} {:.2} {mark} |",
                    peer.name(),
                    line.reach
                );
            } else {
                text.push_str(" – | – | – |\n");
            }
        }
        text.push_str("\n| requests a second, p50, p99, peak memory |");
        for contender in &self.contenders {
            let _ = write!(text, " {} |", contender.name());
        }
        text.push_str("\n|-|");
        text.push_str(&"-|".repeat(self.contenders.len()));
        text.push('\n');
        for line in self.lines.iter().filter(|line| line.measure != Measure::Memory) {
            let _ = write!(text, "| {} |", line.title);
            for contender in &self.contenders {
                match line.of(*contender) {
                    Some(figures) => {
                        let rate = figures.median_of(|sample| sample.rate);
                        let (p50, p99) = (figures.median_of(|s| s.p50), figures.median_of(|s| s.p99));
                        let memory = figures.median_of(|sample| sample.memory) / 1e6;
                        let _ = write!(text, " {rate:.0}/s");
                        if p50 > 0.0 {
                            let _ = write!(text, ", {:.2} ms, {:.2} ms", p50 / 1e3, p99 / 1e3);
                        }
                        let _ = write!(text, ", {memory:.0} MB |");
                    }
                    None => text.push_str(" – |"),
                }
            }
            text.push('\n');
        }
        text
    }

    /// Writes the table, the figures and the chart.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        let json = json!({ "about": self.about, "workloads": lines });
        let json = serde_json::to_string_pretty(&json).map_err(|why| why.to_string())? + "\n";
        let table = folder.join("BENCHMARKS.md");
        let known = std::fs::read_to_string(&table).unwrap_or_default();
        // The table stands between two marks; what a person wrote around it stays.
        let (begin, end) = ("<!-- table -->\n", "<!-- end of table -->\n");
        let before = known.split_once(begin).map_or("# Beside the peers\n\n", |(before, _)| before);
        let after = known.split_once(end).map_or("", |(_, after)| after);
        let text = format!("{before}{begin}{}{end}{after}", self.table());
        for (name, text) in
            [("BENCHMARKS.md", text), ("benchmarks.json", json), ("benchmarks.svg", chart::draw(&self.lines))]
        {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        Ok(())
    }
}

fn first_of(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
}
