//! The start of a successor: a process, run from the program's file, that takes over from this one.

use super::sockets::SOCKETS;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command};

/// The environment variable with the descriptor on which a successor reports that it serves.
pub(super) const READY: &str = "EDGE_PROXYD_READY";
/// The environment variable with the path of the program for the launcher, which itself runs from `/proc/self/exe`.
pub(super) const PROGRAM: &str = "EDGE_PROXYD_PROGRAM";

/// Starts this program from its file with the same arguments, these sockets and `ready`, on which it reports that it
/// serves. `without` is an environment variable that the new process does not inherit, `None` for all.
///
/// # Errors
/// A descriptor could not be duplicated, or the program could not be run.
pub(super) fn start_successor(
    sockets: &[OwnedFd],
    ready: &OwnedFd,
    without: Option<&str>,
) -> io::Result<Child> {
    // Copies that live until the child has them; nothing else is started meanwhile.
    let inherited = |fd: &OwnedFd| -> io::Result<OwnedFd> {
        let copy = socket2::Socket::from(fd.as_fd().try_clone_to_owned()?);
        copy.set_cloexec(false)?;
        Ok(copy.into())
    };
    let sockets: Vec<_> = sockets.iter().map(inherited).collect::<io::Result<_>>()?;
    let ready = inherited(ready)?;
    let fds: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    // The original name, not a link to the running file, which may have been replaced since.
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
