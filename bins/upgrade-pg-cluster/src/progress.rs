//! Display of progress on the terminal.

use cli_support::progress::Progress;
use pg_upgrade::{Observer, Step};

/// Observer of an upgrade that shows one line per step on standard error.
#[derive(Debug)]
pub(crate) struct LineObserver {
    progress: Progress,
}

impl LineObserver {
    /// Creates the observer. With `quiet`, it prints nothing.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { progress: Progress::new(quiet) }
    }
}

impl Observer for LineObserver {
    fn begin(&mut self, step: Step) {
        self.progress.begin(format!("{:<10} {}", step.to_string(), step.what()));
    }

    fn end(&mut self, _: Step, how: &str) {
        // The progress display appends the duration itself.
        self.progress.end(how.split(" in ").next().unwrap_or(how));
    }

    fn note(&mut self, text: &str) {
        self.progress.note(text);
    }
}
