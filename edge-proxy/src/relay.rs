//! Relay of TCP connections that are forwarded byte for byte.
//!
//! Bytes read from one side are written to the other before the end of the first is acted upon, also if that end is a
//! reset. A direction that ends is shut down while the other continues.

mod direction;

use super::deadline::Deadline;
use super::exchange::{Connection, request_id};
use super::observe::ForwardRecord;
use super::proxy_extensions::proxy_extensions;
use super::socket::Socket;
use super::traces::Trace;
use super::upstream::{ConnectOptions, UpstreamTransport};
use super::worker::Worker;
use direction::{DestinationClosed, RelayDirection};
use edge_policy::balance::hash;
use edge_policy::config::Forward;
use edge_policy::{CertificateContext, Reason, decide};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Relays the connection of a client of a forwarding listener, if the client's address is allowed and the limits are
/// not reached. Returns when the connection has ended. `first` was read from the client already and is sent to the
/// upstream first. The idle timeout is that of the listener, or else the one for tunnels.
///
/// # Errors
/// The reason the client may not connect: its address is denied or a limit is reached. Nothing was sent to the client
/// or the upstream then.
pub(crate) async fn forward(
    worker: &Rc<Worker>,
    connection: &Connection,
    forward: &Forward,
    socket: Socket,
    first: Vec<u8>,
) -> Result<(), Reason> {
    let client = connection.proxied.unwrap_or(connection.peer).ip().to_canonical();
    decide::forward(forward, client).map_err(|rejection| rejection.why)?;
    let view = worker.view();
    let limiter = view.runtime.forward_limiter(connection.listener.as_deref(), &forward.upstream);
    let _permit = limiter.map(|limiter| limiter.admit(&forward.rate, client)).transpose()?;
    let timeouts = view.runtime.snapshot().config().timeouts;
    let destination = RelayDestination {
        site: None,
        upstream: &forward.upstream,
        connect: timeouts.connect,
        idle: forward.idle.unwrap_or(timeouts.tunnel),
    };
    run(worker, connection, &destination, socket, first).await;
    Ok(())
}

/// The upstream of a relayed connection, and the settings of the listener or site that it is relayed for.
pub(crate) struct RelayDestination<'a> {
    /// The name of the site whose TLS is passed through. `None` for a forwarding listener.
    pub(crate) site: Option<&'a str>,
    /// The name of the upstream.
    pub(crate) upstream: &'a str,
    /// The time limit for connecting to the upstream.
    pub(crate) connect: Duration,
    /// The time without a byte in either direction after which the connection ends.
    pub(crate) idle: Duration,
}

/// Relays a client's connection to its destination until both directions have ended, and then reports the record of the
/// connection to the observer. `first` was read from the client already. The connection ends after the idle timeout of
/// the destination without a byte in either direction. If it ends abnormally for another reason, such as an upstream
/// that cannot be reached, the client's connection is reset.
pub(crate) async fn run(
    worker: &Rc<Worker>,
    connection: &Connection,
    destination: &RelayDestination<'_>,
    mut socket: Socket,
    first: Vec<u8>,
) {
    let RelayDestination { site, upstream, connect, idle } = *destination;
    let began = Instant::now();
    let view = worker.view();
    let deadline = worker.sweep().deadline();
    let (mut to_upstream, mut to_client) = (RelayDirection::with(first), RelayDirection::with(Vec::new()));
    let wanted = view.runtime.snapshot().config().request_id.is_some();
    let unique_id = wanted.then(|| {
        let extensions = connection.proxy_extensions.as_deref();
        identifier(extensions.and_then(|extensions| extensions.unique_id.as_deref()))
    });
    let reason = match view.runtime.snapshot().tcp_upstream_named(upstream) {
        None => Some(Reason::UpstreamDown),
        Some(at) => {
            let client = connection.proxied.unwrap_or(connection.peer);
            let pool = &view.pools[at];
            let extensions = proxy_extensions(
                pool.upstream(),
                connection,
                CertificateContext::NotAsked,
                unique_id.as_deref(),
            );
            let options = ConnectOptions {
                client,
                local: connection.local,
                extensions: &extensions,
                deadline: &deadline,
                connect,
                fresh: true,
                shared: false,
                upgrade: None,
                sticky: None,
                missed: Cell::new(None),
                host: true,
                trace: &Trace::NONE,
            };
            match Box::pin(pool.connect(&options, key(client))).await {
                Err(why) => Some(why.reason()),
                Ok((mut service, in_flight)) => {
                    in_flight.succeeded();
                    between(&mut socket, &mut service, &mut to_upstream, &mut to_client, &deadline, idle)
                        .await
                }
            }
        }
    };
    if reason.is_some_and(|reason| reason != Reason::ForwardIdle) {
        socket.reset_on_close();
    }
    worker.forwarded(&ForwardRecord {
        peer: connection.peer,
        client: connection.proxied.unwrap_or(connection.peer),
        local: connection.local,
        listener: connection.listener.as_deref(),
        sni: connection.sni.as_deref(),
        proxy_header: connection.proxy_extensions.as_deref(),
        unique_id: unique_id.as_deref(),
        site,
        upstream,
        received: to_upstream.written,
        sent: to_client.written,
        spliced: to_upstream.spliced + to_client.spliced,
        duration: began.elapsed(),
        reason,
    });
}

