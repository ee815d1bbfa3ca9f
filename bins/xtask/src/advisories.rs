//! Checks of dependencies by cargo-deny: licenses, bans and sources always; advisories by their database if it can be
//! reached, or else by a copy.

use crate::process::{Outcome, root, step, target, tools_folder};
use std::path::Path;
use std::process::Command;

/// Address of the database of advisories.
const DATABASE: &str = "https://github.com/rustsec/advisory-db";
/// Environment variable with the folder of a copy of the database, a git repository.
const COPY: &str = "ADVISORY_DB";
/// Name that cargo-deny gives the folder of this database.
const FOLDER: &str = "advisory-db-3157b0e258782691";

/// Runs cargo-deny: licenses, bans and sources always; advisories with their database if it can be reached, or else
/// with the copy in the folder that the variable `ADVISORY_DB` names. Without both, advisories are skipped, with a
/// message.
///
/// # Errors
/// Returns the check that failed.
pub(crate) fn check() -> Outcome {
    step("cargo-deny: licenses, bans, sources", deny(None, &["licenses", "bans", "sources"]))?;
    let reached = Command::new("git")
        .args(["ls-remote", "--exit-code", DATABASE, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .is_ok_and(|output| output.status.success());
    match std::env::var_os(COPY) {
        _ if reached => step("cargo-deny: advisories", deny(None, &["advisories"])),
        Some(copy) => check_copy(Path::new(&copy)),
        None => {
            println!(
                "xtask: cargo-deny: advisories: not checked, since {DATABASE} cannot be reached from here: set {COPY} to the \
                 folder of a copy"
            );
            Ok(())
        }
    }
}

/// Checks the dependencies for advisories against a clone of the local copy of the advisory database, and prints its
/// date.
///
/// # Errors
/// Returns an error if the copy is not a git repository, or the check fails.
fn check_copy(copy: &Path) -> Outcome {
    let work = target().join("advisory-dbs");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(|why| format!("{}: {why}", work.display()))?;
    let clone = work.join(FOLDER);
    let cloned = Command::new("git").args(["clone", "--quiet"]).arg(copy).arg(&clone).status();
    if !cloned.is_ok_and(|status| status.success()) {
        return Err(format!("{COPY}: {} is not a git repository", copy.display()));
    }
    let date = Command::new("git").args(["log", "-1", "--format=%cs"]).current_dir(&clone).output();
    let date = date.map_err(|why| format!("git: {why}"))?;
    let date = String::from_utf8_lossy(&date.stdout).trim().to_owned();
    let rules = root().join("deny.toml");
    let text = std::fs::read_to_string(&rules).map_err(|why| format!("{}: {why}", rules.display()))?;
    let text = text.replacen("[advisories]", &format!("[advisories]\ndb-path = \"{}\"", work.display()), 1);
    let config = work.join("deny.toml");
    std::fs::write(&config, text).map_err(|why| format!("{}: {why}", config.display()))?;
    step(&format!("cargo-deny: advisories, by a copy of {date}"), deny(Some(&config), &["advisories"]))
}

/// Returns the command of cargo-deny that performs the checks `what` on the workspace with all features. With a
/// configuration file, cargo-deny runs offline.
fn deny(config: Option<&Path>, what: &[&str]) -> Command {
    let mut command = Command::new(tools_folder().join("bin/cargo-deny"));
    command.args(["--all-features", "--locked"]).current_dir(root());
    if let Some(config) = config {
        command.arg("--offline").arg("--config").arg(config);
    }
    command.args(["check", "--hide-inclusion-graph"]).args(what);
    command
}
