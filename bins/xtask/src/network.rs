//! `cargo xtask network`: edge-proxyd over links with delay, loss and changes of address, beside nginx and Caddy.

use crate::clients;
use crate::homelab::Scenario;
use crate::process::{Outcome, cargo, root, step, target, tools_folder};
use std::process::Command;

/// Returns the command of the runner, in network and mount namespaces of its own. It requires root, since the devices
/// of a link cannot be created otherwise.
fn runner() -> Command {
    let mut command = Command::new("unshare");
    let script = "ip link set lo up && exec /usr/bin/python3 -B \"$@\"";
    command.args(["-mn", "sh", "-c", script, "network"]).arg(root().join("bins/xtask/network/run.py"));
    command.arg("--edge").arg(target().join("debug/edge-proxyd")).arg("--tools").arg(tools_folder());
    command.env("PYTHONPATH", tools_folder().join("python-judges"));
    command
}

/// Builds edge-proxyd and measures everything, or the rows that arguments select. Without arguments, writes the page.
///
/// # Errors
/// Returns the step that failed.
pub(crate) fn all(arguments: &[&str]) -> Outcome {
    let caddy = tools_folder().join("newer-caddy");
    if !caddy.join("usr/bin/caddy").exists() {
        clients::unpack("Caddy", &caddy, "caddy", "")?;
    }
    step(
        "network: building edge-proxyd",
        cargo(&["build", "--workspace", "--bins", "--all-features", "--locked"]),
    )?;
    let mut command = runner();
    command.args(arguments);
    if arguments.is_empty() {
        command.arg("--out").arg(root().join("edge-proxy/NETWORK.md"));
    }
    step("network", command)
}

/// Starts the short form in the background, while other steps run.
///
/// # Errors
/// Returns a description if the program cannot be started.
pub(crate) fn begin() -> Result<Scenario, String> {
    let mut command = runner();
    command.arg("--quick");
    Scenario::spawn("network", command)
}
