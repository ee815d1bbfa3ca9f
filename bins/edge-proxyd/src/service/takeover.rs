//! Takeover by a new process: it is started with the listening sockets and reports when it serves; then the old process
//! finishes its requests in flight and exits. If the new one fails, the old one continues.

use super::control::ControlSocket;
use super::launcher::Launcher;
use super::sockets::take_ownership;
use super::successor::{READY, start_successor};
use edge_proxy::ProxyHandle;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// A takeover in progress: the successor was started, and does not serve yet.
pub(crate) struct HandOver<'a> {
    started: SuccessorProcess<'a>,
    stream: tokio::net::UnixStream,
    until: Instant,
}

impl<'a> HandOver<'a> {
    /// Starts this program again from its file, with all listening sockets. If this process is confined, the launcher starts
    /// it. It must serve within `patience`.
    ///
    /// # Errors
    /// The successor could not be started.
    pub(crate) fn begin(
        proxy: &ProxyHandle,
        control: Option<&ControlSocket>,
        launcher: Option<&'a Launcher>,
        patience: Duration,
    ) -> io::Result<Self> {
        let (tcp, udp) = proxy.sockets()?;
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(here)?;
        let there = OwnedFd::from(there);
        let control = control.map(ControlSocket::duplicate).transpose()?;
        let sockets: Vec<_> = tcp
            .into_iter()
            .map(OwnedFd::from)
            .chain(udp.into_iter().map(OwnedFd::from))
            .chain(control)
            .collect();
        // Once this end is closed, the exit of the successor ends the stream.
        let started = SuccessorProcess::new(&sockets, &there, launcher)?;
        Ok(Self { started, stream, until: Instant::now() + patience })
    }

    /// Waits until the successor serves. May be cancelled and called again.
    ///
    /// # Errors
    /// The successor exited, or does not serve in time.
    pub(crate) async fn wait_until_serving(&mut self) -> Result<(), &'static str> {
        match tokio::time::timeout_at(self.until, self.stream.read_u8()).await {
            Ok(Ok(b'1')) => Ok(()),
            Ok(_) => Err("the new process ended before it served"),
            Err(_) => Err("the new process did not serve in time and was ended"),
        }
    }

    /// Releases a successor that serves. Returns its process ID.
    pub(crate) fn keep(self) -> u32 {
        self.started.keep()
    }

    /// Ends a successor that does not serve.
    pub(crate) fn end(mut self) {
        self.started.end();
    }
}

/// A successor started by this process or by its launcher.
enum SuccessorProcess<'a> {
    Here(Child),
    Launched(&'a Launcher, u32),
}

impl<'a> SuccessorProcess<'a> {
    fn new(sockets: &[OwnedFd], ready: &OwnedFd, launcher: Option<&'a Launcher>) -> io::Result<Self> {
        match launcher {
            Some(launcher) => Ok(Self::Launched(launcher, launcher.launch(sockets, ready)?)),
            None => start_successor(sockets, ready, None).map(Self::Here),
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

/// The connection to the process that this one takes over from, if there is one.
pub(crate) struct Predecessor(Option<UnixStream>);

impl Predecessor {
    /// Takes the connection that the predecessor passed as a descriptor, if there is one. Must be called once.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let fd = std::env::var(READY).ok().and_then(|text| text.parse::<RawFd>().ok());
        let stream = fd.map(|fd| take_ownership(fd).map(UnixStream::from)).transpose()?;
        if let Some(stream) = &stream {
            // Child processes must not inherit it, or it would never close.
            socket2::SockRef::from(stream).set_cloexec(true)?;
        }
        Ok(Self(stream))
    }

    /// Returns whether there is a predecessor.
    pub(crate) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Reports that this process serves.
    pub(crate) fn report_serving(self) {
        if let Some(mut stream) = self.0 {
            // A predecessor that is gone does not wait.
            let _ = stream.write_all(b"1");
        }
    }
}
