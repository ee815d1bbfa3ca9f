//! The transport of a connection to an upstream.

use crate::buffer::ImmediateWrite;
use crate::socket::Socket;
use crate::tls::TlsStream;
use rustls::ClientConnection;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to an upstream, with or without TLS.
pub(crate) enum UpstreamTransport {
    /// A connection without TLS.
    Plain(Socket),
    /// A connection with TLS.
    Tls(Box<TlsStream<ClientConnection>>),
}

impl UpstreamTransport {
    /// Returns whether an idle connection is still usable: it is open, and nothing was received on it. Makes no system
    /// call if the runtime has no readiness event.
    pub(super) fn is_quiet(&mut self) -> bool {
        if let Self::Plain(socket) = self
            && let Some(quiet) = socket.is_quiet()
        {
            return quiet;
        }
        let mut byte = [0u8; 1];
        let mut space = ReadBuf::new(&mut byte);
        Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut space).is_pending()
    }
}

impl ImmediateWrite for UpstreamTransport {
    fn put(&mut self, parts: &[&[u8]]) -> usize {
        match self {
            Self::Plain(socket) => socket.put(parts),
            Self::Tls(stream) => stream.put(parts),
        }
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            UpstreamTransport::Plain($io) => $call,
            UpstreamTransport::Tls($io) => {
                let $io = &mut **$io;
                $call
            }
        }
    };
}

impl AsyncRead for UpstreamTransport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for UpstreamTransport {
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

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }
}
