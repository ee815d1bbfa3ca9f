//! One direction of a relay.

use crate::socket::Socket;
use crate::splice::SplicePipe;
use crate::upstream::UpstreamTransport;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of the buffer of a direction that copies, in bytes.
const BUFFER_SIZE: usize = 32 * 1024;

/// One side of a relay.
pub(super) trait RelayEnd: AsyncRead + AsyncWrite {
    /// Returns the socket if its bytes are those that are relayed, so that they can be spliced. `None` if they are
    /// encrypted, or the socket is not registered with the runtime.
    fn plain(&self) -> Option<&Socket>;
}

impl RelayEnd for Socket {
    fn plain(&self) -> Option<&Socket> {
        (!matches!(self, Self::Fresh(_))).then_some(self)
    }
}

impl RelayEnd for UpstreamTransport {
    fn plain(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => socket.plain(),
            Self::Tls(_) => None,
        }
    }
}

/// The error for a destination that is closed or failed, so that nothing can be written to it.
#[derive(Debug)]
pub(super) struct DestinationClosed;

/// The reason splicing stopped.
enum SpliceEnd {
    /// The source has ended or failed, and all of its bytes were written.
    Ended,
    /// The kernel does not splice these sockets, or there is no pipe. No bytes were lost.
    Refused,
}

/// One direction of a relay.
///
/// Bytes between plain sockets are spliced once those that were read before are written, and copied otherwise.
pub(super) struct RelayDirection {
    /// The bytes that were read, including the part that was written.
    buffer: Vec<u8>,
    /// The number of bytes at the beginning of the buffer that were written.
    start: usize,
    /// True if the source has ended or failed.
    ended: bool,
    /// The result of the direction: true once the end was forwarded to the destination, false once the destination is
    /// closed. `None` while bytes may still be forwarded.
    finished: Option<bool>,
    /// True unless the kernel has refused to splice.
    splices: bool,
    /// The pipe with bytes that are not written yet. `None` if all are written, so that an idle connection occupies no
    /// descriptors for the pipe.
    pipe: Option<SplicePipe>,
    /// The number of bytes read plus that of bytes written, by which progress is detected.
    pub(super) moved: u64,
    /// The number of bytes written.
    pub(super) written: u64,
    /// The number of bytes written without a copy in this process.
    pub(super) spliced: u64,
}

impl RelayDirection {
    /// Creates a direction whose buffer begins with bytes that were already read.
    pub(super) fn with(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            start: 0,
            ended: false,
            finished: None,
            splices: true,
            pipe: None,
            moved: 0,
            written: 0,
            spliced: 0,
        }
    }

    /// Moves available bytes from `from` to `to`. Completes once the source has ended or failed and its end was
    /// forwarded by shutting down the sending side of `to`. Later calls return the same result.
    ///
    /// # Errors
    /// [`DestinationClosed`] if the destination accepts no more bytes.
    pub(super) fn poll<R: RelayEnd, W: RelayEnd>(
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
        let outcome = ready!(self.pass(cx, from, to));
        self.finished = Some(outcome.is_ok());
        self.buffer = Vec::new();
        Poll::Ready(outcome)
    }

    /// Moves bytes as [`RelayDirection::poll`] does, which stores the result.
    ///
    /// # Errors
    /// [`DestinationClosed`] if the destination accepts no more bytes.
    fn pass<R: RelayEnd, W: RelayEnd>(
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
            if self.splices
                && let (Some(from), Some(to)) = (from.plain(), to.plain())
            {
                self.buffer = Vec::new();
                match ready!(self.splice(cx, from, to))? {
                    SpliceEnd::Ended => self.ended = true,
                    SpliceEnd::Refused => self.splices = false,
                }
                continue;
            }
            self.buffer.resize(BUFFER_SIZE, 0);
            let mut space = ReadBuf::new(&mut self.buffer);
            let read = from.as_mut().poll_read(cx, &mut space);
            let n = space.filled().len();
            self.buffer.truncate(n);
            match read {
                Poll::Ready(Ok(())) if n > 0 => self.moved += n as u64,
                // A reset is an end, too: everything before it was read and has been written.
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

    /// Splices bytes from socket to socket until the source has ended or the kernel refuses.
    ///
    /// # Errors
    /// [`DestinationClosed`] if the destination accepts no more bytes.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
    ) -> Poll<Result<SpliceEnd, DestinationClosed>> {
        let Ok(mut pipe) = self.pipe.take().map_or_else(SplicePipe::new, Ok) else {
            return Poll::Ready(Ok(SpliceEnd::Refused));
        };
        loop {
            while pipe.held() > 0 {
                match pipe.poll_out(cx, to) {
                    Poll::Ready(Ok(n)) => {
                        self.moved += n as u64;
                        self.written += n as u64;
                        self.spliced += n as u64;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(DestinationClosed)),
                    Poll::Pending => {
                        self.pipe = Some(pipe);
                        return Poll::Pending;
                    }
                }
            }
            match ready!(pipe.poll_in(cx, from, usize::MAX)) {
                Ok(n @ 1..) => self.moved += n as u64,
                Err(why) if is_refusal(&why) => return Poll::Ready(Ok(SpliceEnd::Refused)),
                // A reset is an end, too, as above.
                Ok(0) | Err(_) => return Poll::Ready(Ok(SpliceEnd::Ended)),
            }
        }
    }
}

/// Returns whether this error means that the kernel or the sandbox does not permit splicing with these sockets.
fn is_refusal(why: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(why.kind(), InvalidInput | PermissionDenied | Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    impl RelayEnd for RelaySide {
        fn plain(&self) -> Option<&Socket> {
            None
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
