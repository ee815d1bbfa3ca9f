//! A stream socket of either family: TCP or Unix.

use super::buffer::ImmediateWrite;
use super::sys::{acknowledged, unacknowledged};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected stream socket.
pub(crate) enum Socket {
    /// A newly accepted connection that is registered with the runtime only when it has to wait. A client that is
    /// rejected for its first bytes thereby costs only accept, read and close. `None` after registration failed.
    Fresh(Option<std::net::TcpStream>),
    /// A TCP connection that is registered with the runtime.
    Tcp(TcpStream),
    /// A connection over a Unix socket.
    Unix(UnixStream),
}

/// Runs a system call on a non-blocking socket that is not registered with the runtime, again whenever it is
/// interrupted. Returns `None` if the call would block, else its result. The result is `NotConnected` if `stream` is
/// `None`.
fn at_once<T>(
    stream: &Option<std::net::TcpStream>,
    mut call: impl FnMut(&std::net::TcpStream) -> io::Result<T>,
) -> Option<io::Result<T>> {
    let Some(stream) = stream else { return Some(Err(io::ErrorKind::NotConnected.into())) };
    loop {
        match call(stream) {
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => return None,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            done => return Some(done),
        }
    }
}

impl Socket {
    /// Creates a socket from a newly accepted, non-blocking connection.
    pub(crate) const fn accepted(stream: std::net::TcpStream) -> Self {
        Self::Fresh(Some(stream))
    }

    /// Registers a newly accepted socket with the runtime, so that readiness can be awaited. No effect on others.
    ///
    /// # Errors
    /// The error of the registration, `NotConnected` if it has failed before; the connection is closed then.
    pub(crate) fn register(&mut self) -> io::Result<()> {
        if let Self::Fresh(stream) = self {
            let stream = stream.take().ok_or(io::ErrorKind::NotConnected)?;
            *self = Self::Tcp(TcpStream::from_std(stream)?);
        }
        Ok(())
    }

