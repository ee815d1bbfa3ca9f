//! The steps from an accepted socket to HTTP: the PROXY header, the ClientHello with the sinkhole, the handshake.

use super::first_read::{FirstRead, first_read, plain_connection};
use super::wire::ClientTransport;
use super::{h1, h2};
use crate::buffer::ReadBuffer;
use crate::deadline::{Deadline, FIRST_REQUEST_GRACE};
use crate::descriptors;
use crate::exchange::Connection;
use crate::observe::{AcceptEvent, ConnectionRejected};
use crate::relay::{self, RelayDestination};
use crate::resumption::{self, OfferedSession};
use crate::socket::Socket;
use crate::sys;
use crate::tls::{Hello, TlsParameters, TlsStream, read_hello, send_alert};
use crate::worker::Worker;
use edge_http::h2::frame::PREFACE;
use edge_http::host;
use edge_http::proxy_protocol::{self, Extensions, ProxyHeader, v2};
use edge_policy::Reason;
use edge_policy::config::{Listener, ListenerKind, Reject};
use edge_policy::decide::{self, Transport};
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::sync::oneshot;

/// The TLS alert for a server name that is not served (RFC 6066 §3).
const UNRECOGNIZED_NAME: u8 = 112;

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
    tokio::task::spawn_local(async move {
        connection(worker, listener, socket, input, peer, address).await;
        drop(admitted);
    });
}

/// Returns the name of the interface that a connection arrived on, as the kernel recorded it. The name is that of the
/// loopback interface if the peer has the local address. `None` if the interface or its name is unknown.
fn incoming_interface_name(socket: &Socket, peer: SocketAddr) -> Option<String> {
    let index = match socket.local_addr() {
        Some(local) if local.ip() == peer.ip() => sys::LOOPBACK,
        _ => sys::incoming_interface(socket.as_fd()?, peer.is_ipv6())?,
    };
    sys::interface_name(index)
}

/// Serves an accepted connection until it has ended. `input` was read before, by [`first_read`]. Reads the PROXY header
/// within the handshake timeout if the listener expects one from the peer, and applies the limit of connections per
/// client. Then relays the connection if the listener forwards, or serves HTTP over TLS or, on a plain listener, without
/// it: HTTP/2 if that is negotiated or begins with prior knowledge, else HTTP/1. Rejections are counted and reported.
async fn connection(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    mut socket: Socket,
    input: ReadBuffer,
    peer: SocketAddr,
    address: SocketAddr,
) {
    let trust = worker.view().runtime.snapshot().config().trust.interface.is_some();
    let interface = if trust { incoming_interface_name(&socket, peer) } else { None };
    let mut connection = plain_connection(&listener, &socket, peer, address);
    connection.interface = interface.map(Rc::from);
    let mut already = Vec::new();
    if listener.proxy_protocol.iter().any(|range| range.contains(&peer.ip())) {
        let limit = worker.view().runtime.snapshot().config().timeouts.handshake;
        let deadline = worker.sweep().deadline();
        match deadline.within(limit, proxy_header(&mut socket, &mut already)).await {
            Some(Ok((header, extensions))) => {
                connection.proxied = header.source();
                connection.proxy_extensions = (!extensions.is_empty()).then(|| Rc::new(extensions));
            }
            _ => return rejected(&worker, &connection, Reason::ProxyHeader),
        }
    }
    let client = connection.proxied.unwrap_or(peer).ip();
    let Ok(_held) = worker.view().runtime.hold(client) else {
        return rejected(&worker, &connection, Reason::TooManyConnectionsOfClient);
    };
    if let Some(forward) = &listener.forward {
        if let Err(reason) = Box::pin(relay::forward(&worker, &connection, forward, socket, already)).await {
            rejected(&worker, &connection, reason);
        }
        return;
    }
    if listener.kind == ListenerKind::Plain {
        if listener.h2c {
            match prior_knowledge(&worker, &mut socket, &mut already).await {
                Some(true) => {
                    return Box::pin(h2::run(worker, connection, ClientTransport::Plain(socket), &already))
                        .await;
                }
                Some(false) => {}
                None => return,
            }
        }
        let mut input = input;
        input.preset(&already);
        return h1::run(worker, connection, ClientTransport::Plain(socket), input).await;
    }
    connection.transport = Transport::Tls;
    // The handshake's state is large and short-lived: on the heap, so that the connection's task is small.
    let Some((stream, http2)) = Box::pin(handshake(&worker, &mut connection, socket, &already)).await else {
        return;
    };
    if http2 {
        Box::pin(h2::run(worker, connection, ClientTransport::Tls(stream), b"")).await;
    } else {
        h1::run(worker, connection, ClientTransport::Tls(stream), ReadBuffer::default()).await;
    }
}

