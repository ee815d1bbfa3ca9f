//! Debian packages: `cargo xtask package` writes a `.deb` for each folder of `bins/packaging/deb`, with dpkg's own
//! tools.
//!
//! Man pages and completions come from the packaged programs, so that they agree with `--help`.

use crate::process::{Outcome, cargo, root, step, target};
use crate::registry::PROGRAMS;
use crate::units::{exposure, verify};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of package descriptions.
const FOLDER: &str = "bins/packaging/deb";
/// The Debian revision.
const REVISION: &str = "1";
/// The maintainer and the date in the changelogs of the packages.
const MAINTAINER: &str = "The project <project@example.org>";
const DATE: &str = "Sun, 29 Nov 2026 12:00:00 +0000";
/// The systemd unit types that are packaged.
const UNITS: &[&str] = &["path", "service", "socket", "timer"];
/// Shells: the program's name for each, and Debian's folder, prefix and suffix for its completions below /usr/share.
const SHELLS: &[(&str, &str, &str, &str)] = &[
    ("bash", "bash-completion/completions", "", ""),
    ("fish", "fish/vendor_completions.d", "", ".fish"),
    ("zsh", "zsh/vendor-completions", "_", ""),
];

/// Builds the programs for release, and packages them.
pub(crate) fn release() -> Outcome {
    step(
        "package: building the programs",
        cargo(&["build", "--release", "--workspace", "--bins", "--locked"]),
    )?;
    build(&target().join("release"), &target().join("debian"), "xz").map(drop)
}

/// Builds and packages programs that are linked statically with musl, so that they run on any Linux of this
/// architecture.
pub(crate) fn release_static() -> Outcome {
    let triple = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let found = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root()).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if found("musl-gcc", &["--version"]).is_err() {
        return Err("musl-gcc is missing: apt-get install musl-tools".into());
    }
    if !found("rustup", &["target", "list", "--installed"]).is_ok_and(|all| all.contains(&triple)) {
        return Err(format!("the target {triple} is missing: rustup target add {triple}"));
    }
    let mut command = cargo(&["build", "--release", "--bins", "--locked", "--target", &triple]);
    // One of them is a library.
    let packages: Vec<&&str> = PROGRAMS.iter().filter(|package| **package != "cli-support").collect();
    for package in &packages {
        command.args(["--package", package]);
    }
    step("package: building the programs, statically", command)?;
    let programs = target().join(&triple).join("release");
    for package in packages {
        let path = programs.join(package.strip_suffix("-cli").unwrap_or(package));
        if !is_static(&path)? {
            return Err(format!("{} is not statically linked", path.display()));
        }
    }
    build(&programs, &target().join("debian-static"), "xz").map(drop)
}

/// Packages the programs of a folder. Returns the paths of the packages.
pub(crate) fn build(programs: &Path, out: &Path, compression: &str) -> Result<Vec<PathBuf>, String> {
    build_as(programs, out, compression, None)
}

/// Builds the Debian packages as [`build`] does, of the version `given`, or else of the version that each program prints.
pub(crate) fn build_as(
    programs: &Path,
    out: &Path,
    compression: &str,
    given: Option<&str>,
) -> Result<Vec<PathBuf>, String> {
    let work = out.join("work");
    let _ = std::fs::remove_dir_all(&work);
    let mut packages = Vec::new();
    let descriptions = root().join(FOLDER);
    let entries =
        std::fs::read_dir(&descriptions).map_err(|why| format!("{}: {why}", descriptions.display()))?;
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let tree = work.join(&name);
        let version = given.map_or_else(|| version(&name, programs), |given| Ok(given.to_owned()))?;
        lay_out(&entry.path(), (&name, &version), programs, &tree)
            .map_err(|why| format!("package {name}: {why}"))?;
        let package = out.join(format!("{name}_{version}_{}.deb", architecture()?));
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", &format!("-Z{compression}"), "--build"]).arg(&tree).arg(&package);
        step(&format!("package {name}"), &mut command)?;
        packages.push(package);
    }
    let _ = std::fs::remove_dir_all(&work);
    packages.sort();
    Ok(packages)
}

