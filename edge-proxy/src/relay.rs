//! Relay of TCP connections that are forwarded byte for byte.
//!
//! Bytes read from one side are written to the other before the end of the first is acted upon, also if that end is a reset. A
//! direction that ends is shut down while the other continues.

use super::deadline::Deadline;
use super::exchange::{Connection, request_id};
use super::observe::ForwardRecord;
use super::proxy_extensions::proxy_extensions;
use super::socket::Socket;
use super::traces::Trace;
use super::upstream::{ConnectOptions, UpstreamTransport};
use super::worker::Worker;
use edge_policy::balance::hash;
use edge_policy::{CertificateContext, Reason};
use std::cell::Cell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of the buffer of each direction in bytes.
const BUFFER_SIZE: usize = 32 * 1024;

/// Relays a client's connection to the upstream of this name until both directions have ended. `first` was read from the client
/// already. `idle` is the time without a byte in either direction after which the connection ends.
pub(crate) async fn run(
    worker: &Rc<Worker>,
    connection: &Connection,
    upstream: &str,
    mut socket: Socket,
    first: Vec<u8>,
    idle: Duration,
) {
    let began = Instant::now();
    let view = worker.view();
    let deadline = worker.sweep().deadline();
    let (mut to_upstream, mut to_client) = (RelayDirection::with(first), RelayDirection::with(Vec::new()));
    let wanted = view.runtime.snapshot().config().request_id.is_some();
    let unique_id = wanted.then(|| identifier(connection));
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
                connect: view.runtime.snapshot().config().timeouts.connect,
                fresh: true,
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
        upstream,
        received: to_upstream.written,
        sent: to_client.written,
        duration: began.elapsed(),
        reason,
    });
}

/// Returns the identifier of a connection: that of its PROXY header, if it is text, or a random one.
fn identifier(connection: &Connection) -> String {
    let told = connection.proxy_extensions.as_deref().and_then(|told| told.unique_id.clone());
    let told = told.and_then(|id| String::from_utf8(id).ok());
    told.filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic())).unwrap_or_else(request_id::random)
}