/// Counts a rejected TCP connection and reports it to the observer.
fn rejected(worker: &Worker, connection: &Connection, reason: Reason) {
    worker.rejected(&ConnectionRejected {
        peer: connection.peer,
        local: connection.local,
        sni: connection.sni.as_deref(),
        quic: false,
        reason,
    });
}

/// Returns true if a plain connection begins with the preface of HTTP/2 (RFC 9113 §3.4), false if it differs. The
/// bytes read for that are appended to `already`. `None` if the client closed the connection, reading failed, or the
/// idle timeout passed before that was decided.
async fn prior_knowledge(worker: &Rc<Worker>, socket: &mut Socket, already: &mut Vec<u8>) -> Option<bool> {
    let deadline = worker.sweep().deadline();
    let limit = worker.view().runtime.snapshot().config().timeouts.idle;
    let read = async {
        loop {
            let n = already.len().min(PREFACE.len());
            if already[..n] != PREFACE[..n] {
                return Some(false);
            }
            if n == PREFACE.len() {
                return Some(true);
            }
            if !matches!(socket.read_buf(already).await, Ok(1..)) {
                return None;
            }
        }
    };
    deadline.within_first(limit, read).await.flatten()
}

/// Returns the negotiated application protocol (ALPN), `h2` or `http/1.1`. `None` if none is negotiated or known yet,
/// or it is another one.
fn alpn(tls: &rustls::ServerConnection) -> Option<&'static str> {
    match tls.alpn_protocol()? {
        b"h2" => Some("h2"),
        b"http/1.1" => Some("http/1.1"),
        _ => None,
    }
}

