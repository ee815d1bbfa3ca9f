//! A day of the owner's hosts: `bins/homelab`, with the programs that it runs.

use crate::steps::{Outcome, cargo, step, target};
use std::process::Command;

/// Builds and runs it, with its arguments.
pub(crate) fn whole(arguments: &[&str]) -> Outcome {
    // With the features that the tests build them with, so that nothing is built twice.
    step(
        "homelab: building the programs",
        cargo(&["build", "--workspace", "--all-targets", "--all-features", "--locked"]),
    )?;
    step("homelab", Command::new(program()).args(arguments))
}

fn program() -> std::path::PathBuf {
    target().join("debug/homelab")
}
