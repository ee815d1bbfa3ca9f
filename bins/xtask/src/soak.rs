//! `cargo xtask soak`: the soak test with a longer duration.

use crate::process::{Outcome, cargo, step};

/// Runs the soak test of the workspace for a number of minutes.
///
/// # Errors
/// Returns the status if it fails.
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
