//! Takeover by a new process: it is started with the listening sockets and reports when it serves; then the old process
//! finishes its requests in flight and exits. If the new one fails, the old one continues.

use super::Notifier;
use super::launcher::Launcher;
use super::sockets::owned;
use super::successor::{READY, successor};
use edge_proxy::ProxyHandle;
use std::io::{self, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

/// Time within which a successor must serve.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts this program again from its file with all listening sockets, and waits until it serves. If this process is
/// confined, the launcher starts it.
///
/// # Errors
/// The successor could not be started, exited, or did not serve in time. It is stopped then.
pub(crate) fn hand_over(
    proxy: &ProxyHandle,
    notifier: &Notifier,
    launcher: Option<&Launcher>,
) -> io::Result<u32> {
    let (tcp, udp) = proxy.sockets()?;
    let (mut here, there) = UnixStream::pair()?;
    let there = OwnedFd::from(there);
    let sockets: Vec<_> =
        tcp.into_iter().map(OwnedFd::from).chain(udp.into_iter().map(OwnedFd::from)).collect();
    notifier.say("STATUS=handing over to a new process");
    let mut started = Started::new(&sockets, &there, launcher)?;
    // Once this end is closed, the exit of the successor ends the stream.
    drop((sockets, there));
    here.set_read_timeout(Some(PATIENCE))?;
    if here.read(&mut [0]).unwrap_or(0) == 1 {
        return Ok(started.keep());
    }
    started.end();
    notifier.say("STATUS=serving");
    Err(io::Error::other("the new process did not start serving"))
}

/// A successor started by this process or by its launcher.
enum Started<'a> {
    Here(Child),
    Launched(&'a Launcher, u32),
}

impl<'a> Started<'a> {
    fn new(sockets: &[OwnedFd], ready: &OwnedFd, launcher: Option<&'a Launcher>) -> io::Result<Self> {
        match launcher {
            Some(launcher) => Ok(Self::Launched(launcher, launcher.launch(sockets, ready)?)),
            None => successor(sockets, ready, None).map(Self::Here),
        }
    }

    fn keep(self) -> u32 {
        match self {
            Self::Here(child) => child.id(),
            Self::Launched(launcher, process) => {
                launcher.keep();
                process
            }
        }
    }

    fn end(&mut self) {
        match self {
            Self::Here(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Launched(launcher, _) => launcher.end(),
        }
    }
}

/// The process that this one takes over from.
pub(crate) struct Predecessor(Option<UnixStream>);

impl Predecessor {
    /// Connects as the environment specifies. Must be called once.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let fd = std::env::var(READY).ok().and_then(|text| text.parse::<RawFd>().ok());
        let stream = fd.map(|fd| owned(fd).map(UnixStream::from)).transpose()?;
        if let Some(stream) = &stream {
            // Child processes must not inherit it, or it would never close.
            socket2::SockRef::from(stream).set_cloexec(true)?;
        }
        Ok(Self(stream))
    }

    /// Reports that this process serves. Returns whether there was a predecessor.
    pub(crate) fn serving(self) -> bool {
        let Some(mut stream) = self.0 else { return false };
        // A predecessor that is gone does not wait.
        let _ = stream.write_all(b"1");
        true
    }
}
