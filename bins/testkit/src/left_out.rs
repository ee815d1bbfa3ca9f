//! Tests that require root. A run of all tests by an ordinary user leaves them out, and names them at its end.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// Environment variable with the file to which the names of left out tests are appended. `cargo xtask test` sets it.
const FILE: &str = "TESTS_LEFT_OUT";

/// Returns `true` if this process runs as root. If not, the test is recorded as left out, and must return.
///
/// # Panics
/// Panics if the environment variable is not set, so that the test would be skipped silently.
pub fn needs_root(test: &str) -> bool {
    // The folder of a process belongs to its account.
    if std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0) {
        return true;
    }
    let file = std::env::var_os(FILE)
        .unwrap_or_else(|| panic!("{test} needs root; `cargo xtask test` leaves it out"));
    let noted =
        OpenOptions::new().append(true).create(true).open(file).and_then(|mut file| writeln!(file, "{test}"));
    noted.expect("the file can be written to");
    false
}