/// Reads the PROXY header of version 1 or 2, and returns it with its extensions, which only version 2 can have.
/// `already` contains the bytes read before; those behind the header stay in it.
///
/// # Errors
/// `InvalidData` if the header is malformed, `UnexpectedEof` if the connection ends before it is complete, or the
/// error of reading.
async fn proxy_header(socket: &mut Socket, already: &mut Vec<u8>) -> io::Result<(ProxyHeader, Extensions)> {
    loop {
        match proxy_protocol::parse(already) {
            Ok(Some((header, used))) => {
                let extensions = v2::extensions(&already[..used]);
                already.drain(..used);
                return Ok((header, extensions));
            }
            Ok(None) => {}
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        }
        if socket.read_buf(already).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads the ClientHello, decides about its site, and performs the TLS handshake within the handshake timeout. Returns
/// the stream, and true if HTTP/2 was negotiated. With HTTP/1.1 and early data, returns before the handshake is
/// complete, so that the early data can be read. Stores the server name, the ALPN protocol, the TLS parameters and the
/// client certificate in `connection`. `None` if the connection was rejected and reported, or was relayed to a
/// passthrough upstream and has ended.
async fn handshake(
    worker: &Rc<Worker>,
    connection: &mut Connection,
    mut socket: Socket,
    already: &[u8],
) -> Option<(TlsStream<rustls::ServerConnection>, bool)> {
    let view = worker.view();
    let limit = view.runtime.snapshot().config().timeouts.handshake;
    let deadline = worker.sweep().deadline();
    let mut ahead = ReadBuffer::default();
    ahead.preset(already);
    let sharing = view.runtime.shared.as_deref();
    let mut hello = Vec::new();
    // If TLS of some site is passed through, its server gets the ClientHello unchanged.
    let passes_through = view.runtime.snapshot().passes_through();
    let copy = (sharing.is_some() || passes_through).then_some(&mut hello);
    let accepted = match deadline.within(limit, read_hello(&mut socket, &mut ahead, copy)).await {
        Some(Hello::Accepted(accepted)) => accepted,
        Some(Hello::NotTls) => {
            rejected(worker, connection, Reason::NotTls);
            return None;
        }
        None => {
            rejected(worker, connection, Reason::HelloTooSlow);
            return None;
        }
    };
    connection.sni = accepted.client_hello().server_name().map(|name| host::normalize(name).into_boxed_str());
    let client = connection.proxied.unwrap_or(connection.peer).ip();
    let site = match decide::hello(
        view.runtime.snapshot(),
        Transport::Tls,
        connection.listener.as_deref(),
        Some(client),
        connection.sni.as_deref(),
    ) {
        Ok(site) => site,
        Err(rejection) => {
            rejected(worker, connection, rejection.why);
            if rejection.how == Reject::Alert {
                send_alert(&mut socket, UNRECOGNIZED_NAME).await;
            }
            return None;
        }
    };
    if let Some(upstream) = &view.runtime.snapshot().config().sites[site].passthrough {
        let config = view.runtime.snapshot().config();
        let timeouts = config.sites[site].timeouts.unwrap_or(config.timeouts);
        hello.extend_from_slice(ahead.bytes());
        let destination = RelayDestination {
            site: Some(&config.sites[site].name),
            upstream,
            connect: timeouts.connect,
            idle: timeouts.tunnel,
        };
        relay::run(worker, connection, &destination, socket, hello).await;
        return None;
    }
    let client_auth = view.runtime.client_auth[site].as_ref();
    let early = client_auth.is_none() && view.runtime.snapshot().config().sites[site].early_data;
    // Where sessions are shared, only those of TLS 1.3 are in the store.
    let offered =
        if early && sharing.is_some() { OfferedSession::of(&hello) } else { OfferedSession::default() };
    drop(hello);
    let by_session = early && (sharing.is_none() || offered.tls13);
    let config = view.runtime.tls_of(site, by_session);
    let taken = match (sharing, offered.identity) {
        (Some(sharing), Some(identity)) if by_session => sharing.take(identity).await,
        _ => None,
    };
    let begun = resumption::with_claim(taken, || {
        let mut tls = accepted.into_connection(config.clone()).ok()?;
        // Early data may have come with the ClientHello; it is processed only now.
        tls.process_new_packets().ok()?;
        Some(tls)
    });
    let Some(mut tls) = begun else {
        rejected(worker, connection, Reason::HandshakeFailed);
        return None;
    };
    let takes_early = tls.early_data().is_some();
    let http2 = tls.alpn_protocol() == Some(b"h2");
    connection.alpn = alpn(&tls);
    connection.tls = TlsParameters::of(&tls);
    let mut stream = TlsStream::accepted(tls, socket, ahead, view.runtime.kernel_tls);
    if !takes_early || http2 {
        finish(worker, connection, &mut stream, &deadline, limit).await?;
        // After a HelloRetryRequest, the parameters are known only now.
        connection.tls = connection.tls.or_else(|| stream.tls().and_then(|tls| TlsParameters::of(tls)));
        connection.alpn = connection.alpn.or_else(|| stream.tls().and_then(|tls| alpn(tls)));
    }
    if let Some(auth) = client_auth {
        let chain = stream.tls().and_then(|tls| tls.peer_certificates()).unwrap_or_default();
        connection.certificate = Some(Rc::new(auth.proven(chain)));
    }
    Some((stream, http2))
}

/// Completes the handshake within `limit`, and counts it, and separately whether it resumed a session. `None` if it
/// failed or took too long; the connection is then reported as rejected.
async fn finish(
    worker: &Rc<Worker>,
    connection: &Connection,
    stream: &mut TlsStream<rustls::ServerConnection>,
    deadline: &Deadline,
    limit: Duration,
) -> Option<()> {
    match deadline.within(limit, poll_fn(|cx| stream.poll_handshake(cx))).await {
        Some(Ok(())) => {
            let resumed =
                stream.tls().and_then(|tls| tls.handshake_kind()) == Some(rustls::HandshakeKind::Resumed);
            worker.with_counts(|counts| {
                counts.handshakes.add(1);
                counts.resumed.add(u64::from(resumed));
            });
            // The source in a PROXY header is not the one that packets come from.
            if connection.proxied.is_none() {
                worker.view().runtime.returning.add(connection.peer.ip(), Instant::now());
            }
            Some(())
        }
        Some(Err(error)) => {
            rejected(worker, connection, failure(&error));
            None
        }
        None => {
            rejected(worker, connection, Reason::HandshakeTooSlow);
            None
        }
    }
}

/// Returns the reason for a handshake that failed with this error: `ClientCertificateRejected` if the client
/// certificate is missing, invalid or cannot be checked by a revocation list, else `HandshakeFailed`.
fn failure(error: &io::Error) -> Reason {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(
            rustls::Error::NoCertificatesPresented
            | rustls::Error::InvalidCertificate(_)
            | rustls::Error::InvalidCertRevocationList(_),
        ) => Reason::ClientCertificateRejected,
        _ => Reason::HandshakeFailed,
    }
}
