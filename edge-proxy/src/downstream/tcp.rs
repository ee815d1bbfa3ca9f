//! Listening sockets: connections are accepted, and those that no limit rejects get a task.

use super::establish::{Accepted, incoming_interface_name};
use super::first_read::{FirstRead, begins_with_http1, first_read};
use crate::deadline::FIRST_REQUEST_GRACE;
use crate::descriptors;
use crate::observe::{AcceptEvent, ConnectionRejected};
use crate::socket::Socket;
use crate::sys;
use crate::worker::Worker;
use edge_policy::Reason;
use edge_policy::config::Listener;
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::oneshot;

/// The number of connections that are accepted in succession before other tasks of the worker run.
const MAX_ACCEPTS: usize = 32;

/// The number of successive connections after each of which the queue is checked for another one. Further connections
/// are accepted until the call fails, which costs more than a check, but only once.
const CHECKED_ACCEPTS: usize = 8;

/// The time without a failure to accept after which the recovery is reported.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// The pause after a failure to accept, and the interval at which a listener checks for a free descriptor while only
/// reserved ones are left.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The highest number of connections that are accepted from the queue when a listener ends.
const MAX_LAST_ACCEPTS: usize = 4096;

/// Accepts connections on a listening socket and spawns a task for each. While accepting fails or only reserved
/// descriptors are left, retries at [`ACCEPT_RETRY_INTERVAL`] and reports the beginning and the end of that period.
/// Ends when the sender of `stop` sends or is dropped, or when readiness can no longer be awaited, after it has
/// accepted at most [`MAX_LAST_ACCEPTS`] connections from the queue. `address` is the local address of the listener.
/// With only reserved descriptors left, those in the queue have [`FIRST_REQUEST_GRACE`] for others to become free.
/// `inherited` is true for a socket that another process may have bound to another interface.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    address: SocketAddr,
    tcp: AsyncFd<TcpListener>,
    inherited: bool,
    mut stop: oneshot::Receiver<()>,
) {
    accept_until_stopped(&worker, &listener, address, &tcp, inherited, &mut stop).await;
    let ceiling = descriptors::ceiling();
    let until = Instant::now() + FIRST_REQUEST_GRACE;
    // For their clients they are established, and a request may have been sent.
    for _ in 0..MAX_LAST_ACCEPTS {
        match accept(tcp.get_ref()) {
            Ok((stream, peer)) => {
                let scarce = stream.as_raw_fd() >= ceiling;
                begin(&worker, &listener, address, stream, peer, inherited);
                while scarce && !has_room(tcp.get_ref(), ceiling) {
                    if Instant::now() >= until {
                        return;
                    }
                    tokio::time::sleep(ACCEPT_RETRY_INTERVAL).await;
                }
            }
            Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => break,
        }
    }
}

/// Waits until a connection can be accepted. `None` if the sender of `stop` has sent or was dropped, after which this
/// must not be called again, or if readiness can no longer be awaited.
async fn ready<'t>(
    tcp: &'t AsyncFd<TcpListener>,
    stop: &mut oneshot::Receiver<()>,
) -> Option<AsyncFdReadyGuard<'t, TcpListener>> {
    poll_fn(|cx| match Pin::new(&mut *stop).poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => tcp.poll_read_ready(cx).map(Result::ok),
    })
    .await
}

/// Waits for [`ACCEPT_RETRY_INTERVAL`] before accepting is tried again. Returns true if the sender of `stop` sent or
/// was dropped in the meantime.
async fn pause(stop: &mut oneshot::Receiver<()>) -> bool {
    tokio::time::timeout(ACCEPT_RETRY_INTERVAL, stop).await.is_ok()
}

