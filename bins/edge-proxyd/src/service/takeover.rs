//! A new binary takes over: it is started with the sockets that are listened on, says when it serves, and then the old
//! process finishes what is under way and ends. If it does not come so far the old one goes on.

use super::Notifier;
use super::sockets::{SOCKETS, owned};
use edge_proxy::Running;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

/// Names the descriptor on which a successor says that it serves.
const READY: &str = "EDGE_PROXYD_READY";
/// Within which it must.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts this program anew from its file, with all that this process listens on, and waits until it serves.
///
/// # Errors
/// It could not be started, ended, or did not serve in time. It is gone then.
pub(crate) fn hand_over(proxy: &Running, notifier: &Notifier) -> io::Result<u32> {
    let (tcp, udp) = proxy.sockets()?;
    let (mut here, there) = UnixStream::pair()?;
    let sockets = tcp.into_iter().map(OwnedFd::from).chain(udp.into_iter().map(OwnedFd::from));
    let sockets: Vec<_> = sockets.map(socket2::Socket::from).collect();
    let there = socket2::Socket::from(OwnedFd::from(there));
    for socket in sockets.iter().chain([&there]) {
        // Copies, which live until the child has them: nothing else is started meanwhile.
        socket.set_cloexec(false)?;
    }
    let fds: Vec<String> = sockets.iter().map(|socket| socket.as_raw_fd().to_string()).collect();
    // The name that was started, not a link to the file that runs: it was replaced since.
    let program = std::env::args_os().next().unwrap_or_else(|| "edge-proxyd".into());
    notifier.say("STATUS=handing over to a new process");
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(SOCKETS, fds.join(","))
        .env(READY, there.as_raw_fd().to_string())
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .spawn()?;
    // Once ours is closed, the end of theirs is the end of the stream.
    drop((sockets, there));
    here.set_read_timeout(Some(PATIENCE))?;
    if here.read(&mut [0]).unwrap_or(0) == 1 {
        return Ok(child.id());
    }
    let _ = child.kill();
    let _ = child.wait();
    notifier.say("STATUS=serving");
    Err(io::Error::other("the new process did not begin to serve"))
}

/// The process that this one takes over from.
pub(crate) struct Predecessor(Option<UnixStream>);

impl Predecessor {
    /// As the environment says. Called once.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let fd = std::env::var(READY).ok().and_then(|text| text.parse::<RawFd>().ok());
        let stream = fd.map(|fd| owned(fd).map(UnixStream::from)).transpose()?;
        Ok(Self(stream))
    }

    /// Says that this process serves. Whether there was a predecessor.
    pub(crate) fn serving(self) -> bool {
        let Some(mut stream) = self.0 else { return false };
        // If it is gone nobody is waiting.
        let _ = stream.write_all(b"1");
        true
    }
}
