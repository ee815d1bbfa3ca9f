//! The process that is started from the program's file to take over from this one.

use super::sockets::SOCKETS;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command};

/// The variable that names the descriptor on which a successor reports that it serves.
pub(super) const READY: &str = "EDGE_PROXYD_READY";
/// The variable that names the program a launcher starts: the name that this process was called by, which a launcher's is not.
pub(super) const PROGRAM: &str = "EDGE_PROXYD_PROGRAM";

/// Starts this program anew with these sockets, and without the variable `without` of this process's environment.
pub(super) fn successor(sockets: &[OwnedFd], ready: &OwnedFd, without: Option<&str>) -> io::Result<Child> {
    // Copies, which live until the child has them: nothing else is started meanwhile.
    let inherited = |fd: &OwnedFd| -> io::Result<OwnedFd> {
        let copy = socket2::Socket::from(fd.as_fd().try_clone_to_owned()?);
        copy.set_cloexec(false)?;
        Ok(copy.into())
    };
    let sockets: Vec<_> = sockets.iter().map(inherited).collect::<io::Result<_>>()?;
    let ready = inherited(ready)?;
    let fds: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    // The name that was started, not a link to the file that runs: it was replaced since.
    let program = std::env::var_os(PROGRAM)
        .or_else(|| std::env::args_os().next())
        .unwrap_or_else(|| "edge-proxyd".into());
    let mut command = Command::new(program);
    command
        .args(std::env::args_os().skip(1))
        .env(SOCKETS, fds.join(","))
        .env(READY, ready.as_raw_fd().to_string())
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID");
    for name in without.into_iter().chain([PROGRAM]) {
        command.env_remove(name);
    }
    command.spawn()
}
