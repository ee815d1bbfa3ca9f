//! Progress of a long run, on standard error.

use crate::journal::Priority;
use crate::verbosity;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// A display with one line per step. On a terminal the line of a running step is replaced when it ends; elsewhere each
/// ended step is a plain line. Standard output is left to results.
#[derive(Debug)]
pub struct Progress {
    shown: DisplayMode,
    running: Option<(String, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DisplayMode {
    Nothing,
    Plain,
    Terminal,
}

impl Progress {
    /// Creates a display. With `quiet`, or in a quiet process, it shows nothing.
    pub fn new(quiet: bool) -> Self {
        let shown = match (quiet || verbosity::is_quiet(), std::io::stderr().is_terminal()) {
            (true, _) => DisplayMode::Nothing,
            (false, true) => DisplayMode::Terminal,
            (false, false) => DisplayMode::Plain,
        };
        Self { shown, running: None }
    }

    /// Begins a step. A step that is still running ends.
    pub fn begin(&mut self, what: impl Into<String>) {
        self.end("done");
        let what = what.into();
        if self.shown == DisplayMode::Terminal {
            eprint!("\r\x1b[K… {what}");
            // Without a line feed the terminal would not show it yet.
            let _ = std::io::stderr().flush();
        }
        self.running = Some((what, Instant::now()));
    }

    /// Shows the progress of the running step: on a terminal in its line, with `--verbose` as a line of its own.
    pub fn update(&self, detail: &str) {
        match (self.shown, &self.running) {
            (DisplayMode::Nothing, _) | (_, None) => {}
            (_, Some((what, _))) if verbosity::is_verbose() => self.note(&format!("{what}: {detail}")),
            (DisplayMode::Plain, _) => {}
            (DisplayMode::Terminal, Some((what, _))) => {
                eprint!("\r\x1b[K… {what}: {detail}");
                let _ = std::io::stderr().flush();
            }
        }
    }

    /// Ends the running step, if there is one, and prints its result and duration.
    pub fn end(&mut self, how: &str) {
        let Some((what, began)) = self.running.take() else { return };
        let seconds = began.elapsed().as_secs_f32();
        match self.shown {
            DisplayMode::Nothing => {}
            DisplayMode::Plain => eprintln!("{}{what}: {how} ({seconds:.1} s)", Priority::Info.prefix()),
            DisplayMode::Terminal => eprintln!("\r\x1b[K{what}: {how} ({seconds:.1} s)"),
        }
    }

    /// Prints a line of its own, between steps or within one.
    pub fn note(&self, text: &str) {
        self.line(Priority::Info, text);
    }

    /// Prints a line that needs attention, which is a warning in the journal.
    pub fn warning(&self, text: &str) {
        self.line(Priority::Warning, text);
    }

    fn line(&self, priority: Priority, text: &str) {
        match self.shown {
            DisplayMode::Nothing => {}
            DisplayMode::Plain => eprintln!("{}{text}", priority.prefix()),
            DisplayMode::Terminal => eprintln!("\r\x1b[K{text}"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // A step without an end was interrupted by an error.
        self.end("failed");
    }
}
