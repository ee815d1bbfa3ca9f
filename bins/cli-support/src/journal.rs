//! Lines for the operator, on standard error. If that is the journal, each begins with its priority (sd-daemon(3)), so that
//! `journalctl -p warning` finds the lines that need attention.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// The priority of a line, as in syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Something is not served, or not done.
    Error,
    /// A condition that needs attention while everything else goes on.
    Warning,
    /// An event of normal operation.
    Info,
}

impl Priority {
    /// Returns the beginning of a line with this priority: `<3>`, `<4>` or `<6>` in the journal, nothing elsewhere.
    pub fn prefix(self) -> &'static str {
        match (is_journal(), self) {
            (false, _) => "",
            (true, Self::Error) => "<3>",
            (true, Self::Warning) => "<4>",
            (true, Self::Info) => "<6>",
        }
    }

    /// Prints a text with the name of the program before each of its lines.
    pub fn print(self, program: &str, text: impl Display) {
        for line in text.to_string().lines() {
            eprintln!("{}{program}: {line}", self.prefix());
        }
    }

    /// Prints the lines of a text as they are, such as findings, which begin with their place.
    pub fn print_plain(self, text: impl Display) {
        for line in text.to_string().lines() {
            eprintln!("{}{line}", self.prefix());
        }
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