/// Accepts connections as [`run`] does, until the sender of `stop` sends or is dropped, or readiness can no longer be
/// awaited. Leaves the connections in the queue to the caller.
async fn accept_until_stopped(
    worker: &Rc<Worker>,
    listener: &Rc<Listener>,
    address: SocketAddr,
    tcp: &AsyncFd<TcpListener>,
    inherited: bool,
    stop: &mut oneshot::Receiver<()>,
) {
    let ceiling = descriptors::ceiling();
    let mut trouble = AcceptFailureState { worker, local: address, last: None };
    while let Some(mut ready) = ready(tcp, stop).await {
        for one in 1_usize.. {
            match ready.try_io(|tcp| accept(tcp.get_ref())) {
                Ok(Ok((stream, peer))) => {
                    let scarce = stream.as_raw_fd() >= ceiling;
                    begin(worker, listener, address, stream, peer, inherited);
                    if scarce {
                        trouble.begin(&AcceptEvent::OutOfDescriptors { local: address });
                        while !has_room(tcp.get_ref(), ceiling) {
                            if pause(stop).await {
                                return;
                            }
                        }
                    } else {
                        trouble.end();
                    }
                }
                // Out of descriptors or memory: connections wait in the kernel's queue until there is room.
                Ok(Err(why)) if why.kind() != io::ErrorKind::ConnectionAborted => {
                    trouble.begin(&AcceptEvent::Failed { local: address, why: &why });
                    if pause(stop).await {
                        return;
                    }
                }
                Ok(Err(_)) => {}
                Err(_would_block) => break,
            }
            if one <= CHECKED_ACCEPTS && !sys::has_waiting(tcp.get_ref().as_fd()) {
                // A connection since then is a new event, which makes the socket ready again.
                ready.clear_ready();
                break;
            }
            if one % MAX_ACCEPTS == 0 {
                tokio::task::yield_now().await;
                // A flood keeps the socket readable, so that the wait for readiness does not see the end.
                if stop.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
                    return;
                }
            }
        }
    }
}

/// The state of a period in which accepting fails: only its first failure and the recovery are reported.
struct AcceptFailureState<'a> {
    /// The worker, which counts and reports failures.
    worker: &'a Worker,
    /// The address of the listener.
    local: SocketAddr,
    /// The time of the last failure. `None` after the recovery was reported.
    last: Option<Instant>,
}

impl AcceptFailureState<'_> {
    /// Counts a failure to accept connections and records its time. Reports `event` to the observer only if no earlier
    /// failure is reported whose recovery is not.
    fn begin(&mut self, event: &AcceptEvent<'_>) {
        self.worker.with_counts(|counts| counts.accept_waits.add(1));
        if self.last.replace(Instant::now()).is_none() {
            self.worker.accepting(event);
        }
    }

    /// Reports the recovery to the observer if a failure is reported and the last one is more than [`RECOVERED_AFTER`]
    /// ago. No effect otherwise.
    fn end(&mut self) {
        if self.last.take_if(|last| last.elapsed() > RECOVERED_AFTER).is_some() {
            self.worker.accepting(&AcceptEvent::Recovered { local: self.local });
        }
    }
}

/// Returns whether the lowest free descriptor number is below `ceiling`, the first reserved one. Tests it by
/// duplicating the listening socket; false if that fails.
fn has_room(tcp: &TcpListener, ceiling: RawFd) -> bool {
    tcp.try_clone().is_ok_and(|next| next.as_raw_fd() < ceiling)
}

/// Accepts a connection as a non-blocking socket and returns it with the peer's address.
///
/// # Errors
/// The error of the system call. `ConnectionAborted` if the peer's address is not an IP address.
fn accept(tcp: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, peer) = SockRef::from(tcp).accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), peer))
}

/// Spawns the task that serves an accepted connection, unless it ends with its [`first_read`]. Drops, counts and reports
/// the connection instead if it arrived by an interface other than the listener's on an inherited socket
/// (`WrongInterface`), or if the worker's limit of connections is reached (`TooManyConnections`).
fn begin(
    worker: &Rc<Worker>,
    listener: &Rc<Listener>,
    address: SocketAddr,
    stream: TcpStream,
    peer: SocketAddr,
    inherited: bool,
) {
    let mut socket = Socket::accepted(stream);
    // The connection may have entered the queue before the inherited socket was bound to the interface.
    if inherited
        && listener.interface.is_some()
        && incoming_interface_name(&socket, peer) != listener.interface
    {
        return worker.rejected(&ConnectionRejected {
            peer,
            local: address,
            sni: None,
            quic: false,
            reason: Reason::WrongInterface,
        });
    }
    let Some(admitted) = worker.admit() else {
        return worker.rejected(&ConnectionRejected {
            peer,
            local: address,
            sni: None,
            quic: false,
            reason: Reason::TooManyConnections,
        });
    };
    let FirstRead::Read(input) = first_read(worker, listener, &mut socket, peer, address) else {
        drop(socket);
        return;
    };
    let (worker, listener) = (worker.clone(), listener.clone());
    let accepted = Accepted { worker, listener, socket, input, peer, address, admitted };
    if begins_with_http1(&accepted.listener, peer) {
        accepted.serve_http1();
    } else {
        tokio::task::spawn_local(accepted.establish());
    }
}
