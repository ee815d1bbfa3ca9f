//! Pictures of the documentation, rendered by Chromium from pages of the home lab.

use crate::homelab;
use crate::process::{Outcome, cargo, root, step, target, tools_folder};
use std::path::Path;
use std::process::Command;

/// Path of the program Chromium.
const CHROMIUM: &str = "/usr/bin/chromium";

/// A picture of the documentation.
struct Screenshot {
    /// Path of the page, below `target/debug`.
    page: &'static str,
    /// Path of the image, below the root folder of the workspace.
    image: &'static str,
    /// Width of the window in pixels.
    width: u32,
    /// Height of the window in pixels.
    height: u32,
}

/// All pictures, that of the status page first.
const SCREENSHOTS: &[Screenshot] = &[
    Screenshot {
        page: "healthy-status.html",
        image: "bins/edge-proxyd/status.png",
        width: 1180,
        height: 1180,
    },
    Screenshot { page: "homelab-hba.html", image: "bins/pg-hba/matrix.png", width: 1180, height: 350 },
];

/// Writes the status page of an edge without the faults of the scenario, after two minutes of operation.
fn write_healthy_page() -> Outcome {
    let files = root().join("bins/xtask/screenshots");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "bash"]).arg(files.join("healthy.sh"));
    command.env("files", &files).env("origin", root().join("bins/xtask/boot/origin.py"));
    command.env("edge", target().join("debug/edge-proxyd")).env("curl", tools_folder().join("newer/curl"));
    command.env("page", target().join("debug/healthy-status.html"));
    step("screenshots: two minutes of an edge in good health", command)
}

/// Builds the programs and renders the picture of the status page alone.
pub(crate) fn of_status() -> Outcome {
    step(
        "screenshots: building edge-proxyd",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    write_healthy_page()?;
    capture(&SCREENSHOTS[0])
}

/// Renders all pictures. With `run`, their pages are created by a quick scenario; otherwise those of an earlier run are
/// used.
pub(crate) fn take(run: bool) -> Outcome {
    if !Path::new(CHROMIUM).exists() {
        return Err(format!("{CHROMIUM} is missing: run `cargo xtask tools` first"));
    }
    if run {
        homelab::whole(&["--quick"])?;
        write_healthy_page()?;
    }
    SCREENSHOTS.iter().try_for_each(capture)
}

/// Renders a page of the debug build with Chromium, and writes the image into the tree.
///
/// # Errors
/// Returns a description if the page is missing, or Chromium fails.
fn capture(Screenshot { page, image, width, height }: &Screenshot) -> Outcome {
    let page = target().join("debug").join(page);
    if !page.exists() {
        return Err(format!("{} is missing: run `cargo xtask screenshots`", page.display()));
    }
    let profile = target().join("chromium-profile");
    let mut chromium = Command::new(CHROMIUM);
    // The page has no scripts and loads nothing; Chromium has no sandbox if it runs as root.
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
    chromium.arg(format!("--user-data-dir={}", profile.display()));
    chromium.arg(format!("--window-size={width},{height}"));
    chromium.arg(format!("--screenshot={}", root().join(image).display()));
    chromium.arg(format!("file://{}", page.display()));
    let outcome = step(&format!("screenshot {image}"), &mut chromium);
    let _ = std::fs::remove_dir_all(&profile);
    outcome
}
