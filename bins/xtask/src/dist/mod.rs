//! Artefacts to install from: `cargo xtask dist` builds the programs statically and writes an archive, Debian packages, an OCI
//! image, a bill of materials and checksums. Each is installed into an empty root and run there before the command succeeds.

mod archive;
mod image;
mod prove;
mod sbom;

pub(crate) use prove::within;

use crate::package;
use crate::process::{Outcome, cargo, root, step, target};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of the programs that a person installs, with the names of the programs.
pub(crate) const PROGRAMS: [(&str, &str); 6] = [
    ("acme-dns01-cli", "acme-dns01"),
    ("edge-proxyd", "edge-proxyd"),
    ("pg-ensure-cli", "pg-ensure"),
    ("pg-hba-cli", "pg-hba"),
    ("smtp-config-cli", "smtp-config"),
    ("upgrade-pg-cluster", "upgrade-pg-cluster"),
];

/// The name of the archive, without version and architecture.
pub(crate) const NAME: &str = "self-hosting-stack";

/// The programs to pack.
pub(super) struct Build {
    /// The folder of the programs.
    programs: PathBuf,
    /// The folder of the artefacts.
    out: PathBuf,
    /// The version of the programs.
    version: String,
    /// True if they must need no library of the system.
    fixed: bool,
}

/// Builds for release and packs.
pub(crate) fn release() -> Outcome {
    let programs = built()?;
    for (_, program) in PROGRAMS {
        if !package::is_static(&programs.join(program))? {
            return Err(format!("{program} is not statically linked"));
        }
    }
    pack(&programs, &target().join("dist"), true, "xz")
}

/// Packs the debug build, whose libraries are added to the roots in which it is tried.
pub(crate) fn debug() -> Outcome {
    pack(&target().join("debug"), &target().join("dist-test"), false, "none")
}

/// Packs the programs of a folder without building them.
pub(crate) fn of(programs: &Path) -> Outcome {
    pack(programs, &target().join("dist"), true, "xz")
}

/// Returns the folder of static programs: linked with musl if its target is installed, else with the C library of this
/// machine.
fn built() -> Result<PathBuf, String> {
    let output = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let targets =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let has_compiler = Command::new("musl-gcc").arg("--version").output().is_ok();
    let triple =
        if targets.contains(&musl) && has_compiler { musl } else { format!("{arch}-unknown-linux-gnu") };
    let mut command = cargo(&["build", "--release", "--bins", "--locked", "--target", &triple]);
    for (package, _) in PROGRAMS {
        command.args(["--package", package]);
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    step(&format!("dist: building the programs for {triple}, statically"), command)?;
    Ok(target().join(triple).join("release"))
}

fn pack(programs: &Path, out: &Path, fixed: bool, compression: &str) -> Outcome {
    let _ = std::fs::remove_dir_all(out);
    std::fs::create_dir_all(out).map_err(|why| format!("{}: {why}", out.display()))?;
    let version = package::version("edge-proxyd", programs)?;
    let version = version.split('-').next().unwrap_or_default().to_owned();
    let build = Build { programs: programs.to_owned(), out: out.to_owned(), version, fixed };
    let sbom = out.join(format!("{NAME}-{}.cdx.json", build.version));
    write(&sbom, &sbom::document(&build.version)?)?;
    let mut artefacts = vec![archive::write(&build, &sbom)?, image::write_archive(&build)?, sbom];
    artefacts.extend(package::build(programs, out, compression)?);
    let sums = checksums(&artefacts)?;
    write(&out.join("SHA256SUMS"), &sums)?;
    prove::all(&build, &artefacts)?;
    for artefact in &artefacts {
        let size = std::fs::metadata(artefact).map_or(0, |about| about.len()) >> 10;
        println!("xtask: dist: {} ({size} KiB)", artefact.display());
    }
    Ok(())
}

fn checksums(artefacts: &[PathBuf]) -> Result<String, String> {
    let mut text = String::new();
    for artefact in artefacts {
        let name = artefact.file_name().unwrap_or_default().to_string_lossy().into_owned();
        text.push_str(&format!("{}  {name}\n", sha256(artefact)?));
    }
    Ok(text)
}

/// Returns the digest of a file in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, String> {
    let said = run(Command::new("sha256sum").arg(path))?;
    Ok(said.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Writes a file.
pub(super) fn write(path: &Path, text: &str) -> Outcome {
    let said = |why: std::io::Error| format!("{}: {why}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(said)?;
    }
    std::fs::write(path, text).map_err(said)
}

/// Copies a file with a mode.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Outcome {
    package::copy(from, to, mode)
}

/// Runs a command that has to succeed, and returns its output.
pub(super) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end()))
}

/// Packs a folder reproducibly: sorted, without time and owner.
pub(super) fn tar(folder: &Path, to: &Path, compression: Option<&str>) -> Outcome {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    // Without the name and time that gzip would write.
    command.env("GZIP", "-n").args(compression).arg("-cf").arg(to).arg("-C").arg(folder).arg(".");
    run(&mut command).map(drop)
}

/// Returns the root of the workspace.
pub(super) fn sources() -> PathBuf {
    root()
}
