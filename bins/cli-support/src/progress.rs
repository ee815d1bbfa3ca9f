//! Progress display of a long run, on standard error.

use crate::journal::Priority;
use crate::verbosity;
use std::io::{IsTerminal, Write};
use std::time::Instant;
use unicode_width::UnicodeWidthChar;

/// Assumed width, in columns, of a terminal that does not state its size.
const DEFAULT_WIDTH: usize = 80;

/// A display with one line per step. On a terminal, the line of a running step is replaced when the step ends;
/// elsewhere, and on a terminal without control sequences (`TERM=dumb`), a plain line is printed for each step that
/// ended. Dropping the display ends a running step as `failed`.
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
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
        let shown = match (quiet || verbosity::is_quiet(), std::io::stderr().is_terminal() && !is_dumb) {
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
            draw(&what);
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
            (DisplayMode::Terminal, Some((what, _))) => draw(&format!("{what}: {detail}")),
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

/// Draws the line of a running step on the terminal of standard error, in place of the line that is there.
fn draw(text: &str) {
    let width = terminal_size::terminal_size_of(std::io::stderr())
        .map_or(DEFAULT_WIDTH, |(terminal_size::Width(width), _)| width.into());
    eprint!("\r\x1b[K… {}", fitted(text, width.saturating_sub(2)));
    // Without a line feed the terminal would not show the text yet.
    let _ = std::io::stderr().flush();
}

/// Returns the beginning of a text that is narrower than `columns`, since a line that reaches the end of the terminal
/// is continued on the next one and could not be replaced as a whole. Control characters become blanks.
fn fitted(text: &str, columns: usize) -> String {
    let mut used = 0;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used < columns
        })
        .collect()
}

impl Drop for Progress {
    fn drop(&mut self) {
        // A step that did not end was interrupted by an error.
        self.end("failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn lines_are_cut_before_the_end_of_the_terminal() {
        assert_eq!(fitted("2 steps: create", 20), "2 steps: create");
        assert_eq!(fitted("2 steps: create", 15), "2 steps: creat");
        assert_eq!(fitted("角色角色", 6), "角色");
        assert_eq!((fitted("a", 1).as_str(), fitted("a", 0).as_str()), ("", ""));
        assert_eq!(fitted("a\nb\x1b[2J", 80), "a b [2J");
    }

    proptest! {
        #[test]
        fn a_cut_line_is_one_line_and_narrower_than_the_terminal(text in ".*", columns in 1_usize..120) {
            let line = fitted(&text, columns);
            prop_assert!(line.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>() < columns);
            prop_assert!(!line.contains(char::is_control));
            // Nothing is cut that fits.
            if text.width() + text.chars().filter(|c| c.is_control()).count() < columns {
                prop_assert_eq!(line.chars().count(), text.chars().count());
            }
        }
    }
}
