//! The NixOS modules: whole hosts are evaluated by `bins/packaging/nix/test.nix`, without network and without nixpkgs, and what
//! that names is looked at: units by systemd, files by the programs that read them.

use crate::package::exposure;
use crate::steps::{Outcome, cargo, root, step, target};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const NIX: &str = "/usr/bin/nix";
/// The programs whose files the modules write.
const PROGRAMS: &[&str] = &["acme-dns01", "edge-proxyd", "pg-ensure", "smtp-config", "upgrade-pg-cluster"];

/// Builds the programs and proves the modules, by nixpkgs' own lib where one is named.
pub(crate) fn whole(lib: Option<&str>) -> Outcome {
    step(
        "nix: building the programs",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    prove(lib)
}

/// Proves the modules with the programs that are built.
pub(crate) fn prove(lib: Option<&str>) -> Outcome {
    if !Path::new(NIX).exists() {
        return Err(format!("{NIX} is not there: run `cargo xtask tools` first"));
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
    // Nothing is built, and nothing outside this folder is written.
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
            _ => return Err(format!("nix: test.nix says {line:?}, which means nothing")),
        }
    }
    for unit in &units {
        known(Path::new(unit))?;
        exposure(Path::new(unit))?;
    }
    if (hosts, runs) == (0, 0) || units.is_empty() {
        return Err("nix: test.nix named nothing to look at".to_owned());
    }
    let _ = std::fs::remove_dir_all(&work);
    println!("xtask: nix: {hosts} hosts evaluated, {} units looked at, {runs} scripts run", units.len());
    Ok(())
}

/// Systemd knows every key of the unit, and what it starts is there.
fn known(unit: &Path) -> Outcome {
    // By the name after the store's digest, as NixOS links it.
    let name = unit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let plain = unit.with_file_name(name.split_once('-').map_or(name, |(_, rest)| rest));
    std::fs::copy(unit, &plain).map_err(|why| format!("{}: {why}", plain.display()))?;
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
