//! Progress display of a long run, on standard error.

use crate::journal::Priority;
use crate::verbosity;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// A display with one line per step. On a terminal, the line of a running step is replaced when the step ends;
/// elsewhere, a plain line is printed for each step that ended. Dropping the display ends a running step as `failed`.
#[derive(Debug)]
pub struct Progress {
    shown: DisplayMode,
    running: Option<(String, Instant)>,
}

/// The form of the display: nothing, plain lines, or a line of a terminal that is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DisplayMode {
    Nothing,
    Plain,
    Terminal,
}

impl Progress {
    /// Creates a display. Nothing is shown with `quiet`, or if the process is quiet ([`crate::verbosity`]).
    pub fn new(quiet: bool) -> Self {
        let shown = match (quiet || verbosity::is_quiet(), std::io::stderr().is_terminal()) {
            (true, _) => DisplayMode::Nothing,
            (false, true) => DisplayMode::Terminal,
            (false, false) => DisplayMode::Plain,
        };
        Self { shown, running: None }
    }

    /// Begins a step, and shows it on a terminal. A step that is still running ends as `done`.
    pub fn begin(&mut self, what: impl Into<String>) {
        self.end("done");
        let what = what.into();
        if self.shown == DisplayMode::Terminal {
            eprint!("\r\x1b[K… {what}");
            // Without a line feed the terminal would not show the text yet.
            let _ = std::io::stderr().flush();
        }
        self.running = Some((what, Instant::now()));
    }

    /// Shows a detail of the running step: with `--verbose` as a separate line, else on a terminal in the line of the
    /// step. No effect elsewhere, without a running step, or if nothing is shown.
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

    /// Ends the running step and prints its result `how` and its duration in seconds. No effect without a running step.
    pub fn end(&mut self, how: &str) {
        let Some((what, began)) = self.running.take() else { return };
        let seconds = began.elapsed().as_secs_f32();
        match self.shown {
            DisplayMode::Nothing => {}
            DisplayMode::Plain => eprintln!("{}{what}: {how} ({seconds:.1} s)", Priority::Info.prefix()),
            DisplayMode::Terminal => eprintln!("\r\x1b[K{what}: {how} ({seconds:.1} s)"),
        }
    }

    /// Prints a separate line, between steps or within one, unless nothing is shown. In the journal it has the priority
    /// of information.
    pub fn note(&self, text: &str) {
        self.line(Priority::Info, text);
    }

    /// Prints a separate line, unless nothing is shown. In the journal it has the priority of a warning.
    pub fn warning(&self, text: &str) {
        self.line(Priority::Warning, text);
    }

    /// Prints a line, unless nothing is shown. On a terminal it takes the place of the line of a running step;
    /// elsewhere it begins with the priority if it goes to the journal.
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
        // A step that did not end was interrupted by an error.
        self.end("failed");
    }
}
