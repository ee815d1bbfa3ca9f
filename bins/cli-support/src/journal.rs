//! Messages for the operator, on standard error. If standard error is the systemd journal, each line begins with its
//! priority (sd-daemon(3)), so that `journalctl -p warning` finds the lines that need attention.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// Priority of a message, as in syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// An operation failed, or something is not served.
    Error,
    /// A condition that needs attention, while everything else continues.
    Warning,
    /// An event of normal operation.
    Info,
}

impl Priority {
    /// Returns the prefix of a line with this priority: `<3>`, `<4>` or `<6>` in the journal, nothing elsewhere.
    pub fn prefix(self) -> &'static str {
        match (is_journal(), self) {
            (false, _) => "",
            (true, Self::Error) => "<3>",
            (true, Self::Warning) => "<4>",
            (true, Self::Info) => "<6>",
        }
    }

    /// Prints a text on standard error; each line is preceded by its priority in the journal, and by the name of the
    /// program and a colon. An empty text prints nothing.
    pub fn print(self, program: &str, text: impl Display) {
        for line in text.to_string().lines() {
            eprintln!("{}{program}: {line}", self.prefix());
        }
    }

    /// Prints a text on standard error; each line is preceded by its priority in the journal, but not by the name of
    /// the program, for lines such as findings that begin with their position.
    pub fn print_plain(self, text: impl Display) {
        for line in text.to_string().lines() {
            eprintln!("{}{line}", self.prefix());
        }
    }
}

/// Returns `true` if standard error is connected to the systemd journal: `JOURNAL_STREAM` contains its device and
/// inode. The first call decides for the whole process.
fn is_journal() -> bool {
    /// Result of the first call.
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    *JOURNAL.get_or_init(|| {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        std::fs::metadata("/proc/self/fd/2")
            .is_ok_and(|found| stream == format!("{}:{}", found.dev(), found.ino()))
    })
}
