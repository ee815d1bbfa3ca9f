//! Tests that require root. A run of all tests by an ordinary user leaves them out, and names them at its end.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// Environment variable with the path of the file to which the names of tests are appended that need root and were left
/// out. `cargo xtask test` sets it.
const FILE: &str = "TESTS_LEFT_OUT";

/// Returns `true` if this process runs as root. Otherwise the name of the test is appended to the file of left out
/// tests; the test must return then.
///
/// # Panics
/// Panics if this process is not root, and the environment variable `TESTS_LEFT_OUT` is not set, so that the test would
/// be skipped silently, or the file cannot be written.
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
