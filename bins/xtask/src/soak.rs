//! `cargo xtask soak`: the soak test for a longer time.

use crate::process::{Outcome, cargo, step};

/// Runs the soak test for this many minutes.
pub(crate) fn run(minutes: u32) -> Outcome {
    let arguments = [
        "test",
        "--workspace",
        "--all-features",
        "--locked",
        "--test",
        "service",
        "--",
        "soak::soak",
        "--exact",
        "--nocapture",
    ];
    let mut test = cargo(&arguments);
    test.env("SOAK_SECONDS", (minutes * 60).to_string());
    step(&format!("soak, {minutes} min"), test)
}
