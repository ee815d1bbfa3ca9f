//! A pipe between two sockets: bytes pass from one to the other without being copied into this process (splice(2)).

use crate::socket::Socket;
use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;

/// The requested capacity of a pipe in bytes, and the highest number of bytes of one move. A pipe is smaller if the
/// user's limit for pipes is reached.
const PIPE_SIZE: usize = 256 * 1024;
/// The highest number of empty pipes that a worker stores for reuse.
const MAX_POOLED_PIPES: usize = 16;

thread_local! {
    /// The empty pipes of the thread, for reuse.
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// The two ends of a non-blocking pipe.
struct Pipe {
    /// The end from which bytes are read.
    read: OwnedFd,
    /// The end to which bytes are written.
    write: OwnedFd,
}

impl Pipe {
    /// Creates a non-blocking pipe, of [`PIPE_SIZE`] bytes if the system permits.
    ///
    /// # Errors
    /// The error of opening the pipe.
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller one does too: users have a limit for all their pipes.
        let _ = fcntl_setpipe_size(&write, PIPE_SIZE);
        Ok(Self { read, write })
    }
}

/// A pipe with the count of the bytes in it. An empty one is stored for reuse when it is dropped.
pub(crate) struct SplicePipe {
    /// The pipe. `None` once it was stored for reuse.
    pipe: Option<Pipe>,
    /// The number of bytes in the pipe.
    held: usize,
}

impl SplicePipe {
    /// Takes an empty pipe of the worker's, or opens a new one.
    ///
    /// # Errors
    /// The error of opening a pipe.
    pub(crate) fn new() -> io::Result<Self> {
        let pooled = POOL.with_borrow_mut(Vec::pop);
        Ok(Self { pipe: Some(pooled.map_or_else(Pipe::new, Ok)?), held: 0 })
    }

    /// Returns the number of bytes in the pipe.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// Moves at most `most` bytes, and at most [`PIPE_SIZE`], from a socket into the pipe as soon as the socket is
    /// readable. Returns the number of bytes; 0 is the end of the stream. The pipe must be empty: otherwise the cause
    /// of blocking would be unknown.
    ///
    /// # Errors
    /// The error of the system call, or `BrokenPipe` if the pipe is no longer there.
    pub(crate) fn poll_in(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.held, 0);
        let Some(pipe) = &self.pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let moved = |socket: BorrowedFd<'_>| {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(socket, None, &pipe.write, None, most.min(PIPE_SIZE), flags)?)
        };
        let n = ready!(from.poll_io(cx, Interest::READABLE, moved))?;
        self.held = n;
        Poll::Ready(Ok(n))
    }

    /// Moves bytes from the pipe, which must not be empty, to a socket as soon as the socket is writable. Returns the
    /// number of bytes, which may be less than the pipe contains.
    ///
    /// # Errors
    /// The error of the system call, `WriteZero` if the socket accepts nothing, or `BrokenPipe` if the pipe is no
    /// longer there.
    pub(crate) fn poll_out(&mut self, cx: &mut Context<'_>, to: &Socket) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let moved = |socket: BorrowedFd<'_>| {
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            Ok(splice(&pipe.read, None, socket, None, self.held, flags)?)
        };
        let n = ready!(to.poll_io(cx, Interest::WRITABLE, moved))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.held -= n;
        Poll::Ready(Ok(n))
    }
}

impl Drop for SplicePipe {
    fn drop(&mut self) {
        if self.held == 0
            && let Some(pipe) = self.pipe.take()
        {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < MAX_POOLED_PIPES {
                    pool.push(pipe);
                }
            });
        }
    }
}
