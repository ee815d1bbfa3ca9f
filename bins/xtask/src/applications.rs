//! `cargo xtask applications`: real applications behind an edge and a node, each driven by its own client.

use crate::clients::FETCH;
use crate::homelab::Scenario;
use crate::process::{Outcome, cargo, is_root, root, step, target, tools_folder};
use std::path::PathBuf;
use std::process::Command;

/// The Debian suite of the applications written in Go, which run on older suites too.
const SUITE: &str = "trixie";

/// Applications written in Go, of [`SUITE`]: program, version of the package of the same name, and SHA-256 digest of the
/// program for x86-64.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("miniflux", "2.2.6-1+b4", "c8a24ae95a2280f37a2a6cca30ff7ba61f8c161b4ad40146b4341ded16862892"),
    ("ntfy", "2.11.0-2+b4", "4803c2dbaccdc4a76040fac7c0b787214054bbd6bcc5becc70c10e05d419c4a3"),
];

/// Continuation of [`FETCH`] that verifies the programs by the list in the environment variable `digests`, and keeps only
/// them.
const KEEP_PROGRAMS: &str = r#"
mkdir "$home/bin"
echo "$digests" | while read -r digest program; do mv "$home/usr/bin/$program" "$home/bin/"; done
(cd "$home/bin" && echo "$digests" | sha256sum --check --quiet)
for other in "$home"/*; do test "$other" = "$home/bin" || rm -rf "$other"; done
"#;

/// Installs the requirements of the short form: applications and clients written in Python, and those of [`PROGRAMS`].
/// Programs of the distribution are installed by [`crate::tools`].
///
/// # Errors
/// Returns the command that failed, or a digest that differs.
pub(crate) fn install() -> Outcome {
    python("requirements.txt", "python-applications")?;
    python("requirements-synapse.txt", "python-synapse")?;
    programs()
}

/// Installs the programs of [`PROGRAMS`] into `applications` of the tools folder, unless these versions are installed.
fn programs() -> Outcome {
    let home = tools_folder().join("applications");
    let names: Vec<String> = PROGRAMS.iter().map(|(name, version, _)| format!("{name}={version}")).collect();
    let (names, stamp) = (names.join(" "), home.join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == names) {
        println!("xtask: {names}: there");
        return Ok(());
    }
    let digests: Vec<String> = PROGRAMS.iter().map(|(name, _, digest)| format!("{digest}  {name}")).collect();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{FETCH}{KEEP_PROGRAMS}")]).env("home", &home).env("suite", SUITE);
    command.env("packages", &names).env("digests", digests.join("\n"));
    step(&format!("{names}: unpacking"), command)?;
    std::fs::write(&stamp, names).map_err(|why| format!("{}: {why}", stamp.display()))
}

/// Installs the requirements of the long form: those of the short form, further Python packages, and the packages of
/// `package-lock.json` (verdaccio) by npm, unless they are installed.
fn install_all() -> Outcome {
    install()?;
    python("requirements-long.txt", "python-applications-long")?;
    let folder = tools_folder().join("node-applications");
    let stamp = folder.join("installed");
    let wanted = std::fs::read_to_string(files().join("package-lock.json")).map_err(|why| why.to_string())?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("xtask: verdaccio: there");
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(files().join(name), folder.join(name)).map_err(|why| format!("{name}: {why}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder);
    step("verdaccio: installing", npm)?;
    std::fs::write(&stamp, wanted).map_err(|why| format!("{}: {why}", stamp.display()))
}

/// Installs the Python packages of a file, by pinned version and digest, into a folder of the tools folder, unless a file
/// `installed` in it shows that the same file was installed.
fn python(requirements: &str, folder: &str) -> Outcome {
    let (file, folder) = (files().join(requirements), tools_folder().join(folder));
    let wanted = std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("xtask: {requirements}: there");
        return Ok(());
    }
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "--quiet", "install", "--no-deps", "--require-hashes", "--upgrade", "--target"]);
    pip.arg(&folder).arg("-r").arg(&file);
    step(&format!("{requirements}: installing"), pip)?;
    std::fs::write(&stamp, wanted).map_err(|why| format!("{}: {why}", stamp.display()))
}

/// Returns the folder of the scripts and requirements.
fn files() -> PathBuf {
    root().join("bins/xtask/applications")
}

/// Returns the command of the runner, in network and mount namespaces of its own, and in a user namespace too unless
/// this process runs as root.
fn runner() -> Command {
    let mut command = Command::new("unshare");
    command.args(if is_root() { &["-mn"][..] } else { &["-Urmn"] });
    command.args(["/usr/bin/python3", "-B"]).arg(files().join("run.py"));
    command.arg("--edge").arg(target().join("debug/edge-proxyd")).arg("--tools").arg(tools_folder());
    command
}

/// Installs the requirements of the long form, builds the programs of the workspace, and runs all applications, or
/// those that the arguments select.
pub(crate) fn all(arguments: &[&str]) -> Outcome {
    install_all()?;
    step(
        "applications: building edge-proxyd",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    let mut command = runner();
    command.args(arguments);
    step("applications", command)
}

/// Starts the short form in the background, while other steps run.
///
/// # Errors
/// Returns an error if it cannot be started.
pub(crate) fn begin() -> Result<Scenario, String> {
    let mut command = runner();
    command.arg("--quick");
    Scenario::spawn("applications", command)
}
