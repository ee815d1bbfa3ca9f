//! Proof that the pure cores are pure: no runtime, sockets or TLS in their dependency trees, and no clock in their sources.
//!
//! The dependency tree is inspected, so that no target such as wasm32 must be installed.

use crate::process::{Outcome, cargo, root};
use crate::source;
use std::path::Path;

/// Crates whose cores do no I/O.
pub(crate) const PURE: &[&str] =
    &["acme-dns01", "edge-http", "edge-policy", "pg-ensure", "pg-hba", "pg-upgrade", "smtp-config"];

/// Packages on which a pure core must not depend.
const IMPURE: &[&str] = &[
    "async-std",
    "aws-lc-rs",
    "h2",
    "hyper",
    "libc",
    "mio",
    "nix",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "ring",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-postgres",
];

/// Files and folders of code that is without I/O: the time is an argument there. A folder counts with all below it.
const WITHOUT_CLOCK: &[&str] = &[
    "acme-dns01/src/ledger.rs",
    "acme-dns01/src/lifetime.rs",
    "acme-dns01/src/machine",
    "acme-dns01/src/propagation.rs",
    "edge-proxy/http/src",
    "edge-proxy/policy/src",
    "edge-proxy/src/downstream/h2/conn",
    "edge-proxy/src/downstream/h2/conn.rs",
    "edge-proxy/src/tls13",
    "pg-ensure/src",
    "pg-ensure/upgrade/src",
    "pg-hba/src",
    "smtp-config/src",
];

/// The parts of [`WITHOUT_CLOCK`] that do I/O, each behind a feature.
const SHELLS: &[&str] = &[
    "pg-ensure/src/client",
    "pg-ensure/upgrade/src/shell",
    "pg-hba/src/install.rs",
    "smtp-config/src/doctor",
];

/// Expressions that read a clock.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "UNIX_EPOCH.elapsed", "tokio::time::"];

/// Checks that each crate of [`PURE`], without its default features, depends on none of the packages that do I/O, and
/// that the code of [`WITHOUT_CLOCK`] reads no clock outside tests.
///
/// # Errors
/// Returns the first crate that is not pure, with the packages, or all places at which a clock is read.
pub(crate) fn check() -> Outcome {
    no_clock(&root())?;
    no_runtime()
}

/// Checks that the code of [`WITHOUT_CLOCK`] below a folder reads no clock.
///
/// # Errors
/// Returns all places at which it does, or the first part that has no file.
fn no_clock(top: &Path) -> Outcome {
    let files = source::files(top)?;
    for part in WITHOUT_CLOCK.iter().chain(SHELLS) {
        if !files.iter().any(|file| file.starts_with(part)) {
            return Err(format!("{part} has no file: correct the list of code without a clock"));
        }
    }
    let is_listed = |file: &Path, parts: &[&str]| parts.iter().any(|part| file.starts_with(part));
    let mut found = String::new();
    for file in files.iter().filter(|file| is_listed(file, WITHOUT_CLOCK) && !is_listed(file, SHELLS)) {
        if !source::is_test(file) {
            for clock in clocks(&source::code(&source::read(top, file)?)) {
                found.push_str(&format!("\n{}: {clock}", file.display()));
            }
        }
    }
    if !found.is_empty() {
        return Err(format!("code without I/O reads a clock; take the time as an argument:{found}"));
    }
    println!("xtask: no clock is read in {} parts without I/O", WITHOUT_CLOCK.len());
    Ok(())
}

/// Returns the expressions of [`CLOCKS`] that code contains.
fn clocks(code: &str) -> impl Iterator<Item = &'static str> {
    CLOCKS.iter().copied().filter(|clock| code.contains(clock))
}

/// Checks that each crate of [`PURE`], without its default features, depends on none of the packages that do I/O.
///
/// # Errors
/// Returns the first crate that is not pure, with the packages.
fn no_runtime() -> Outcome {
    for package in PURE {
        let args = [
            "tree",
            "--locked",
            "--no-default-features",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{lib}",
            "--target",
            "wasm32-unknown-unknown",
            "--package",
            package,
        ];
        let output = cargo(&args).output().map_err(|why| format!("cargo tree: {why}"))?;
        if !output.status.success() {
            return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let tree = String::from_utf8_lossy(&output.stdout).replace('_', "-");
        let found: Vec<&str> = tree.lines().filter(|line| IMPURE.contains(line)).collect();
        if !found.is_empty() {
            return Err(format!("{package} without default features is not pure: {}", found.join(", ")));
        }
        println!("xtask: {package}: its core has no runtime in its tree ({} crates)", tree.lines().count());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_without_io_reads_no_clock() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(no_clock(&top), Ok(()));
    }

    #[test]
    fn a_clock_outside_tests_is_found() {
        let found = |text: &str| clocks(&source::code(text)).collect::<Vec<_>>();
        assert_eq!(found("let now = std::time::Instant::now();"), ["Instant::now"]);
        assert_eq!(found("let now = clock.map_or_else(SystemTime::now, |now| now());"), ["SystemTime::now"]);
        assert_eq!(found("// Instant::now()\nfn f(now: Instant) {}\n"), Vec::<&str>::new());
        let test = "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn now() -> Instant { Instant::now() }\n}\n";
        assert_eq!(found(test), Vec::<&str>::new());
    }
}
