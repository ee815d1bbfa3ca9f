//! Packages for Debian: `cargo xtask package` writes a `.deb` for each folder of `bins/packaging/deb`, with dpkg's own tools.
//!
//! Man pages and completions are asked of the programs that are packaged, so that they say what `--help` says.

use crate::steps::{Outcome, cargo, root, step, target};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where packages are described.
const FOLDER: &str = "bins/packaging/deb";
/// Debian's revision.
const REVISION: &str = "1";
/// Shells: what the program calls them, and where Debian keeps their completions, below /usr/share.
const SHELLS: &[(&str, &str, &str, &str)] = &[
    ("bash", "bash-completion/completions", "", ""),
    ("fish", "fish/vendor_completions.d", "", ".fish"),
    ("zsh", "zsh/vendor-completions", "_", ""),
];

/// Builds the programs as they are released, and packages them.
pub(crate) fn release() -> Outcome {
    step(
        "package: building the programs",
        cargo(&["build", "--release", "--workspace", "--bins", "--locked"]),
    )?;
    build(&target().join("release"), &target().join("debian"), "xz").map(drop)
}

/// Packages the programs of a folder; where the packages are.
pub(crate) fn build(programs: &Path, out: &Path, compression: &str) -> Result<Vec<PathBuf>, String> {
    let work = out.join("work");
    let _ = std::fs::remove_dir_all(&work);
    let mut packages = Vec::new();
    let descriptions = root().join(FOLDER);
    let entries =
        std::fs::read_dir(&descriptions).map_err(|why| format!("{}: {why}", descriptions.display()))?;
    for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let tree = work.join(&name);
        lay_out(&entry.path(), &name, programs, &tree).map_err(|why| format!("package {name}: {why}"))?;
        let package = out.join(format!("{name}_{}_{}.deb", version(&name, programs)?, architecture()?));
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
    let output = output.map_err(|why| format!("dpkg: {why}: packages are made on Debian or a relative"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What the program says that it is, with Debian's revision.
fn version(name: &str, programs: &Path) -> Result<String, String> {
    let output = Command::new(programs.join(name)).arg("--version").output();
    let output = output.map_err(|why| format!("{name}: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().last().ok_or_else(|| format!("{name} --version says nothing"))?;
    Ok(format!("{number}-{REVISION}"))
}

/// The tree of one package.
fn lay_out(description: &Path, name: &str, programs: &Path, tree: &Path) -> Outcome {
    let read = |file: &str| std::fs::read_to_string(description.join(file));
    let install = read("install").map_err(|why| format!("install: {why}"))?;
    for (number, line) in install.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [source, place, mode] = words.as_slice() else {
            return Err(format!("install:{}: a line is a source, a place and a mode: {line}", number + 1));
        };
        let mode = u32::from_str_radix(mode, 8)
            .map_err(|_| format!("install:{}: {mode:?} is no mode", number + 1))?;
        put(source, programs, &tree.join(place.trim_start_matches('/')), mode)
            .map_err(|why| format!("install:{}: {source}: {why}", number + 1))?;
    }
    let control = tree.join("DEBIAN");
    std::fs::create_dir_all(&control).map_err(|why| why.to_string())?;
    let text = read("control").map_err(|why| format!("control: {why}"))?;
    let size = size_of(tree).div_ceil(1024);
    // In the order of Debian's policy; the description, which has further lines, stays last.
    let (head, description_field) = text.split_once("Description:").ok_or("control has no Description")?;
    let filled = format!(
        "{head}Version: {}\nArchitecture: {}\nInstalled-Size: {size}\nDescription:{description_field}",
        version(name, programs)?,
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

/// One line of `install`.
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
            // Without a time, so that the same program makes the same package.
            quiet(Command::new("gzip").args(["-9", "-n"]).arg(page.path()))
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
    copy(&root().join(source), place, mode)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Outcome {
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

/// The files of a package, below its root, in order.
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
