//! The transport of a TCP client, with or without TLS, and how it is closed.

use crate::buffer::{ImmediateWrite, ReadBuffer};
use crate::deadline::Deadline;
use crate::socket::Socket;
use crate::splice::SplicePipe;
use crate::tls::TlsStream;
use rustls::ServerConnection;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The highest number of bytes of unread request content that are discarded so that a connection can be reused.
pub(super) const MAX_DRAIN: usize = 256 * 1024;
/// The time limit for discarding unread request content, and the longest time without input from a client whose
/// connection is being closed.
pub(super) const LINGER_PAUSE: Duration = Duration::from_secs(5);
/// The longest time for which input is read and discarded while a connection is being closed.
const LINGER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time that the client's acknowledgement of the output is awaited before a reset.
pub(super) const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// The TCP connection of a client, with or without TLS.
pub(crate) enum ClientTransport {
    /// A connection without TLS.
    Plain(Socket),
    /// A connection with TLS.
    Tls(TlsStream<ServerConnection>),
}

impl ClientTransport {
    /// Returns true while the TLS handshake is incomplete, so that all bytes read until then are early data. False
    /// without TLS.
    pub(super) fn is_early(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_handshaking())
    }

    /// Completes the TLS handshake. Completes at once without TLS.
    ///
    /// # Errors
    /// The error of TLS or of the socket.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_handshake(cx),
        }
    }

    /// Returns the number of bytes that were accepted for writing and are not written to the socket yet. 0 without TLS.
    pub(super) fn waiting(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.waiting(),
        }
    }

    /// Shuts down the sending side of the socket. With TLS, no close_notify alert is sent before, so the client sees a
    /// truncation.
    ///
    /// # Errors
    /// The error of the socket.
    pub(super) fn poll_end_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.socket_mut()).poll_shutdown(cx),
        }
    }

    /// Returns the socket below TLS.
    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.socket(),
        }
    }

    /// Completes when all output is in the socket's send queue, so that it arrives even if the connection is closed.
    /// Completes at once without TLS.
    ///
    /// # Errors
    /// The error of the socket.
    pub(super) fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_drained(cx),
        }
    }
}

impl ClientTransport {
    /// Hands the encryption of output over to the kernel if possible. Returns true if the kernel encrypts output from
    /// now on or did already. Always false without TLS.
    pub(super) fn enter_kernel(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.enter_kernel(),
        }
    }

    /// Returns true if the connection uses TLS and either the kernel encrypts it already or `wanted` is true.
    pub(super) fn may_enter_kernel(&self, wanted: bool) -> bool {
        matches!(self, Self::Tls(stream) if wanted || stream.is_kernels())
    }

    /// Moves content from a pipe to the socket and returns the number of bytes. Must be called only after
    /// [`ClientTransport::enter_kernel`] returned true.
    ///
    /// # Errors
    /// `Unsupported` without TLS, or the error of the connection.
    pub(super) fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut SplicePipe,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
            Self::Tls(stream) => stream.poll_relay(cx, pipe),
        }
    }
}

/// Reads and discards input until the client closes the connection, reading fails, the client sends nothing for
/// [`LINGER_PAUSE`], [`LINGER_TIMEOUT`] has passed, or the worker drains. Replaces and finally clears the deadline.
pub(super) async fn linger(input: &mut ReadBuffer, wire: &mut ClientTransport, deadline: &Deadline) {
    let since = Instant::now();
    deadline.set(LINGER_PAUSE);
    poll_fn(|cx| {
        let read = input.poll_drain(wire, cx, || deadline.set(LINGER_PAUSE));
        let over =
            deadline.poll_due(cx).is_ready() || since.elapsed() > LINGER_TIMEOUT || deadline.draining();
        if over { Poll::Ready(()) } else { read }
    })
    .await;
    deadline.clear();
}

impl ImmediateWrite for ClientTransport {
    fn put(&mut self, parts: &[&[u8]]) -> usize {
        match self {
            Self::Plain(socket) => socket.put(parts),
            Self::Tls(stream) => stream.put(parts),
        }
    }
}

/// Evaluates an expression with the transport, `Plain` or `Tls`, bound to a name.
macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            ClientTransport::Plain($io) => $call,
            ClientTransport::Tls($io) => $call,
        }
    };
}

impl AsyncRead for ClientTransport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for ClientTransport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
