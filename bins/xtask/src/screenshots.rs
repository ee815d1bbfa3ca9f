//! The pictures in the documentation, by Chromium, of pages that the programs made in a day of the owner's hosts.

use crate::homelab;
use crate::steps::{Outcome, root, step, target};
use std::path::Path;
use std::process::Command;

const CHROMIUM: &str = "/usr/bin/chromium";

/// Page, picture, width, height.
const PICTURES: &[(&str, &str, u32, u32)] = &[
    ("homelab-status.html", "bins/edge-proxyd/status.png", 1180, 1120),
    ("homelab-hba.html", "bins/pg-hba/matrix.png", 1180, 350),
];

/// Runs a short day, unless its pages are to be taken as they are, and takes the pictures.
pub(crate) fn take(run: bool) -> Outcome {
    if !Path::new(CHROMIUM).exists() {
        return Err(format!("{CHROMIUM} is not there: run `cargo xtask tools` first"));
    }
    if run {
        homelab::whole(&["--quick"])?;
    }
    for (page, picture, width, height) in PICTURES {
        let page = target().join("debug").join(page);
        if !page.exists() {
            return Err(format!("{} is not there: run `cargo xtask screenshots`", page.display()));
        }
        let profile = target().join("chromium-profile");
        let mut chromium = Command::new(CHROMIUM);
        // Nothing of the page is a script or from elsewhere; root has no sandbox.
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
