//! Published packages: each is built, and the workspace is checked with all of them in place of their folders. This
//! detects files that are missing in packages, although no registry has the libraries at this version yet, and without
//! building dependencies again.

use crate::process::{Outcome, cargo, root, step, target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of the published libraries.
pub(crate) const LIBRARIES: &[&str] = &[
    "acme-dns01",
    "edge-proxy",
    "edge-http",
    "edge-policy",
    "pg-ensure",
    "pg-hba",
    "pg-upgrade",
    "smtp-config",
];

/// Names of the packages of the published programs.
pub(crate) const PROGRAMS: &[&str] = &[
    "acme-dns01-cli",
    "edge-proxyd",
    "pg-ensure-cli",
    "pg-hba-cli",
    "selfhost-cli",
    "smtp-config-cli",
    "upgrade-pg-cluster",
];

/// Packages all libraries and programs as for a registry, and runs `cargo check` on a copy of the workspace in which
/// the packages replace their sources.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn prove() -> Outcome {
    let names = || LIBRARIES.iter().chain(PROGRAMS);
    let mut make = cargo(&["package", "--locked", "--allow-dirty", "--quiet", "--no-verify"]);
    for name in names() {
        make.args(["--package", name]);
    }
    step("packages", make)?;
    let place = target().join("packaged");
    let _ = fs::remove_dir_all(&place);
    copy(&root(), &place)?;
    let mut patches = String::from("\n[patch.crates-io]\n");
    for name in names() {
        let folder = folder(name);
        unpack(name, &folder, &place)?;
        patches.push_str(&format!("{name} = {{ path = \"{}\" }}\n", folder.display()));
    }
    let manifest = place.join("Cargo.toml");
    let said = |why: std::io::Error| format!("{}: {why}", manifest.display());
    let text = fs::read_to_string(&manifest).map_err(said)?;
    fs::write(&manifest, text + &patches).map_err(said)?;
    let mut check = cargo(&["check", "--workspace", "--all-features", "--offline", "--quiet"]);
    step(
        "the packages in place of their folders",
        check.current_dir(&place).env("CARGO_TARGET_DIR", target()),
    )
}

/// Libraries whose folder has another name. Those in the folder of another library are unpacked after it.
const NESTED: &[(&str, &str)] = &[
    ("edge-http", "edge-proxy/http"),
    ("edge-policy", "edge-proxy/policy"),
    ("pg-upgrade", "pg-ensure/upgrade"),
    ("selfhost-cli", "bins/cli-support"),
];

/// Returns the folder of a package, relative to the root folder.
pub(crate) fn folder(name: &str) -> PathBuf {
    if let Some((_, folder)) = NESTED.iter().find(|(nested, _)| *nested == name) {
        return folder.into();
    }
    if LIBRARIES.contains(&name) {
        return name.into();
    }
    Path::new("bins").join(name.strip_suffix("-cli").unwrap_or(name))
}

/// Replaces a folder of the copy `place` by the content of its package.
fn unpack(name: &str, folder: &Path, place: &Path) -> Outcome {
    let manifest = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|why| format!("{}: {why}", manifest.display()))?;
    let version = text.lines().find_map(|line| line.strip_prefix("version = ")).unwrap_or_default();
    let whole = format!("{name}-{}", version.trim_matches('"'));
    let package = target().join("package").join(format!("{whole}.crate"));
    let output = Command::new("tar").arg("-xzf").arg(&package).arg("-C").arg(place).output();
    let output = output.map_err(|why| format!("tar: {why}"))?;
    if !output.status.success() {
        return Err(format!("{}: {}", package.display(), String::from_utf8_lossy(&output.stderr).trim()));
    }
    let to = place.join(folder);
    // The folder of a nested package was removed with that of its parent.
    let removed = match fs::remove_dir_all(&to) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let moved = removed.and_then(|()| fs::rename(place.join(&whole), &to));
    moved.map_err(|why| format!("{}: {why}", to.display()))
}

/// Copies a folder with its subfolders, except for those named `target`, `fuzz`, `.git` and `pingora`.
///
/// # Errors
/// Returns the first path that cannot be read or written.
fn copy(from: &Path, to: &Path) -> Outcome {
    let said = |path: &Path, why: std::io::Error| format!("{}: {why}", path.display());
    fs::create_dir_all(to).map_err(|why| said(to, why))?;
    for entry in fs::read_dir(from).map_err(|why| said(from, why))? {
        let entry = entry.map_err(|why| said(from, why))?;
        let (path, name) = (entry.path(), entry.file_name());
        // Build output, and separate workspaces.
        if ["target", "fuzz", ".git", "pingora"].iter().any(|other| name == *other) {
            continue;
        }
        let to = to.join(&name);
        if entry.file_type().map_err(|why| said(&path, why))?.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to).map_err(|why| said(&path, why))?;
        }
    }
    Ok(())
}
