//! The first read of a connection without TLS, at which most strangers end.

use super::h1;
use crate::buffer::ReadBuffer;
use crate::exchange::{Connection, drop_at_once};
use crate::heads;
use crate::socket::Socket;
use crate::worker::Worker;
use edge_http::h1::request;
use edge_policy::config::{Listener, ListenerKind};
use edge_policy::decide::Transport;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Returns the properties of a connection without TLS from this peer, which was accepted at this address of the
/// listener. Its interface is not determined.
pub(super) fn plain_connection(
    listener: &Listener,
    socket: &Socket,
    peer: SocketAddr,
    address: SocketAddr,
) -> Connection {
    // Only for a listener on all addresses, the kernel must be asked which one the client connected to.
    let local = if address.ip().is_unspecified() { socket.local_addr().unwrap_or(address) } else { address };
    Connection {
        transport: Transport::Plain,
        peer,
        local,
        proxied: None,
        proxy_extensions: None,
        interface: None,
        listener: listener.name.as_deref().map(Rc::from),
        sni: None,
        alpn: None,
        tls: None,
        certificate: None,
    }
}

/// Returns whether the listener expects a PROXY header from this peer.
pub(super) fn expects_proxy_header(listener: &Listener, peer: SocketAddr) -> bool {
    listener.proxy_protocol.iter().any(|range| range.contains(&peer.ip()))
}

/// Returns whether the first byte of a connection from this peer is one of HTTP/1: the listener has no TLS, does not
/// forward, expects no PROXY header from the peer, and does not serve HTTP/2.
pub(super) fn begins_with_http1(listener: &Listener, peer: SocketAddr) -> bool {
    let is_http1 = listener.kind == ListenerKind::Plain && listener.forward.is_none() && !listener.h2c;
    is_http1 && !expects_proxy_header(listener, peer)
}

/// The result of the first read of a connection.
pub(super) enum FirstRead {
    /// What was read, possibly nothing. A task must serve the connection.
    Read(ReadBuffer),
    /// The connection is to be closed: its request was dropped, counted and reported.
    Dropped,
}

/// Reads once from an accepted connection, and drops its request if that is complete and the rules drop it without a
/// response: most scanners send it with the connection, which then needs no task. Reads nothing where something comes
/// before HTTP/1, or the interface of the connection matters.
pub(super) fn first_read(
    worker: &Worker,
    listener: &Listener,
    socket: &mut Socket,
    peer: SocketAddr,
    address: SocketAddr,
) -> FirstRead {
    let mut input = ReadBuffer::default();
    if !begins_with_http1(listener, peer) {
        return FirstRead::Read(input);
    }
    let view = worker.view();
    if view.runtime.snapshot().config().trust.interface.is_some() {
        return FirstRead::Read(input);
    }
    // If there is nothing yet, the socket is registered now, and its task waits for it.
    let read = input.poll_fill(socket, &mut Context::from_waker(Waker::noop()));
    if !matches!(read, Poll::Ready(Ok(1..))) {
        return FirstRead::Read(input);
    }
    // A panic ends this connection only, as it would in the connection's task.
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        let mut head = heads::request();
        let limits = h1::head_limits(view.runtime.snapshot().config());
        let dropped = matches!(request(input.bytes(), &limits, &mut head), Ok(Some(_)))
            && drop_at_once(worker, &view, &plain_connection(listener, socket, peer, address), &head);
        heads::recycle_request(head);
        dropped
    }));
    if dropped.unwrap_or(true) { FirstRead::Dropped } else { FirstRead::Read(input) }
}
