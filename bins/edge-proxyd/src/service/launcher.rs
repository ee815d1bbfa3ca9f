//! The launcher: a small process that starts successors, itself started before the main process enters its sandbox.
//! Child processes inherit the restrictions of a sandbox, so that a successor started from inside could serve no more
//! than its predecessor.
//!
//! The launcher can only run this program with the same arguments. It receives nothing but sockets for the successor,
//! and exits with the main process.

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

/// The environment variable with the descriptor of the launcher's socket. Only the launcher has it.
const LAUNCHER: &str = "EDGE_PROXYD_LAUNCHER";
/// The largest number of descriptors in one message. The kernel allows 253 (`SCM_MAX_FD`).
const BATCH: usize = 128;

/// The message with further sockets for the next successor.
const MORE: u8 = b'm';
/// The message that starts the successor with the sockets sent before, and has the descriptor on which it reports that
/// it serves. Its response is the process ID, or an error message.
const START: u8 = b's';
/// The message that kills the successor started last. It is answered after the successor has exited.
const END: u8 = b'e';
/// The message that releases the successor started last, so that it is not killed. It is not answered.
const KEEP: u8 = b'k';

/// The connection to the launcher process.
pub(crate) struct Launcher {
    /// The socket for messages.
    socket: OwnedFd,
    /// The launcher process. It is not waited for; it exits when `socket` is closed.
    _process: Child,
}

impl Launcher {
    /// Starts the launcher process. Must be called before the sandbox is entered, and before other threads start
    /// processes, which could inherit the launcher's socket.
    ///
    /// # Errors
    /// The socket pair could not be created, or the process could not be started.
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

    /// Starts a successor with these sockets, which reports on `ready` that it serves. Returns its process ID without
    /// waiting for that.
    ///
    /// # Errors
    /// The successor could not be started, or the launcher has ended.
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

    /// Kills the successor that was started last, and waits for its exit. Does nothing if the successor was released,
    /// or the launcher has ended.
    pub(super) fn end(&self) {
        // If the launcher is gone, there is nothing to stop.
        let _ = send(self.socket.as_fd(), &[END], &[]);
        let _ = receive(self.socket.as_fd(), &mut [0; 8]);
    }

    /// Releases the successor that was started last, so that [`end`](Self::end) does not kill it.
    pub(super) fn keep(&self) {
        let _ = send(self.socket.as_fd(), &[KEEP], &[]);
    }
}

/// Sends a message with at most [`BATCH`] descriptors.
///
/// # Errors
/// The error of sendmsg(2).
fn send(socket: BorrowedFd<'_>, content: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    sendmsg(socket, &[IoSlice::new(content)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives the next message into `content`. Returns its length in bytes, and the descriptors in it, which child
/// processes do not inherit. The length is 0 if the other end is closed. Repeats interrupted calls.
///
/// # Errors
/// The error of recvmsg(2).
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

/// Runs as the launcher until the main process exits, and returns the exit code: failure after an error, which is
/// printed to standard error. `None`, at once, if this process was not started as the launcher.
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

/// Handles messages until the other end is closed. SIGHUP, SIGUSR1 and SIGUSR2, which are meant for the main process,
/// are ignored.
///
/// # Errors
/// The error of the socket, or of setting up the signals. A successor that cannot be started is reported to the main
/// process instead.
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
