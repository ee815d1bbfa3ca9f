//! Stopping and starting of services: by `systemctl`, or by the parent process, which has the permission.

use pg_upgrade::Services;
use std::process::{Command, Stdio};

/// Services managed by systemd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Systemd;

impl Services for Systemd {
    fn set(&self, unit: &str, start: bool) -> Result<bool, String> {
        let verb = if start { "start" } else { "stop" };
        let fix = format!("run `systemctl {verb} {unit}` yourself, then this again");
        let output = Command::new("systemctl")
            .args(["--no-ask-password", verb, "--", unit])
            .stdin(Stdio::null())
            .output()
            .map_err(|why| format!("systemctl cannot be run: {why}; {fix}"))?;
        if output.status.success() {
            return Ok(true);
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(format!("systemctl {verb} {unit} failed ({}): {}; {fix}", output.status, words.trim()))
    }
}

/// Services that the parent process stops and starts. [`set`](Services::set) always returns `false`, so that this
/// process exits with a status that requests it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParentProcess;

impl Services for ParentProcess {
    fn set(&self, _: &str, _: bool) -> Result<bool, String> {
        Ok(false)
    }
}
