//! Lines for the operator, on standard error. If that is the journal, each begins with its priority (sd-daemon(3)), so
//! that `journalctl -p warning` finds the lines that need attention.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Reports a failure: something is not served, or not done.
pub(crate) fn error(text: impl Display) {
    say(3, &text);
}

/// Reports a condition that needs attention while everything else is served.
pub(crate) fn warning(text: impl Display) {
    say(4, &text);
}

/// Reports an event of normal operation, unless the process is quiet.
pub(crate) fn info(text: impl Display) {
    if !cli_support::verbosity::is_quiet() {
        say(6, &text);
    }
}

fn say(priority: u8, text: &dyn Display) {
    for line in text.to_string().lines() {
        eprintln!(
            "{}edge-proxyd: {line}",
            if is_journal() { format!("<{priority}>") } else { String::new() }
        );
    }
}

/// Returns whether standard error is the journal's stream: `JOURNAL_STREAM` has its device and inode.
fn is_journal() -> bool {
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    *JOURNAL.get_or_init(|| {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        std::fs::metadata("/proc/self/fd/2")
            .is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
    })
}
