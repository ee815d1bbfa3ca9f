//! The report: a table, the figures as JSON, and a chart.

use crate::args::Args;
use crate::chart;
use crate::contender::Contender;
use crate::figures::{Line, amount};
use crate::workload::Measure;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// Results of a run: its conditions, the figures of each workload, and the instructions of each contender.
pub(crate) struct Report {
    about: String,
    contenders: Vec<Contender>,
    lines: Vec<Line>,
    /// Instructions of a whole request in user space. Empty if they were not counted.
    pub(crate) instructions: Vec<(Contender, u64)>,
}

impl Report {
    /// Creates an empty report with the conditions of the run.
    pub(crate) fn new(args: &Args, contenders: &[Contender]) -> Self {
        Self {
            about: conditions(args),
            contenders: contenders.to_vec(),
            lines: Vec::new(),
            instructions: Vec::new(),
        }
    }

    /// Appends the figures of a workload.
    pub(crate) fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Returns the report as Markdown: a table of the compared figures and ratios, one of rates, latencies and memory,
    /// and the instructions if they were counted.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("\n{}.\n\n| workload |", self.about);
        for contender in &self.contenders {
            let _ = write!(text, " {} |", contender.name());
        }
        text.push_str(" ratio | of medians |\n|-|");
        text.push_str(&"-|".repeat(self.contenders.len() + 2));
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
                let medians = line.ratio_of_medians(peer);
                let _ = writeln!(text, " **{ratio:.2}** of {} | {medians:.2} |", peer.name());
            } else {
                text.push_str(" – | – |\n");
            }
        }
        text.push_str("\n| requests per second, p50, p99, peak memory |");
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
        if !self.instructions.is_empty() {
            let each =
                self.instructions.iter().map(|(contender, count)| format!("{} {count}", contender.name()));
            let each: Vec<String> = each.collect();
            let _ = write!(
                text,
                "\nInstructions of a whole request over HTTP/1.1 (1 KiB, 16 connections) in user space, counted by valgrind: {}.\n",
                each.join(", ")
            );
        }
        text
    }

    /// Writes `BENCHMARKS.md`, `benchmarks.json` and `benchmarks.svg` into a folder. In an existing `BENCHMARKS.md`
    /// only the part between two marks is replaced.
    ///
    /// # Errors
    /// Returns the file that could not be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), String> {
        let lines: Vec<Value> = self.lines.iter().map(Line::json).collect();
        let counts: Vec<Value> = self
            .instructions
            .iter()
            .map(|(contender, count)| json!({ "contender": contender.name(), "instructions": count }))
            .collect();
        let json = json!({ "about": self.about, "workloads": lines, "instructions": counts });
        let json = serde_json::to_string_pretty(&json).map_err(|why| why.to_string())? + "\n";
        let table = folder.join("BENCHMARKS.md");
        let known = std::fs::read_to_string(&table).unwrap_or_default();
        // The table is between two marks; the text around it is kept.
        let (begin, end) = ("<!-- table -->\n", "<!-- end of table -->\n");
        let before = known.split_once(begin).map_or("# Benchmarks\n\n", |(before, _)| before);
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

/// Returns the conditions of a run: rounds, turns and machine.
pub(crate) fn conditions(args: &Args) -> String {
    format!(
        "{} rounds of turns of {} s after one to warm up; machine: {}, {} cores, Linux {}",
        args.rounds,
        args.seconds,
        first_of("/proc/cpuinfo", "model name"),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    )
}

/// Returns the value of the first line of a file that begins with `key`, after its colon. `unknown` if there is none.
fn first_of(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
}