/// Returns the identifier of a connection: `received`, that of its PROXY header, if it is not empty and consists of
/// visible ASCII characters, or else a random one.
fn identifier(received: Option<&[u8]>) -> String {
    let received = received.and_then(|id| std::str::from_utf8(id).ok());
    let received = received.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()));
    received.map_or_else(request_id::random, str::to_owned)
}

/// Returns the hash key of a client's IP address for [`Balance::Hash`](edge_policy::config::Balance::Hash). IPv4-mapped
/// addresses count as IPv4.
fn key(client: SocketAddr) -> u64 {
    match client.ip().to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// Copies bytes in both directions until both have ended, one side can no longer be written to, or no byte was moved
/// for `idle`. Returns the reason of an abnormal end; `None` if both sides closed the connection.
async fn between(
    client: &mut Socket,
    service: &mut UpstreamTransport,
    to_upstream: &mut RelayDirection,
    to_client: &mut RelayDirection,
    deadline: &Deadline,
    idle: Duration,
) -> Option<Reason> {
    deadline.set(idle);
    // Bytes pass from socket to socket only where their readiness is known. Without it, the first use of the socket
    // fails.
    let _ = client.register();
    poll_fn(|cx| {
        let before = (to_upstream.moved, to_client.moved);
        let up = to_upstream.poll(cx, Pin::new(&mut *client), Pin::new(&mut *service));
        let down = to_client.poll(cx, Pin::new(&mut *service), Pin::new(&mut *client));
        if before != (to_upstream.moved, to_client.moved) {
            deadline.set(idle);
        }
        match (up, down) {
            // The destination is gone: the remaining bytes of the other direction are delivered first.
            (Poll::Ready(Err(DestinationClosed)), Poll::Ready(_)) => {
                Poll::Ready(Some(Reason::UpstreamBrokeOff))
            }
            (Poll::Ready(_), Poll::Ready(Err(DestinationClosed))) => Poll::Ready(Some(Reason::ClientLost)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(None),
            // The client is gone, so nothing from the service can be delivered any more.
            (Poll::Pending, Poll::Ready(Err(DestinationClosed))) => Poll::Ready(Some(Reason::ClientLost)),
            _ => deadline.poll_due(cx).map(|()| Some(Reason::ForwardIdle)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    #[test]
    fn identifiers_of_a_header_that_are_kept() {
        for (received, kept) in [
            (Some(&b"3f2a-9"[..]), true),
            (Some(b""), false),
            (Some(b"a b"), false),
            (Some(b"\xff"), false),
            (None, false),
        ] {
            let id = super::identifier(received);
            assert_eq!(received == Some(id.as_bytes()), kept, "{received:?}");
            assert!(kept || id.len() == 32, "{id}");
        }
    }
}
