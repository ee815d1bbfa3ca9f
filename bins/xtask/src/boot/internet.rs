//! The internet of a machine: a CA, Cloudflare's API, an acme-dns, a name server and mail, by programs of this host in
//! a network namespace of their own, at the other end of the machine's interface `eth0`.

use crate::process::target;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Maximum time until the connection of a machine that was shut down is removed.
const PATIENCE: Duration = Duration::from_secs(15);

/// The running servers. They end when this is dropped.
pub(super) struct Internet {
    child: Child,
}

impl Internet {
    /// Starts the servers and connects a machine, by the process ID of its first process. Afterwards, the folder
    /// contains the root certificates and the password of the mail account.
    ///
    /// # Errors
    /// Returns a description if a server does not start.
    pub(super) fn start(folder: &Path, init: u32) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
        let mut command = Command::new("unshare");
        command.arg("--net").arg(target().join("debug/homelab")).arg("internet").arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| format!("unshare: {why}"))?;
        let out = child.stdout.take().ok_or("no output")?;
        let internet = Self { child };
        let mut lines = BufReader::new(out).lines();
        hear(&mut lines, "waiting")?;
        internet.plug(init)?;
        hear(&mut lines, "ready")?;
        Ok(internet)
    }

    /// Connects the machine whose first process has this process ID by an interface `eth0` with the address
    /// 203.0.113.1: at the start, and again after each boot, since its end of the connection ends with it. Tries for up
    /// to 15 s.
    ///
    /// # Errors
    /// Returns the output of the command that failed.
    pub(super) fn plug(&self, init: u32) -> Result<(), String> {
        let script = format!(
            "ip link add eth0 netns {} type veth peer name eth0 netns {init} && \
             nsenter --target {init} --net sh -c 'ip addr add 203.0.113.1/24 dev eth0 && ip link set eth0 up'",
            self.child.id()
        );
        let until = Instant::now() + PATIENCE;
        loop {
            let output = Command::new("sh").args(["-c", &script]).output().map_err(|why| why.to_string())?;
            if output.status.success() {
                return Ok(());
            }
            // The kernel removes the former connection some time after the machine has ended.
            if Instant::now() > until {
                return Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Reads a line, which must be `wanted`.
///
/// # Errors
/// Returns the line if it is another one.
fn hear(lines: &mut Lines<BufReader<ChildStdout>>, wanted: &str) -> Result<(), String> {
    match lines.next() {
        Some(Ok(line)) if line == wanted => Ok(()),
        other => Err(format!("the internet does not start: {other:?} instead of {wanted:?}")),
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        // The servers end, and remove their folders, when their standard input ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
