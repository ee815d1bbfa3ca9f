//! Verification of unit files by systemd's own tools.

use crate::process::Outcome;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Settings that systemd 254 added. Older versions ignore them, with a warning.
const SINCE_254: &[&str] = &["RestartMaxDelaySec=", "RestartMode=", "RestartSteps="];

/// Verifies the units that packages installed into a root folder. Returns the services among them.
///
/// # Errors
/// Returns the errors of [`verify_in`].
pub(crate) fn verify(system: &Path) -> Result<Vec<PathBuf>, String> {
    verify_in(&system.join("usr/lib/systemd/system"))
}

/// Verifies that systemd knows the settings of the units in a folder. Returns the services among them.
///
/// # Errors
/// Returns systemd's messages about the first unit with a fault.
pub(crate) fn verify_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let units = std::fs::read_dir(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let units = units.filter_map(Result::ok).map(|entry| entry.path());
    let units: Vec<PathBuf> = units.filter(|path| path.is_file()).collect();
    for unit in &units {
        let output = Command::new("systemd-analyze")
            .arg("verify")
            .arg("--man=no")
            .arg("--recursive-errors=no")
            .arg(unit)
            .output();
        let output = output.map_err(|why| format!("systemd-analyze: {why}"))?;
        let name = unit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr);
        // The programs are in this root folder, where systemd does not look them up.
        let wrong: Vec<&str> = said
            .lines()
            .filter(|line| line.contains(name.split(['@', '.']).next().unwrap_or(name)))
            .filter(|line| !line.contains("is not executable") && !line.contains("Failed to add credential"))
            .filter(|line| !is_newer(line))
            .collect();
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
    }
    Ok(units.into_iter().filter(|unit| unit.extension().is_some_and(|kind| kind == "service")).collect())
}

/// Returns `true` if a warning is about a setting that only newer versions of systemd know.
fn is_newer(line: &str) -> bool {
    line.contains("Unknown key")
        && SINCE_254.iter().any(|key| line.contains(&format!("'{}'", key.trim_end_matches('='))))
}

/// Returns the text of a unit without the settings that systemd 254 added, about which older versions warn.
pub(crate) fn without_newer(unit: &str) -> String {
    let lines = unit.lines().filter(|line| !SINCE_254.iter().any(|key| line.starts_with(key)));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Checks that the exposure of a unit by systemd's own measure is below 2.0, and prints it.
///
/// # Errors
/// Returns systemd's report if it is not.
pub(crate) fn exposure(unit: &Path) -> Outcome {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=19", "--no-pager"])
        .arg(unit)
        .output();
    let output = output.map_err(|why| format!("systemd-analyze: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let level: Option<f32> = last.split(": ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    println!("xtask: {}", last.trim_start_matches(|c: char| !c.is_ascii_alphabetic()));
    match level {
        Some(level) if level < 2.0 && output.status.success() => Ok(()),
        _ => Err(format!("{} is too exposed, or cannot be measured:\n{text}", unit.display())),
    }
}

#[cfg(test)]
mod tests {
    use crate::process::root;

    /// Nothing gives up at boot, and nothing is tried as often for an hour as in the first seconds.
    #[test]
    fn services_that_are_restarted_have_no_limit_and_growing_pauses() {
        let packages = std::fs::read_dir(root().join("bins")).expect("a folder").filter_map(Result::ok);
        let folders = packages.filter_map(|package| std::fs::read_dir(package.path().join("packaging")).ok());
        let units = folders.flatten().filter_map(Result::ok).map(|entry| entry.path());
        let mut restarted = Vec::new();
        for unit in units.filter(|path| path.extension().is_some_and(|kind| kind == "service")) {
            let text = std::fs::read_to_string(&unit).expect("a unit");
            let has = |key: &str| text.lines().any(|line| line.starts_with(key));
            if !has("Restart=") || has("Restart=no") {
                continue;
            }
            for key in ["StartLimitIntervalSec=0", "RestartSec=", "RestartSteps=", "RestartMaxDelaySec="] {
                assert!(has(key), "{} has no {key}", unit.display());
            }
            restarted.push(unit.file_name().expect("a name").to_string_lossy().into_owned());
        }
        restarted.sort();
        let wanted = ["acme-dns01", "edge-proxyd", "pg-ensure-standby", "pg-ensure"];
        assert_eq!(restarted, wanted.map(|name| format!("{name}.service")));
    }
}
