//! What a long run is doing, on standard error.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Shows one line a step: on a terminal the line of the running step is replaced by its end, elsewhere each end is a
/// plain line. Standard output is left to results.
#[derive(Debug)]
pub struct Progress {
    shown: Shown,
    running: Option<(String, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    Plain,
    Terminal,
}

impl Progress {
    /// Progress for people; with `quiet`, as machines want it, nothing is shown.
    pub fn new(quiet: bool) -> Self {
        let shown = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Terminal,
            (false, false) => Shown::Plain,
        };
        Self { shown, running: None }
    }

    /// A step begins. One that still runs ends.
    pub fn begin(&mut self, what: impl Into<String>) {
        self.end("done");
        let what = what.into();
        if self.shown == Shown::Terminal {
            eprint!("\r\x1b[K… {what}");
            // Without a line's end nothing else would write it out.
            let _ = std::io::stderr().flush();
        }
        self.running = Some((what, Instant::now()));
    }

    /// How far the running step is, shown on a terminal only.
    pub fn at(&self, detail: &str) {
        if let (Shown::Terminal, Some((what, _))) = (self.shown, &self.running) {
            eprint!("\r\x1b[K… {what}: {detail}");
            let _ = std::io::stderr().flush();
        }
    }

    /// The running step ended, and how.
    pub fn end(&mut self, how: &str) {
        let Some((what, began)) = self.running.take() else { return };
        let seconds = began.elapsed().as_secs_f32();
        match self.shown {
            Shown::Nothing => {}
            Shown::Plain => eprintln!("{what}: {how} ({seconds:.1} s)"),
            Shown::Terminal => eprintln!("\r\x1b[K{what}: {how} ({seconds:.1} s)"),
        }
    }

    /// A line of its own, between steps or within one.
    pub fn note(&self, text: &str) {
        match self.shown {
            Shown::Nothing => {}
            Shown::Plain => eprintln!("{text}"),
            Shown::Terminal => eprintln!("\r\x1b[K{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // A step that nobody ended was cut short by an error.
        self.end("failed");
    }
}
