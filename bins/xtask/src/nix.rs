//! The check of the NixOS modules: `bins/packaging/nix/test.nix` evaluates whole hosts without network and nixpkgs. The
//! results are verified: units by systemd, files by the programs that read them.

use crate::process::{Outcome, cargo, root, step, target};
use crate::units::{exposure, without_newer};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const NIX: &str = "/usr/bin/nix";
/// The programs whose files the modules write.
const PROGRAMS: &[&str] =
    &["acme-dns01", "edge-proxyd", "pg-ensure", "pg-hba", "smtp-config", "upgrade-pg-cluster"];

/// Builds the programs and checks the modules, with nixpkgs' own lib if one is given.
pub(crate) fn whole(lib: Option<&str>) -> Outcome {
    step(
        "nix: building the programs",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    prove(lib)
}

/// Checks the modules with the programs already built.
pub(crate) fn prove(lib: Option<&str>) -> Outcome {
    if !Path::new(NIX).exists() {
        return Err(format!("{NIX} is missing: run `cargo xtask tools` first"));
    }
    let work = target().join("nix-test");
    let _ = std::fs::remove_dir_all(&work);
    let (bin, folder) = (work.join("programs/bin"), work.join("folder"));
    let said = |why: std::io::Error| format!("{}: {why}", work.display());
    std::fs::create_dir_all(&bin).map_err(said)?;
    std::fs::create_dir_all(&folder).map_err(said)?;
    for program in PROGRAMS {
        std::os::unix::fs::symlink(target().join("debug").join(program), bin.join(program)).map_err(said)?;
    }
    let lib = match lib {
        Some(path) => {
            std::fs::canonicalize(path).map_err(|why| format!("{path}: {why}"))?.display().to_string()
        }
        None => "null".to_owned(),
    };
    let expression = format!(
        "import {}/bins/packaging/nix/test.nix {{ programs = \"{}\"; folder = \"{}\"; nixpkgsLib = {lib}; }}",
        root().display(),
        work.join("programs").display(),
        folder.display()
    );
    let mut nix = Command::new(NIX);
    nix.args(["--extra-experimental-features", "nix-command", "eval", "--offline", "--impure", "--raw"]);
    nix.args(["--expr", &expression]);
    // Nothing is built, and nothing is written outside this folder.
    for (variable, place) in
        [("NIX_STORE_DIR", "store"), ("NIX_STATE_DIR", "state"), ("NIX_LOG_DIR", "log"), ("HOME", "home")]
    {
        nix.env(variable, work.join(place));
    }
    let output = nix.output().map_err(|why| format!("{NIX}: {why}"))?;
    if !output.status.success() {
        return Err(format!("nix: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let (mut units, mut runs, mut hosts) = (BTreeSet::new(), 0, 0);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["unit", file] => {
                units.insert((*file).to_owned());
            }
            ["run", file] => {
                ended_well(Command::new("sh").arg(file).env_clear().env("PATH", "/usr/bin:/bin"))?;
                runs += 1;
            }
            ["host", _, _] => hosts += 1,
            _ => return Err(format!("nix: unexpected output of test.nix: {line:?}")),
        }
    }
    for unit in &units {
        known(Path::new(unit))?;
        exposure(Path::new(unit))?;
    }
    if (hosts, runs) == (0, 0) || units.is_empty() {
        return Err("nix: test.nix named nothing to verify".to_owned());
    }
    let _ = std::fs::remove_dir_all(&work);
    println!("xtask: nix: {hosts} hosts evaluated, {} units verified, {runs} scripts run", units.len());
    Ok(())
}

/// Checks that systemd knows every key of the unit, and that its programs exist.
fn known(unit: &Path) -> Outcome {
    // Under the name after the store digest, as NixOS links it.
    let name = unit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = unit.with_file_name(name.split_once('-').map_or(name, |(_, rest)| rest));
    let text = std::fs::read_to_string(unit).map_err(|why| format!("{}: {why}", unit.display()))?;
    std::fs::write(&plain, without_newer(&text)).map_err(|why| format!("{}: {why}", plain.display()))?;
    let outcome = ended_well(
        Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&plain),
    );
    std::fs::remove_file(&plain).map_err(|why| format!("{}: {why}", plain.display()))?;
    outcome
}

fn ended_well(command: &mut Command) -> Outcome {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end()))
}
