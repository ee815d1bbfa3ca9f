//! Tests that only root can make. An ordinary user's run of all tests leaves them out, and names them at its end.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// The environment variable with the file that names the tests that were left out: `cargo xtask test` sets it.
const FILE: &str = "TESTS_LEFT_OUT";

/// Returns whether this process is root's. If not, the test is noted as left out, and has to end.
///
/// # Panics
/// Nobody reads what was left out, so that it would be a silent skip.
pub fn needs_root(test: &str) -> bool {
    // A process's folder belongs to its account.
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