fn architecture() -> Result<String, String> {
    let output = Command::new("dpkg").arg("--print-architecture").output();
    let output =
        output.map_err(|why| format!("dpkg: {why}: packages are built on Debian or a derivative"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns whether a program needs no shared library, by `ldd`.
pub(crate) fn is_static(program: &Path) -> Result<bool, String> {
    let output = Command::new("ldd").arg(program).output().map_err(|why| format!("ldd: {why}"))?;
    let said = [output.stdout, output.stderr].concat();
    Ok(!String::from_utf8_lossy(&said).contains("=>"))
}

/// Returns the version that the program prints, with the Debian revision.
pub(crate) fn version(name: &str, programs: &Path) -> Result<String, String> {
    let output = Command::new(programs.join(name)).arg("--version").output();
    let output = output.map_err(|why| format!("{name}: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().last().ok_or_else(|| format!("{name} --version prints nothing"))?;
    Ok(format!("{number}-{REVISION}"))
}

/// Lays out the tree of one package, by its name and version.
fn lay_out(description: &Path, (name, version): (&str, &str), programs: &Path, tree: &Path) -> Outcome {
    let read = |file: &str| std::fs::read_to_string(description.join(file));
    let install = read("install").map_err(|why| format!("install: {why}"))?;
    for (number, line) in install.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [source, place, mode] = words.as_slice() else {
            return Err(format!(
                "install:{}: expected a source, a destination and a mode: {line}",
                number + 1
            ));
        };
        let mode = u32::from_str_radix(mode, 8)
            .map_err(|_| format!("install:{}: {mode:?} is not a valid mode", number + 1))?;
        put(source, programs, &tree.join(place.trim_start_matches('/')), mode)
            .map_err(|why| format!("install:{}: {source}: {why}", number + 1))?;
    }
    documents(name, version, &tree.join("usr/share/doc").join(name))?;
    let control = tree.join("DEBIAN");
    std::fs::create_dir_all(&control).map_err(|why| why.to_string())?;
    let text = read("control").map_err(|why| format!("control: {why}"))?;
    let size = size_of(tree).div_ceil(1024);
    // In the order of Debian's policy; the multi-line description comes last.
    let (head, description_field) = text.split_once("Description:").ok_or("control has no Description")?;
    let head = if is_static(&programs.join(name))? { without_libraries(head) } else { head.to_owned() };
    let filled = format!(
        "{head}Version: {version}\nArchitecture: {}\nInstalled-Size: {size}\nDescription:{description_field}",
        architecture()?
    );
    std::fs::write(control.join("control"), filled).map_err(|why| why.to_string())?;
    for (file, mode) in [("conffiles", 0o644), ("postinst", 0o755), ("prerm", 0o755), ("postrm", 0o755)] {
        if description.join(file).exists() {
            copy(&description.join(file), &control.join(file), mode)?;
        }
    }
    let sums = sums(tree)?;
    std::fs::write(control.join("md5sums"), sums).map_err(|why| why.to_string())
}

/// Returns the control file of a statically linked program, which needs no library.
fn without_libraries(head: &str) -> String {
    let mut text = String::new();
    for line in head.lines() {
        let Some(needs) = line.strip_prefix("Depends: ") else {
            let _ = writeln!(text, "{line}");
            continue;
        };
        let others: Vec<&str> = needs.split(", ").filter(|package| !package.starts_with("libc6 ")).collect();
        if !others.is_empty() {
            let _ = writeln!(text, "Depends: {}", others.join(", "));
        }
    }
    text
}

/// Writes the files that Debian's policy requires: the copyright and the changelog of the package.
fn documents(name: &str, version: &str, folder: &Path) -> Outcome {
    let said = |why: std::io::Error| format!("{}: {why}", folder.display());
    std::fs::create_dir_all(folder).map_err(said)?;
    let license = std::fs::read_to_string(root().join("LICENSE-MIT")).map_err(said)?;
    let owners: Vec<&str> = license.lines().filter(|line| line.starts_with("Copyright")).collect();
    let mit: String = license
        .lines()
        .skip_while(|line| !line.starts_with("Permission"))
        .map(|line| if line.is_empty() { " .\n".to_owned() } else { format!(" {line}\n") })
        .collect();
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: {name}\n\n\
         Files: *\nCopyright: {}\nLicense: MIT or Apache-2.0\n\nLicense: MIT\n{mit}\n\
         License: Apache-2.0\n On Debian systems, the text is in /usr/share/common-licenses/Apache-2.0.\n",
        owners.first().and_then(|line| line.strip_prefix("Copyright (c) ")).unwrap_or("the authors")
    );
    std::fs::write(folder.join("copyright"), copyright).map_err(said)?;
    // The date of this revision of the packaging, so that packages are reproducible.
    let changelog = format!(
        "{name} ({version}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {DATE}\n"
    );
    let path = folder.join("changelog.Debian");
    std::fs::write(&path, changelog).map_err(said)?;
    quiet(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&path))
}

/// Installs one file of a package, as a line of its list `install` says: a program, a file of the source tree, or generated
/// text.
fn put(source: &str, programs: &Path, place: &Path, mode: u32) -> Outcome {
    if let Some(program) = source.strip_prefix("program:") {
        copy(&programs.join(program), place, mode)?;
        return quiet(Command::new("strip").arg("--strip-unneeded").arg(place));
    }
    if let Some(program) = source.strip_prefix("man:") {
        std::fs::create_dir_all(place).map_err(|why| why.to_string())?;
        quiet(Command::new(programs.join(program)).args(["man", "--folder"]).arg(place))?;
        let pages = std::fs::read_dir(place).map_err(|why| why.to_string())?;
        return pages.filter_map(Result::ok).try_for_each(|page| {
            let mut page = page.path();
            if page.extension().is_some_and(|section| section == "5") {
                let folder = place.with_file_name("man5");
                std::fs::create_dir_all(&folder).map_err(|why| why.to_string())?;
                let other = folder.join(page.file_name().unwrap_or_default());
                std::fs::rename(&page, &other).map_err(|why| why.to_string())?;
                page = other;
            }
            // Without a timestamp, so that packages are reproducible.
            quiet(Command::new("gzip").args(["-9", "-n"]).arg(page))
        });
    }
    if let Some(program) = source.strip_prefix("completions:") {
        return SHELLS.iter().try_for_each(|(shell, folder, before, after)| {
            let output = Command::new(programs.join(program)).args(["completions", shell]).output();
            let output = output.map_err(|why| why.to_string())?;
            if !output.status.success() || output.stdout.is_empty() {
                return Err(format!("no completions for {shell}"));
            }
            let path = place.join(folder).join(format!("{before}{program}{after}"));
            std::fs::create_dir_all(path.parent().expect("a folder")).map_err(|why| why.to_string())?;
            std::fs::write(&path, output.stdout).map_err(|why| why.to_string())
        });
    }
    if let Some(folder) = source.strip_prefix("units:") {
        let entries = std::fs::read_dir(root().join(folder)).map_err(|why| why.to_string())?;
        let unit =
            |path: &PathBuf| path.extension().is_some_and(|kind| UNITS.iter().any(|known| kind == *known));
        return entries.filter_map(Result::ok).map(|entry| entry.path()).filter(unit).try_for_each(|path| {
            let name = path.file_name().unwrap_or_default();
            copy(&path, &place.join(name), mode)
        });
    }
    copy(&root().join(source), place, mode)
}

pub(crate) fn copy(from: &Path, to: &Path, mode: u32) -> Outcome {
    let said = |why: std::io::Error| format!("{}: {why}", from.display());
    std::fs::create_dir_all(to.parent().ok_or("no folder")?).map_err(said)?;
    std::fs::copy(from, to).map_err(said)?;
    std::fs::set_permissions(to, PermissionsExt::from_mode(mode)).map_err(said)
}

fn quiet(command: &mut Command) -> Outcome {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {} {}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Returns the files of a package below its root, sorted.
fn files(tree: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.starts_with(tree.join("DEBIAN")) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn size_of(tree: &Path) -> u64 {
    files(tree).iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

fn sums(tree: &Path) -> Result<String, String> {
    let mut text = String::new();
    for path in files(tree) {
        let output = Command::new("md5sum").arg(&path).output().map_err(|why| format!("md5sum: {why}"))?;
        let sum =
            String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned();
        let _ = writeln!(text, "{sum}  {}", path.strip_prefix(tree).unwrap_or(&path).display());
    }
    Ok(text)
}

/// Packages the debug build, installs it into a separate root, verifies it there, and removes it again.
pub(crate) fn prove() -> Outcome {
    let out = target().join("debian-test");
    let packages = build(&target().join("debug"), &out, "none")?;
    let system = out.join("root");
    let _ = std::fs::remove_dir_all(&system);
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "usr/bin"] {
        std::fs::create_dir_all(system.join(folder)).map_err(|why| why.to_string())?;
    }
    for (file, text) in [
        ("var/lib/dpkg/status", ""),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
    ] {
        std::fs::write(system.join(file), text).map_err(|why| why.to_string())?;
    }
    let dpkg = |arguments: &[&str]| {
        let mut command = Command::new("dpkg");
        // The root has nothing else, not even a C library; scripts learn its path.
        command.arg(format!("--root={}", system.display()));
        // Machines that exclude manuals do so in their own dpkg configuration.
        command.arg("--path-include=/*");
        command.args(["--force-depends", "--force-script-chrootless", "--no-triggers"]).args(arguments);
        quiet(&mut command)
    };
    let paths: Vec<String> = packages.iter().map(|path| path.display().to_string()).collect();
    let install: Vec<&str> = ["--install"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    dpkg(&install)?;
    check_installed(&system)?;
    let units = verify(&system)?;
    for unit in &units {
        exposure(unit)?;
    }
    let names: Vec<String> = packages
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.split_once('_').map(|(name, _)| name.to_owned()))
        .collect();
    let purge: Vec<&str> = ["--purge"].into_iter().chain(names.iter().map(String::as_str)).collect();
    dpkg(&purge)?;
    let left: Vec<PathBuf> = files(&system).into_iter().filter(|path| ours(path, &system)).collect();
    if !left.is_empty() {
        return Err(format!("purging leaves {left:?}"));
    }
    let _ = std::fs::remove_dir_all(&out);
    println!(
        "xtask: {} packages installed, verified and purged; {} units, each with an exposure under 2.0",
        packages.len(),
        units.len()
    );
    Ok(())
}

/// Returns whether a file below the root `system` is one that a package installed.
fn ours(path: &Path, system: &Path) -> bool {
    let below = path.strip_prefix(system).unwrap_or(path);
    // dpkg's own records, and accounts, which are never removed.
    !below.starts_with("var/lib/dpkg")
        && !below.starts_with("var/log")
        && !below.starts_with("etc/.pwd.lock")
        && !["passwd", "group", "shadow", "gshadow"].iter().any(|file| {
            let name = below.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            below.starts_with("etc") && name.trim_end_matches('-') == *file
        })
}

/// Checks that the programs run, configurations are valid, man pages and completions exist, and accounts were created.
fn check_installed(system: &Path) -> Outcome {
    let entries = std::fs::read_dir(root().join(FOLDER)).map_err(|why| why.to_string())?;
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        quiet(Command::new(system.join("usr/bin").join(&name)).arg("--help"))?;
        let wanted = [
            format!("usr/share/man/man1/{name}.1.gz"),
            format!("usr/share/bash-completion/completions/{name}"),
            format!("usr/share/fish/vendor_completions.d/{name}.fish"),
            format!("usr/share/zsh/vendor-completions/_{name}"),
            format!("usr/share/doc/{name}/LICENSE-MIT"),
            format!("usr/share/doc/{name}/copyright"),
            format!("usr/share/doc/{name}/changelog.Debian.gz"),
        ];
        if let Some(missing) = wanted.iter().find(|path| !system.join(path).exists()) {
            return Err(format!("package {name}: {missing} is missing"));
        }
    }
    let check = |program: &str, arguments: &[&str]| {
        quiet(Command::new(system.join("usr/bin").join(program)).args(arguments))
    };
    let path = |file: &str| system.join(file).display().to_string();
    check(
        "edge-proxyd",
        &["check", "--no-files", "--errors-only", "--config", &path("etc/edge-proxyd/edge.toml")],
    )?;
    check("pg-ensure", &["check", "--offline", &path("etc/pg-ensure/manifest.toml")])?;
    let accounts = std::fs::read_to_string(system.join("etc/passwd")).map_err(|why| why.to_string())?;
    for account in ["acme", "edge-proxy"] {
        if !accounts.lines().any(|line| line.starts_with(&format!("{account}:"))) {
            return Err(format!("the account {account} was not created: {accounts}"));
        }
    }
    Ok(())
}