    /// Returns the file descriptor. `None` after registration failed.
    pub(crate) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Fresh(stream) => stream.as_ref().map(AsFd::as_fd),
            Self::Tcp(stream) => Some(stream.as_fd()),
            Self::Unix(stream) => Some(stream.as_fd()),
        }
    }

    /// Returns the local address of the connection. `None` for a Unix socket, or if the system call fails.
    pub(crate) fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Fresh(stream) => stream.as_ref()?.local_addr().ok(),
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Returns whether the connection is open and has no input, without a system call if the runtime has no readiness
    /// event. The input, if any, may be lost. `None` if the socket is not registered.
    pub(crate) fn is_quiet(&self) -> Option<bool> {
        let read = match self {
            Self::Fresh(_) => return None,
            Self::Tcp(stream) => stream.try_read(&mut [0]),
            Self::Unix(stream) => stream.try_read(&mut [0]),
        };
        Some(matches!(read, Err(why) if why.kind() == io::ErrorKind::WouldBlock))
    }

    /// Sets SO_LINGER to 0, so that closing the socket sends a TCP reset, by which the peer recognizes a truncated
    /// response. No effect on Unix sockets. Errors are ignored.
    pub(crate) fn reset_on_close(&self) {
        let option = Some(std::time::Duration::ZERO);
        // If it fails, the peer gets an ordinary end, and its framing still shows the truncation.
        let _ = match self {
            Self::Fresh(Some(stream)) => socket2::SockRef::from(stream).set_linger(option),
            Self::Tcp(stream) => socket2::SockRef::from(stream).set_linger(option),
            Self::Fresh(None) | Self::Unix(_) => Ok(()),
        };
    }

    /// Completes when the peer has acknowledged all output, or the send queue can no longer be queried. Checks every
    /// 10 ms. Completes at once for a Unix socket.
    pub(crate) async fn wait_acknowledged(&self) {
        let queued = || match self {
            Self::Fresh(Some(stream)) => unacknowledged(stream.as_fd()),
            Self::Tcp(stream) => unacknowledged(stream.as_fd()),
            Self::Fresh(None) | Self::Unix(_) => Ok(0),
        };
        while matches!(queued(), Ok(1..)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Returns the total number of bytes that the peer has acknowledged, counted from an unspecified but fixed start.
    /// `None` for a Unix socket, a connection that is closed, and if the kernel does not report the number.
    pub(crate) fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Fresh(stream) => acknowledged(stream.as_ref()?.as_fd()).ok(),
            Self::Tcp(stream) => acknowledged(stream.as_fd()).ok(),
            Self::Unix(_) => None,
        }
    }

    /// Makes the kernel acknowledge received data at once instead of with the next output (TCP_QUICKACK). No effect on
    /// Unix sockets. Errors are ignored.
    pub(crate) fn acknowledge(&self) {
        // If it fails, the kernel delays the acknowledgement.
        let _ = match self {
            Self::Fresh(Some(stream)) => socket2::SockRef::from(stream).set_tcp_quickack(true),
            Self::Tcp(stream) => socket2::SockRef::from(stream).set_tcp_quickack(true),
            Self::Fresh(None) | Self::Unix(_) => Ok(()),
        };
    }

    /// Limits the number of unsent bytes in the kernel's send queue (TCP_NOTSENT_LOWAT), so that more urgent output is
    /// not queued behind them. No effect on Unix sockets. Errors are ignored.
    pub(crate) fn limit_unsent(&self, bytes: u32) {
        // Without the option, more bytes wait in the kernel.
        let _ = match self {
            Self::Fresh(Some(stream)) => socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes),
            Self::Tcp(stream) => socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes),
            Self::Fresh(None) | Self::Unix(_) => Ok(()),
        };
    }

    /// Writes as many bytes as are accepted without blocking and returns their number.
    ///
    /// # Errors
    /// The error of the write. If nothing is accepted, `WouldBlock`, or `Ok(0)` for a socket that is not registered.
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Fresh(stream) => at_once(stream, |mut stream| stream.write_vectored(bufs)).unwrap_or(Ok(0)),
            Self::Tcp(stream) => stream.try_write_vectored(bufs),
            Self::Unix(stream) => stream.try_write_vectored(bufs),
        }
    }

    /// Waits until the socket may have input. A newly accepted socket is registered with the runtime.
    ///
    /// # Errors
    /// The error of the registration or of the runtime.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.register()?;
        match self {
            Self::Fresh(_) => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Reads into several buffers without blocking and returns the number of bytes. If they are not all filled, there is
    /// no further input, for which [`Self::poll_read_ready`] then waits.
    ///
    /// # Errors
    /// The error of the read, `WouldBlock` if there is no input.
    pub(crate) fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let space: usize = bufs.iter().map(|buf| buf.len()).sum();
        let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        // The runtime clears its readiness event for a call that would block. Without that, the next read would be a
        // system call that finds nothing.
        match self {
            Self::Fresh(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Tcp(stream) => stream.try_read_vectored(bufs).inspect(|n| {
                if (1..space).contains(n) {
                    let _ = stream.try_io(Interest::READABLE, empty);
                }
            }),
            Self::Unix(stream) => stream.try_read_vectored(bufs).inspect(|n| {
                if (1..space).contains(n) {
                    let _ = stream.try_io(Interest::READABLE, empty);
                }
            }),
        }
    }

    /// Runs the system call `call` when the socket is ready for `interest` (`READABLE`, else writable), again whenever
    /// the call would block, and returns its result.
    ///
    /// # Errors
    /// `Unsupported` if the socket is not registered with the runtime; else the error of the call.
    pub(crate) fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        call: impl Fn(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let done = match self {
                Self::Fresh(_) => Err(io::ErrorKind::Unsupported.into()),
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

    /// Writes to a socket that is not registered with the runtime and returns the number of bytes. If that would
    /// block, registers the socket and waits.
    ///
    /// # Errors
    /// The error of the socket, or of registering it.
    fn poll_write_fresh(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Self::Fresh(stream) = self
            && let Some(done) = at_once(stream, |mut stream| match bufs {
                [buf] => stream.write(buf),
                _ => stream.write_vectored(bufs),
            })
        {
            return Poll::Ready(done);
        }
        self.register()?;
        Pin::new(self).poll_write_vectored(cx, bufs)
    }
}

impl ImmediateWrite for Socket {
    fn put(&mut self, parts: &[&[u8]]) -> usize {
        let mut bufs = [IoSlice::new(&[]); 4];
        bufs.iter_mut().zip(parts).for_each(|(buf, part)| *buf = IoSlice::new(part));
        self.try_write(&bufs).unwrap_or(0)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Fresh(stream) => {
                if let Some(read) = at_once(stream, |mut stream| stream.read(buf.initialize_unfilled())) {
                    buf.advance(read?);
                    return Poll::Ready(Ok(()));
                }
                this.register()?;
                Pin::new(this).poll_read(cx, buf)
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            fresh => fresh.poll_write_fresh(cx, &[IoSlice::new(buf)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            fresh => fresh.poll_write_fresh(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Completes at once, since sockets do not buffer output in this process.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Fresh(stream) => {
                let done = at_once(stream, |stream| stream.shutdown(Shutdown::Write));
                Poll::Ready(done.unwrap_or(Ok(())))
            }
        }
    }
}
