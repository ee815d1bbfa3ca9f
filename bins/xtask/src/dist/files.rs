//! Files of artefacts, and the commands that create them.

use crate::package;
use crate::process::{Outcome, root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages of the programs that are installed by people, with the names of the programs.
pub(crate) const PROGRAMS: [(&str, &str); 6] = [
    ("acme-dns01-cli", "acme-dns01"),
    ("edge-proxyd", "edge-proxyd"),
    ("pg-ensure-cli", "pg-ensure"),
    ("pg-hba-cli", "pg-hba"),
    ("smtp-config-cli", "smtp-config"),
    ("upgrade-pg-cluster", "upgrade-pg-cluster"),
];

/// Name of the archive, without version and architecture.
pub(crate) const NAME: &str = "self-hosting-stack";

/// Programs to be packed.
pub(super) struct Build {
    /// Folder of the programs.
    pub(super) programs: PathBuf,
    /// Folder of the artefacts.
    pub(super) out: PathBuf,
    /// Version of the programs, without a Debian revision.
    pub(super) version: String,
    /// Whether the programs are linked statically, so that they need no library of the system.
    pub(super) fixed: bool,
}

/// Returns the SHA-256 digest of a file in hexadecimal.
///
/// # Errors
/// Returns a description if the file cannot be read.
pub(super) fn sha256(path: &Path) -> Result<String, String> {
    let said = run(Command::new("sha256sum").arg(path))?;
    Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Writes a file, whose folder is created.
pub(super) fn write(path: &Path, text: &str) -> Outcome {
    let said = |why: std::io::Error| format!("{}: {why}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(said)?;
    }
    std::fs::write(path, text).map_err(said)
}

/// Copies a file, whose folder is created, and sets its mode.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Outcome {
    package::copy(from, to, mode)
}

/// Runs a command that must succeed, and returns its standard output.
///
/// # Errors
/// Returns its status and output if it fails.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end()))
}

/// Packs a folder reproducibly: sorted, without time and owner. `compression` is an option of tar.
///
/// # Errors
/// Returns a description if tar fails.
pub(super) fn tar(folder: &Path, to: &Path, compression: Option<&str>) -> Outcome {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    // Without the name and time that gzip would include.
    command.env("GZIP", "-n").args(compression).arg("-cf").arg(to).arg("-C").arg(folder).arg(".");
    run(&mut command).map(drop)
}

/// Returns the root folder of the workspace.
pub(super) fn sources() -> PathBuf {
    root()
}
