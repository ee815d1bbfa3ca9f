//! Proof that the pure cores are pure: no runtime, sockets or TLS in their dependency trees.
//!
//! The dependency tree is inspected, so that no target such as wasm32 must be installed.

use crate::process::{Outcome, cargo};

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

/// Checks that each crate of [`PURE`], without its default features, depends on none of the packages that do I/O.
///
/// # Errors
/// Returns the first crate that is not pure, with the packages.
pub(crate) fn check() -> Outcome {
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
