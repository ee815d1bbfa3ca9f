//! Check of flake.nix: its outputs are evaluated with a substitute for nixpkgs, and name the programs of the workspace.

use crate::dist::PROGRAMS;
use crate::process::{Outcome, root, target};
use std::process::Command;

/// Evaluates the flake, and checks that it names each program. Nothing is built or downloaded.
///
/// # Errors
/// Returns nix's message, or a program that is missing.
pub(crate) fn prove() -> Outcome {
    let work = target().join("flake-test");
    let mut nix = Command::new("/usr/bin/nix");
    nix.args([
        "--extra-experimental-features",
        "nix-command",
        "eval",
        "--offline",
        "--impure",
        "--raw",
        "--file",
    ]);
    nix.arg(root().join("bins/packaging/nix/flake-test.nix"));
    for (variable, place) in
        [("NIX_STORE_DIR", "store"), ("NIX_STATE_DIR", "state"), ("NIX_LOG_DIR", "log"), ("HOME", "home")]
    {
        nix.env(variable, work.join(place));
    }
    let output = nix.output().map_err(|why| format!("nix: {why}: run `cargo xtask tools` first"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("flake.nix: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    for (package, program) in PROGRAMS {
        if !said.contains(&format!("package {program} --package {package} ")) {
            return Err(format!("flake.nix: {program} is not built from {package}:\n{said}"));
        }
    }
    let _ = std::fs::remove_dir_all(&work);
    println!(
        "xtask: flake.nix: {} packages, overlay, module and checks evaluated; nothing was built",
        PROGRAMS.len()
    );
    Ok(())
}
