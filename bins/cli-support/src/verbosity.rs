//! Amount of output on standard error: `--quiet` and `--verbose`.

use crate::journal::Priority;
use std::sync::atomic::{AtomicU8, Ordering};

/// Amount of output of this process: [`QUIET`], [`NORMAL`] or [`VERBOSE`].
static LEVEL: AtomicU8 = AtomicU8::new(NORMAL);
/// Only results and errors.
const QUIET: u8 = 0;
/// Results, errors, and progress on a terminal.
const NORMAL: u8 = 1;
/// Every step, also without a terminal.
const VERBOSE: u8 = 2;

/// Options that a program flattens into its own. There is no option for colours, since only clap's help and usage have
/// any, which follow `NO_COLOR`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Verbosity {
    /// Print results and errors only, without progress and notes.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print every step, also where standard error is not a terminal.
    #[arg(long, short, global = true)]
    verbose: bool,
}

impl Verbosity {
    /// Sets the amount of output for the whole process, also back to normal if neither option is given.
    pub fn apply(self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => QUIET,
            (false, true) => VERBOSE,
            (false, false) => NORMAL,
        };
        LEVEL.store(level, Ordering::Relaxed);
    }
}

/// Returns `true` if only results and errors are printed (`--quiet`).
pub fn is_quiet() -> bool {
    LEVEL.load(Ordering::Relaxed) == QUIET
}

/// Returns `true` if every step is printed (`--verbose`).
pub fn is_verbose() -> bool {
    LEVEL.load(Ordering::Relaxed) == VERBOSE
}

/// Prints `note: TEXT` on standard error, with the priority of information in the journal, unless the process is quiet.
pub fn note(text: &str) {
    if !is_quiet() {
        eprintln!("{}note: {text}", Priority::Info.prefix());
    }
}
