//! The launcher: a small process that starts a successor, forked before this process enters its sandbox. A child
//! inherits the restrictions of its parent, so a successor started from inside could never serve more than this
//! process.
//!
//! The launcher runs only this program with the same arguments, receives nothing but sockets to pass on, and exits with
//! its owner.

use super::sockets::{SOCKETS, take_ownership};
use super::successor::{PROGRAM, READY, start_successor};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use tokio::signal::unix::{SignalKind, signal};

/// Environment variable with the descriptor of the launcher's socket.
const LAUNCHER: &str = "EDGE_PROXYD_LAUNCHER";
/// Descriptors per message; the kernel allows 253 (SCM_MAX_FD).
const BATCH: usize = 128;

/// The types of messages.
const MORE: u8 = b'm';
const START: u8 = b's';
const END: u8 = b'e';
const KEEP: u8 = b'k';

/// The connection to the launcher, which starts successors outside the sandbox.
pub(crate) struct Launcher {
    socket: OwnedFd,
    /// Held so that the child is reaped by this process.
    _process: Child,
}

impl Launcher {
    /// Starts the launcher. Must be called before the sandbox and before other threads handle descriptors.
    pub(crate) fn start() -> io::Result<Self> {
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let there = socket2::Socket::from(there);
        there.set_cloexec(false)?;
        let process = Command::new("/proc/self/exe")
            .args(std::env::args_os().skip(1))
            .env(LAUNCHER, there.as_raw_fd().to_string())
            .env(PROGRAM, std::env::args_os().next().unwrap_or_else(|| "edge-proxyd".into()))
            .env_remove(SOCKETS)
            .env_remove(READY)
            .env_remove("LISTEN_PID")
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { socket: here, _process: process })
    }

    /// Starts a successor with these sockets; it reports readiness on `ready`. Returns its process ID.
    pub(super) fn launch(&self, sockets: &[OwnedFd], ready: &OwnedFd) -> io::Result<u32> {
        for batch in sockets.chunks(BATCH) {
            let batch: Vec<_> = batch.iter().map(AsFd::as_fd).collect();
            send(self.socket.as_fd(), &[MORE], &batch)?;
        }
        send(self.socket.as_fd(), &[START], &[ready.as_fd()])?;
        let mut answer = [0; 256];
        let (n, _) = receive(self.socket.as_fd(), &mut answer)?;
        let text = String::from_utf8_lossy(&answer[..n]).into_owned();
        text.parse().map_err(|_| io::Error::other(format!("the new process could not be started: {text}")))
    }

    /// Stops a successor that does not serve.
    pub(super) fn end(&self) {
        // If the launcher is gone, there is nothing to stop.
        let _ = send(self.socket.as_fd(), &[END], &[]);
        let _ = receive(self.socket.as_fd(), &mut [0; 8]);
    }

    /// Releases a successor that serves.
    pub(super) fn keep(&self) {
        let _ = send(self.socket.as_fd(), &[KEEP], &[]);
    }
}

fn send(socket: BorrowedFd<'_>, content: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(content)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the next message: its length, and the descriptors that came with it. The length is 0 if the other end is
/// closed.
fn receive(socket: BorrowedFd<'_>, content: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut part = [IoSliceMut::new(content)];
        match recvmsg(socket, &mut part, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => {
                let mut descriptors = Vec::new();
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                return Ok((message.bytes, descriptors));
            }
            Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
}

/// Runs as a launcher, if this process was started as one, until its owner exits.
pub(crate) fn serve_as_launcher() -> Option<ExitCode> {
    let fd = std::env::var(LAUNCHER).ok()?.parse().ok()?;
    Some(match take_ownership(fd).and_then(|socket| serve(&socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("edge-proxyd: launcher: {why}");
            ExitCode::FAILURE
        }
    })
}

fn serve(socket: &OwnedFd) -> io::Result<()> {
    // Signals meant for the server often reach every process of a service.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    for kind in [SignalKind::hangup(), SignalKind::user_defined1(), SignalKind::user_defined2()] {
        drop(signal(kind)?);
    }
    socket2::SockRef::from(socket).set_cloexec(true)?;
    let mut sockets = Vec::new();
    let mut child: Option<Child> = None;
    loop {
        let mut content = [0];
        let (n, descriptors) = receive(socket.as_fd(), &mut content)?;
        if n == 0 {
            return Ok(());
        }
        match content[0] {
            MORE => sockets.extend(descriptors),
            START => {
                let ready = descriptors.into_iter().next();
                let started = match &ready {
                    Some(ready) => start_successor(&sockets, ready, Some(LAUNCHER)),
                    None => Err(io::Error::other("no descriptor received")),
                };
                sockets.clear();
                let answer = match started {
                    Ok(started) => {
                        let process = started.id().to_string();
                        child = Some(started);
                        process
                    }
                    Err(why) => why.to_string().chars().take(200).collect(),
                };
                send(socket.as_fd(), answer.as_bytes(), &[])?;
            }
            END => {
                if let Some(mut child) = child.take() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                send(socket.as_fd(), b"done", &[])?;
            }
            _ => child = None,
        }
    }
}
