//! Takeover by a new process: it is started with the listening sockets, and reports when it serves. Then the old
//! process finishes its requests in flight and exits. If the new process fails, the old one continues.

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

/// The message by which a successor reports that it serves.
const SERVING: u8 = b'1';
/// The message by which a predecessor requests a reload from its successor.
const RELOAD: u8 = b'r';

/// A takeover in progress: the successor was started, and may not serve yet.
pub(crate) struct HandOver<'a> {
    /// The process of the successor.
    started: SuccessorProcess<'a>,
    /// The stream on which the successor reports that it serves. It ends when the successor exits.
    stream: tokio::net::UnixStream,
    /// The time by which the successor must serve.
    until: Instant,
}

impl<'a> HandOver<'a> {
    /// Starts this program from its file, with the same arguments, all listening sockets and the control socket: by the
    /// launcher if there is one, otherwise as a child. The new process must serve within `patience`. Must be called
    /// within a Tokio runtime.
    ///
    /// # Errors
    /// The sockets could not be duplicated, or the successor could not be started.
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
        // The control socket is the last of the Unix sockets: earlier versions of this program know no others.
        let links = proxy.quic_links()?;
        let sockets: Vec<_> = tcp
            .into_iter()
            .map(OwnedFd::from)
            .chain(udp.into_iter().map(OwnedFd::from))
            .chain(links)
            .chain(control)
            .collect();
        // Once this end is closed, the exit of the successor ends the stream.
        let started = SuccessorProcess::new(&sockets, &there, launcher)?;
        Ok(Self { started, stream, until: Instant::now() + patience })
    }

    /// Waits until the successor serves. Cancel safe: the future may be dropped and the function called again.
    ///
    /// # Errors
    /// A message if the successor exited before, or does not serve in time. The successor is not killed: call
    /// [`end`](Self::end).
    pub(crate) async fn wait_until_serving(&mut self) -> Result<(), &'static str> {
        match tokio::time::timeout_at(self.until, self.stream.read_u8()).await {
            Ok(Ok(SERVING)) => Ok(()),
            Ok(_) => Err("the new process ended before it served"),
            Err(_) => Err("the new process did not serve in time and was ended"),
        }
    }

    /// Releases a successor that serves, so that it is not killed. If `reload`, the successor is asked to read the
    /// configuration again. Returns its process ID.
    pub(crate) fn keep(self, reload: bool) -> u32 {
        if reload {
            // The stream was empty, and a successor that is gone reads nothing.
            let _ = self.stream.try_write(&[RELOAD]);
        }
        self.started.keep()
    }

    /// Kills the successor, and waits for its exit.
    pub(crate) fn end(mut self) {
        self.started.end();
    }
}

/// A started successor.
enum SuccessorProcess<'a> {
    /// A child of this process.
    Here(Child),
    /// A child of the launcher, with its process ID.
    Launched(&'a Launcher, u32),
}

impl<'a> SuccessorProcess<'a> {
    /// Starts a successor, by the launcher if there is one. It reports on `ready` that it serves.
    ///
    /// # Errors
    /// The process could not be started.
    fn new(sockets: &[OwnedFd], ready: &OwnedFd, launcher: Option<&'a Launcher>) -> io::Result<Self> {
        match launcher {
            Some(launcher) => Ok(Self::Launched(launcher, launcher.launch(sockets, ready)?)),
            None => start_successor(sockets, ready, None).map(Self::Here),
        }
    }

    /// Releases the successor, so that it is not killed, and returns its process ID.
    fn keep(self) -> u32 {
        match self {
            Self::Here(child) => child.id(),
            Self::Launched(launcher, process) => {
                launcher.keep();
                process
            }
        }
    }

    /// Kills the successor, and waits for its exit.
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

/// The stream to the process that this one replaces. `None` if this process replaces none, or has reported to it.
#[derive(Default)]
pub(crate) struct Predecessor(Option<UnixStream>);

impl Predecessor {
    /// Takes the stream whose descriptor is in the environment variable [`READY`]. Without the variable there is no
    /// predecessor. Must be called once only, since it takes ownership of the descriptor.
    ///
    /// # Errors
    /// The descriptor is not open, or its flags could not be set.
    pub(crate) fn from_environment() -> io::Result<Self> {
        let fd = std::env::var(READY).ok().and_then(|text| text.parse::<RawFd>().ok());
        let stream = fd.map(|fd| take_ownership(fd).map(UnixStream::from)).transpose()?;
        if let Some(stream) = &stream {
            // Child processes must not inherit it, or it would never close.
            socket2::SockRef::from(stream).set_cloexec(true)?;
        }
        Ok(Self(stream))
    }

    /// Returns true if this process replaces another one.
    pub(crate) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// Reports to the predecessor that this process serves, which lets it drain and exit. Returns the stream for its
    /// last request, which is empty without a predecessor.
    pub(crate) fn report_serving(&mut self) -> LastRequest {
        let stream = self.0.take().and_then(|mut stream| {
            // A predecessor that is gone does not wait.
            stream.write_all(&[SERVING]).ok()?;
            stream.set_nonblocking(true).ok()?;
            Some(stream)
        });
        LastRequest(stream)
    }
}

/// The stream on which a predecessor may make its last request: to read the configuration again, since a reload was
/// requested during the takeover. `None` if there is no predecessor.
pub(crate) struct LastRequest(Option<UnixStream>);

impl LastRequest {
    /// Completes if the predecessor requests a reload. Otherwise, also after its exit, it never completes. Must be
    /// called within a Tokio runtime.
    pub(crate) async fn reload(self) {
        if let Some(stream) = self.0
            && let Ok(mut stream) = tokio::net::UnixStream::from_std(stream)
            && let Ok(RELOAD) = stream.read_u8().await
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
