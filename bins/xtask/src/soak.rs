//! `cargo xtask soak`: the soak of the tests, for longer.

use crate::steps::{Outcome, cargo, step};

/// For so many minutes.
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