/// Returns the hash key of a client for [`Balance::Hash`](edge_policy::config::Balance::Hash).
fn key(client: SocketAddr) -> u64 {
    match client.ip().to_canonical() {
        IpAddr::V4(address) => hash(&address.octets()),
        IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// Copies in both directions. Returns the reason the connection ended. `None` if both sides closed it.
async fn between(
    client: &mut Socket,
    service: &mut UpstreamTransport,
    to_upstream: &mut RelayDirection,
    to_client: &mut RelayDirection,
    deadline: &Deadline,
    idle: Duration,
) -> Option<Reason> {
    deadline.set(idle);
    poll_fn(|cx| {
        let before = (to_upstream.moved, to_client.moved);
        let up = to_upstream.poll(cx, Pin::new(&mut *client), Pin::new(&mut *service));
        let down = to_client.poll(cx, Pin::new(&mut *service), Pin::new(&mut *client));
        if before != (to_upstream.moved, to_client.moved) {
            deadline.set(idle);
        }
        match (up, down) {
            // Nobody is left to write to: what the other direction still has is delivered first.
            (Poll::Ready(Err(DestinationClosed)), Poll::Ready(_)) => {
                Poll::Ready(Some(Reason::UpstreamBrokeOff))
            }
            (Poll::Ready(_), Poll::Ready(Err(DestinationClosed))) => Poll::Ready(Some(Reason::ClientLost)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(None),
            // The client is gone, so that nothing of the service's can arrive any more.
            (Poll::Pending, Poll::Ready(Err(DestinationClosed))) => Poll::Ready(Some(Reason::ClientLost)),
            _ => deadline.poll_due(cx).map(|()| Some(Reason::ForwardIdle)),
        }
    })
    .await
}

/// An error for a destination that is closed.
#[derive(Debug)]
struct DestinationClosed;

/// One direction of a relay.
struct RelayDirection {
    buffer: Vec<u8>,
    /// The number of buffered bytes that were written.
    start: usize,
    /// True if the source has ended.
    ended: bool,
    /// `Some(true)` once the end was forwarded to the destination, `Some(false)` once the destination is closed.
    finished: Option<bool>,
    /// The number of bytes read and written, to detect progress.
    moved: u64,
    /// The number of bytes written.
    written: u64,
}

impl RelayDirection {
    /// Creates a direction whose buffer begins with bytes that were already read.
    fn with(buffer: Vec<u8>) -> Self {
        Self { buffer, start: 0, ended: false, finished: None, moved: 0, written: 0 }
    }

    /// Copies available bytes. Completes once the end was forwarded.
    fn poll<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        from: Pin<&mut R>,
        to: Pin<&mut W>,
    ) -> Poll<Result<(), DestinationClosed>> {
        match self.finished {
            Some(true) => return Poll::Ready(Ok(())),
            Some(false) => return Poll::Ready(Err(DestinationClosed)),
            None => {}
        }
        let outcome = ready!(self.copy(cx, from, to));
        self.finished = Some(outcome.is_ok());
        self.buffer = Vec::new();
        Poll::Ready(outcome)
    }

    fn copy<R: AsyncRead, W: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut R>,
        mut to: Pin<&mut W>,
    ) -> Poll<Result<(), DestinationClosed>> {
        loop {
            while self.start < self.buffer.len() {
                match ready!(to.as_mut().poll_write(cx, &self.buffer[self.start..])) {
                    Ok(n @ 1..) => {
                        self.start += n;
                        self.moved += n as u64;
                        self.written += n as u64;
                    }
                    Ok(0) | Err(_) => return Poll::Ready(Err(DestinationClosed)),
                }
            }
            if self.ended {
                let passed_on = ready!(to.as_mut().poll_shutdown(cx));
                return Poll::Ready(passed_on.map_err(|_| DestinationClosed));
            }
            self.start = 0;
            self.buffer.resize(BUFFER_SIZE, 0);
            let mut space = ReadBuf::new(&mut self.buffer);
            let read = from.as_mut().poll_read(cx, &mut space);
            let n = space.filled().len();
            self.buffer.truncate(n);
            match read {
                Poll::Ready(Ok(())) if n > 0 => self.moved += n as u64,
                // A reset is an end too: everything before it was read and has been written.
                Poll::Ready(_) => self.ended = true,
                Poll::Pending => {
                    return match ready!(to.as_mut().poll_flush(cx)) {
                        Ok(()) => Poll::Pending,
                        Err(_) => Poll::Ready(Err(DestinationClosed)),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;

    /// One side in memory: what it sends, in pieces, and how it ends.
    struct RelaySide {
        pieces: Vec<Vec<u8>>,
        resets: bool,
        /// Bytes it takes at a time; every second attempt is pending.
        takes: usize,
        busy: bool,
        got: Vec<u8>,
        shut: bool,
    }

    impl AsyncRead for RelaySide {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.pieces.is_empty() {
                let resets = self.resets;
                return Poll::Ready(if resets { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) });
            }
            let piece = self.pieces.remove(0);
            buf.put_slice(&piece);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for RelaySide {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.busy = !self.busy;
            if self.busy {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let n = buf.len().min(self.takes);
            self.got.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    proptest! {
        /// Whatever was read from one side is written to the other, in order, before its end is passed on.
        #[test]
        fn everything_read_is_delivered(
            first in proptest::collection::vec(any::<u8>(), 0..200),
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
            resets in any::<bool>(),
            takes in 1usize..100,
        ) {
            let sent: Vec<u8> = first.iter().chain(pieces.iter().flatten()).copied().collect();
            let side = |pieces: Vec<Vec<u8>>| RelaySide { pieces, resets, takes, busy: false, got: Vec::new(), shut: false };
            let (mut from, mut to) = (side(pieces), side(Vec::new()));
            let mut direction = RelayDirection::with(first);
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let mut polls = 0;
            while direction.poll(&mut cx, Pin::new(&mut from), Pin::new(&mut to)).is_pending() {
                polls += 1;
                prop_assert!(polls < 100_000);
            }
            prop_assert_eq!(&to.got, &sent);
            prop_assert!(to.shut);
            prop_assert_eq!(direction.written, sent.len() as u64);
        }
    }
}
