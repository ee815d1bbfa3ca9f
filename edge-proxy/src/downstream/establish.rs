//! The steps from an accepted connection to HTTP: the PROXY header, the ClientHello with the sinkhole, the handshake.

use super::first_read::{expects_proxy_header, plain_connection};
use super::wire::ClientTransport;
use super::{h1, h2};
use crate::buffer::ReadBuffer;
use crate::deadline::Deadline;
use crate::exchange::Connection;
use crate::limits::sketch::ConnectionPermit;
use crate::observe::ConnectionRejected;
use crate::relay::{self, RelayDestination};
use crate::resumption::{self, OfferedSession};
use crate::socket::Socket;
use crate::sys;
use crate::tls::{Hello, TlsParameters, TlsStream, read_hello, send_alert};
use crate::worker::{ConnectionGuard, Worker};
use edge_http::h2::frame::PREFACE;
use edge_http::host;
use edge_http::proxy_protocol::{self, Extensions, ProxyHeader, v2};
use edge_policy::Reason;
use edge_policy::config::{Listener, ListenerKind, Reject};
use edge_policy::decide::{self, Transport};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// The TLS alert for a server name that is not served (RFC 6066 §3).
const UNRECOGNIZED_NAME: u8 = 112;

/// Returns the name of the interface that a connection arrived on, as the kernel recorded it. The name is that of the
/// loopback interface if the peer has the local address. `None` if the interface or its name is unknown.
pub(super) fn incoming_interface_name(socket: &Socket, peer: SocketAddr) -> Option<String> {
    let index = match socket.local_addr() {
        Some(local) if local.ip() == peer.ip() => sys::LOOPBACK,
        _ => sys::incoming_interface(socket.as_fd()?, peer.is_ipv6())?,
    };
    sys::interface_name(index)
}

/// An accepted connection.
pub(super) struct Accepted {
    /// The worker that accepted it.
    pub(super) worker: Rc<Worker>,
    /// The listener that accepted it.
    pub(super) listener: Rc<Listener>,
    /// The socket, which is not registered before it is used.
    pub(super) socket: Socket,
    /// The bytes that [`first_read`] has read.
    pub(super) input: ReadBuffer,
    /// The address of the peer.
    pub(super) peer: SocketAddr,
    /// The local address of the listener.
    pub(super) address: SocketAddr,
    /// The connection's share of the limit of the worker.
    pub(super) admitted: ConnectionGuard,
}

impl Accepted {
    /// Spawns the task that serves HTTP/1 without TLS. Nothing comes before it ([`begins_with_http1`]), but the limit of
    /// connections per client applies, by which the connection may be rejected.
    pub(super) fn serve_http1(self) {
        let connection = self.connection();
        let Some(held) = hold(&self.worker, &connection) else { return };
        let wire = ClientTransport::Plain(self.socket);
        tokio::task::spawn_local(h1::run(self.worker, connection, wire, self.input, (self.admitted, held)));
    }

    /// Reads the PROXY header within the handshake timeout if the listener expects one from the peer, and applies the
    /// limit of connections per client. Then relays the connection if the listener forwards. Else performs the TLS
    /// handshake or, on a plain listener, finds out whether the client has prior knowledge of HTTP/2, and spawns the task
    /// that serves HTTP. It is another one, since the state of the handshake is larger than that of an idle connection.
    /// Rejections are counted and reported.
    pub(super) async fn establish(self) {
        let mut connection = self.connection();
        let Self { worker, listener, mut socket, input, peer, admitted, .. } = self;
        let mut already = Vec::new();
        if expects_proxy_header(&listener, peer) {
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
        let Some(held) = hold(&worker, &connection) else { return };
        if let Some(forward) = &listener.forward {
            let relayed = relay::forward(&worker, &connection, forward, socket, already);
            if let Err(reason) = Box::pin(relayed).await {
                rejected(&worker, &connection, reason);
            }
            return;
        }
        let (wire, input, http2) = if listener.kind == ListenerKind::Plain {
            let http2 = match listener.h2c {
                true => prior_knowledge(&worker, &mut socket, &mut already).await,
                false => Some(false),
            };
            let Some(http2) = http2 else { return };
            let mut input = input;
            input.preset(&already);
            (ClientTransport::Plain(socket), input, http2)
        } else {
            connection.transport = Transport::Tls;
            // Much larger than the rest, which a relayed connection keeps.
            let handshake = Box::pin(handshake(&worker, &mut connection, socket, &already));
            let Some((stream, http2)) = handshake.await else { return };
            (ClientTransport::Tls(stream), ReadBuffer::default(), http2)
        };
        let guards = (admitted, held);
        if http2 {
            tokio::task::spawn_local(h2::run(&worker, connection, wire, input, guards));
        } else {
            tokio::task::spawn_local(h1::run(worker, connection, wire, input, guards));
        }
    }

    /// Returns the properties of the connection before a PROXY header or TLS: with the interface that it arrived on if
    /// the rules for trusted proxies name one.
    fn connection(&self) -> Connection {
        let mut connection = plain_connection(&self.listener, &self.socket, self.peer, self.address);
        if self.worker.view().runtime.snapshot().config().trust.interface.is_some() {
            connection.interface = incoming_interface_name(&self.socket, self.peer).map(Rc::from);
        }
        connection
    }
}

/// Counts the connection among those of its client, until the returned permit is dropped; without one the client's are
/// not counted. `None` if the client has reached its limit; the connection is then reported as rejected.
fn hold(worker: &Worker, connection: &Connection) -> Option<Option<ConnectionPermit>> {
    let client = connection.proxied.unwrap_or(connection.peer).ip();
    let held = worker.view().runtime.hold(client);
    if held.is_err() {
        rejected(worker, connection, Reason::TooManyConnectionsOfClient);
    }
    held.ok()
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
