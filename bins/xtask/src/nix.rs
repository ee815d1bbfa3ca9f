//! Check of the NixOS modules: `bins/packaging/nix/test.nix` evaluates whole hosts without network and nixpkgs. The
//! results are verified: units by systemd, files by the programs that read them.

use crate::process::{Outcome, cargo, root, step, target};
use crate::units::{exposure, without_newer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Path of the program nix.
const NIX: &str = "/usr/bin/nix";
/// Programs whose files the modules write.
const PROGRAMS: &[&str] =
    &["acme-dns01", "edge-proxyd", "pg-ensure", "pg-hba", "smtp-config", "upgrade-pg-cluster"];

/// Script that runs another one, its argument, without the certificates that this machine may have in the default
/// folder, which another account may own.
const WITHOUT_STORE: &str = r#"[ ! -d /var/lib/acme ] || mount -t tmpfs none /var/lib/acme; exec sh "$1""#;

/// Units that the modules and the Debian packages have in common.
const DEBIAN: &[(&str, &str)] = &[
    ("acme-dns01.service", "bins/acme-dns01/packaging/acme-dns01.service"),
    ("edge-proxyd.service", "bins/edge-proxyd/packaging/edge-proxyd.service"),
    ("pg-ensure.service", "bins/pg-ensure/packaging/pg-ensure.service"),
];
/// Settings that depend on the options of a module, or on the paths of a system.
const OWN: &[&str] =
    &["EnvironmentFile", "LoadCredential", "ProtectSystem", "ReadWritePaths", "SupplementaryGroups"];

/// Builds the programs and checks the modules, with nixpkgs' own lib in the folder `lib`, if given.
pub(crate) fn whole(lib: Option<&str>) -> Outcome {
    step(
        "nix: building the programs",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    prove(lib)
}

/// Evaluates the modules of NixOS with the programs already built, and verifies the units and files that result. `lib`
/// is the folder of nixpkgs' own lib, if given.
///
/// # Errors
/// Returns the first fault, or that nothing was verified.
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
    // A program of systemd that a unit runs.
    std::os::unix::fs::symlink("/usr/bin/systemd-tmpfiles", bin.join("systemd-tmpfiles")).map_err(said)?;
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
                let mut script = Command::new("unshare");
                script.args(["--map-root-user", "--mount", "sh", "-euc", WITHOUT_STORE, "sh", file]);
                ended_well(script.env_clear().env("PATH", "/usr/bin:/bin"))?;
                runs += 1;
            }
            ["host", _, _] => hosts += 1,
            _ => return Err(format!("nix: unexpected output of test.nix: {line:?}")),
        }
    }
    for unit in &units {
        verify_keys(Path::new(unit))?;
        exposure(Path::new(unit))?;
    }
    let compared =
        units.iter().map(|unit| compare_with_debian(Path::new(unit))).collect::<Result<Vec<_>, _>>()?;
    if compared.iter().filter(|same| **same).count() < DEBIAN.len() {
        return Err("nix: not every unit of the packages was compared with its module".to_owned());
    }
    if (hosts, runs) == (0, 0) || units.is_empty() {
        return Err("nix: test.nix named nothing to verify".to_owned());
    }
    let _ = std::fs::remove_dir_all(&work);
    println!("xtask: nix: {hosts} hosts evaluated, {} units verified, {runs} scripts run", units.len());
    Ok(())
}

/// Compares the service settings of a module with those of the Debian unit of the same name. Returns `false` if there
/// is no such unit.
///
/// # Errors
/// Returns the first setting that differs.
fn compare_with_debian(unit: &Path) -> Result<bool, String> {
    let name = unit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.split_once('-').map_or(name, |(_, rest)| rest);
    let Some((_, debian)) = DEBIAN.iter().find(|(known, _)| *known == name) else { return Ok(false) };
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()));
    let (theirs, ours) = (settings(&read(&root().join(debian))?), settings(&read(unit)?));
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    for key in keys.into_iter().filter(|key| !OWN.contains(&key.as_str()) && !key.starts_with("Exec")) {
        let (debian, nixos) = (theirs.get(key), ours.get(key));
        if debian != nixos {
            return Err(format!(
                "{name}: {key} is {debian:?} in the Debian unit and {nixos:?} in the module"
            ));
        }
    }
    Ok(true)
}

/// Returns the settings of a unit's section `[Service]`, with the words of each in the order of its lines. `yes` and
/// `no` become `true` and `false`, and a number with the suffix `s` loses it, so that equal settings are equal texts.
fn settings(text: &str) -> BTreeMap<String, Vec<String>> {
    let service = text.split("[Service]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in
        service.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
    {
        let words = value.split_whitespace().map(|word| match word {
            "yes" => "true".to_owned(),
            "no" => "false".to_owned(),
            word => match word.strip_suffix('s') {
                // A number without a unit is in seconds.
                Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => number.to_owned(),
                _ => word.to_owned(),
            },
        });
        settings.entry(key.to_owned()).or_default().extend(words);
    }
    settings
}

/// Checks by `systemd-analyze verify` that systemd knows every key of the unit, except for those that version 254
/// added, and that its programs exist. The unit is verified as a copy under its name without the store digest.
///
/// # Errors
/// Returns the output of `systemd-analyze`.
fn verify_keys(unit: &Path) -> Outcome {
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

/// Runs a command that must succeed.
///
/// # Errors
/// Returns its status and output if it fails.
fn ended_well(command: &mut Command) -> Outcome {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&said).trim_end()))
}
