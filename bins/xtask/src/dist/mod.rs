//! `cargo xtask dist`: builds the programs statically and writes an archive, Debian packages, an OCI image, a bill of
//! materials and checksums. Each is installed into an empty root folder and run there before the command succeeds.

mod archive;
mod files;
mod image;
mod prove;
mod sbom;

pub(crate) use files::PROGRAMS;
pub(crate) use prove::within;

use crate::package;
use crate::process::{Outcome, cargo, step, target};
use files::{Build, NAME, sha256, write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of the compiler for static programs.
const STATIC: &str = "-C target-feature=+crt-static";

/// Builds the programs statically for release and packs them. Then the commands of the book that install from source are
/// run.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn release() -> Outcome {
    let triple = static_target();
    let programs = build_static(&triple)?;
    for (_, program) in PROGRAMS {
        if !package::is_static(&programs.join(program))? {
            return Err(format!("{program} is not statically linked"));
        }
    }
    let out = target().join("dist");
    pack(&programs, &out, true, "xz")?;
    prove::from_source(&triple, &out.join("from-source"))
}

/// Packs the debug build into `dist-test` of the target folder, without compression, and checks the artefacts. The
/// libraries of the programs are added to the root folders in which they are run.
pub(crate) fn debug() -> Outcome {
    pack(&target().join("debug"), &target().join("dist-test"), false, "none")
}

/// Packs the programs of a folder into `dist` of the target folder without building them, and checks the artefacts. The
/// programs must be static.
pub(crate) fn pack_built(programs: &Path) -> Outcome {
    pack(programs, &target().join("dist"), true, "xz")
}

/// Returns the target of static programs: with musl if it and its compiler are installed, or else with the C library of
/// this machine.
fn static_target() -> String {
    let output = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let targets =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let arch = std::env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let has_compiler = Command::new("musl-gcc").arg("--version").output().is_ok();
    if targets.contains(&musl) && has_compiler { musl } else { format!("{arch}-unknown-linux-gnu") }
}

/// Builds the static programs for release, and returns their folder.
///
/// # Errors
/// Returns a description if the build fails.
fn build_static(triple: &str) -> Result<PathBuf, String> {
    let mut command = cargo(&["build", "--release", "--bins", "--locked", "--target", triple]);
    for (package, _) in PROGRAMS {
        command.args(["--package", package]);
    }
    command.env("RUSTFLAGS", STATIC);
    step(&format!("dist: building the programs for {triple}, statically"), command)?;
    Ok(target().join(triple).join("release"))
}

/// Packs the programs of a folder into `out`, which is emptied, and checks the artefacts. `fixed` is whether the
/// programs are static; `compression` that of the Debian packages.
///
/// # Errors
/// Returns a description if an artefact cannot be written, or a check of it fails.
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

/// Returns the content of SHA256SUMS.
///
/// # Errors
/// Returns a description if an artefact cannot be read.
fn checksums(artefacts: &[PathBuf]) -> Result<String, String> {
    let mut text = String::new();
    for artefact in artefacts {
        let name = artefact.file_name().unwrap_or_default().to_string_lossy().into_owned();
        text.push_str(&format!("{}  {name}\n", sha256(artefact)?));
    }
    Ok(text)
}
