//! The pictures in the documentation, rendered by Chromium from pages of the home lab.

use crate::homelab;
use crate::process::{Outcome, root, step, target};
use std::path::Path;
use std::process::Command;

const CHROMIUM: &str = "/usr/bin/chromium";

/// Page, picture, width, height.
const PICTURES: &[(&str, &str, u32, u32)] = &[
    ("homelab-status.html", "bins/edge-proxyd/status.png", 1180, 1120),
    ("homelab-hba.html", "bins/pg-hba/matrix.png", 1180, 350),
];

/// Runs a quick scenario, unless the existing pages are to be used, and takes the pictures.
pub(crate) fn take(run: bool) -> Outcome {
    if !Path::new(CHROMIUM).exists() {
        return Err(format!("{CHROMIUM} is missing: run `cargo xtask tools` first"));
    }
    if run {
        homelab::whole(&["--quick"])?;
    }
    for (page, picture, width, height) in PICTURES {
        let page = target().join("debug").join(page);
        if !page.exists() {
            return Err(format!("{} is missing: run `cargo xtask screenshots`", page.display()));
        }
        let profile = target().join("chromium-profile");
        let mut chromium = Command::new(CHROMIUM);
        // The page has no scripts and loads nothing; as root Chromium has no sandbox.
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
        chromium.arg(format!("--user-data-dir={}", profile.display()));
        chromium.arg(format!("--window-size={width},{height}"));
        chromium.arg(format!("--screenshot={}", root().join(picture).display()));
        chromium.arg(format!("file://{}", page.display()));
        let outcome = step(&format!("screenshot {picture}"), &mut chromium);
        let _ = std::fs::remove_dir_all(&profile);
        outcome?;
    }
    Ok(())
}
