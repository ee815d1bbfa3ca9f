//! A stream socket of either family: TCP or Unix.

use super::buffer::AtOnce;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Makes closing the socket send a reset, so that the peer learns that what it got is not whole.
    pub(crate) fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            // If it fails, the peer gets an ordinary end, and its framing still shows the truncation.
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Writes what it takes without waiting.
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(bufs),
            Self::Unix(stream) => stream.try_write_vectored(bufs),
        }
    }

    /// Makes a system call on the socket when it is ready for it: to be read, or to be written to.
    pub(crate) fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        call: impl Fn(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let done = match self {
                Self::Tcp(stream) => {
                    ready!(match interest {
                        Interest::READABLE => stream.poll_read_ready(cx),
                        _ => stream.poll_write_ready(cx),
                    })?;
                    stream.try_io(interest, || call(stream.as_fd()))
                }
                Self::Unix(stream) => {
                    ready!(match interest {
                        Interest::READABLE => stream.poll_read_ready(cx),
                        _ => stream.poll_write_ready(cx),
                    })?;
                    stream.try_io(interest, || call(stream.as_fd()))
                }
            };
            // Not ready after all: waited for again.
            if !matches!(&done, Err(why) if why.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(done);
            }
        }
    }
}

impl AtOnce for Socket {
    fn put(&mut self, parts: &[&[u8]]) -> usize {
        let mut bufs = [IoSlice::new(&[]); 4];
        bufs.iter_mut().zip(parts).for_each(|(buf, part)| *buf = IoSlice::new(part));
        self.try_write(&bufs).unwrap_or(0)
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
