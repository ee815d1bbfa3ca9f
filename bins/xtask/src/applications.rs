//! `cargo xtask applications`: real applications behind an edge and a node, each driven by its own client.

use crate::homelab::Scenario;
use crate::process::{Outcome, cargo, is_root, root, step, target, tools_folder};
use std::path::PathBuf;
use std::process::Command;

/// Installs the requirements of the short form: Python's applications and clients. Programs of the distribution are
/// installed by [`crate::tools`].
pub(crate) fn install() -> Outcome {
    python("requirements.txt", "python-applications")
}

/// Installs the requirements of the long form: those of the short form, further Python packages, and the packages of
/// `package.json` (verdaccio) by npm, unless they are installed.
fn install_all() -> Outcome {
    install()?;
    python("requirements-long.txt", "python-applications-long")?;
    let folder = tools_folder().join("node-applications");
    let wanted = std::fs::read_to_string(files().join("package.json")).map_err(|why| why.to_string())?;
    if std::fs::read_to_string(folder.join("package.json")).is_ok_and(|there| there == wanted)
        && folder.join("node_modules/verdaccio").exists()
    {
        println!("xtask: verdaccio: there");
        return Ok(());
    }
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    std::fs::write(folder.join("package.json"), wanted).map_err(|why| why.to_string())?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(folder);
    step("verdaccio: installing", npm)
}

/// Installs the Python packages of a file, by pinned version, into a folder of the tools folder, unless a file
/// `installed` in it shows that these versions are installed.
fn python(requirements: &str, folder: &str) -> Outcome {
    let (file, folder) = (files().join(requirements), tools_folder().join(folder));
    let wanted = std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let stamp = folder.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("xtask: {requirements}: there");
        return Ok(());
    }
    let mut pip = Command::new("/usr/bin/python3");
    pip.args(["-m", "pip", "--quiet", "install", "--no-deps", "--upgrade", "--target"]);
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
