//! Buffers of a worker: taken when there is input to read and returned when all of it is consumed, so that an idle connection
//! holds none.

use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of a buffer in bytes: the largest head, or four TLS records.
pub(crate) const SIZE: usize = 64 * 1024;
/// The number of buffers that are drained before other tasks run.
const MAX_DRAINS: usize = 16;
/// The number of free buffers that a worker keeps: 4 MiB.
const MAX_FREE_BUFFERS: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static OUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Returns a buffer of [`SIZE`] bytes, from the free list if there is one.
fn whole() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

/// Returns a buffer to the free list.
fn recycle(memory: Box<[u8]>) {
    // A thread that ends has no use for it.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < MAX_FREE_BUFFERS && memory.len() == SIZE {
            pool.push(memory);
        }
    });
}

/// A buffer that is returned to the free list when dropped.
struct PooledBuffer(Box<[u8]>);

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        recycle(std::mem::take(&mut self.0));
    }
}

/// Input that is not consumed yet.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().map_or(&mut [], |memory| &mut memory[self.start..self.end])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Moves the input into an allocation of its own size and returns the buffer, for input whose rest may take long
    /// to arrive.
    pub(crate) fn park(&mut self) {
        if self.end - self.start > SIZE / 2 {
            return;
        }
        let kept: Box<[u8]> = self.bytes().into();
        (self.start, self.end) = (0, 0);
        self.release();
        if !kept.is_empty() {
            self.end = kept.len();
            self.memory = Some(kept);
        }
    }

    /// Appends bytes that were read elsewhere. They must fit.
    pub(crate) fn preset(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let memory = self.memory.get_or_insert_with(whole);
            let n = bytes.len().min(memory.len());
            memory[..n].copy_from_slice(&bytes[..n]);
            self.end = n;
        }
    }

    /// Returns whether no more bytes fit before some are consumed.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start >= SIZE
    }

    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start >= self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Consumes the first `n` bytes and returns them. Large parts are returned with the buffer that they are in; small ones are
    /// copied, so that they do not keep a buffer.
    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        if n == self.end - self.start
            && n >= SIZE / 2
            && let Some(memory) = self.memory.take_if(|memory| memory.len() == SIZE)
        {
            let range = self.start..self.end;
            (self.start, self.end) = (0, 0);
            return Bytes::from_owner(PooledBuffer(memory)).slice(range);
        }
        let bytes = Bytes::copy_from_slice(&self.bytes()[..n]);
        self.consume(n);
        bytes
    }

    /// Returns the buffer if it is empty.
    pub(crate) fn release(&mut self) {
        if self.is_empty()
            && let Some(memory) = self.memory.take()
        {
            self.start = 0;
            self.end = 0;
            recycle(memory);
        }
    }

    /// Reads and discards input until the client closes. Closing with unread input would reset the connection before the client
    /// reads the last response (RFC 9112 §9.6). Calls `came` for each read, and yields to other tasks in between.
    pub(crate) fn poll_drain(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        mut came: impl FnMut(),
    ) -> Poll<()> {
        for _ in 0..MAX_DRAINS {
            self.consume(self.end - self.start);
            match ready!(self.poll_fill(io, cx)) {
                Ok(1..) => came(),
                _ => return Poll::Ready(()),
            }
        }
        self.consume(self.end - self.start);
        self.release();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once. `Ok(0)` is the end of the stream. No buffer is held while no input is available.
    pub(crate) fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let memory = self.memory.get_or_insert_with(whole);
        if memory.len() < SIZE {
            let parked = std::mem::replace(memory, whole());
            memory[..self.end - self.start].copy_from_slice(&parked[self.start..self.end]);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == memory.len() && self.start > 0 {
            memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut space = ReadBuf::new(&mut memory[self.end..]);
        match Pin::new(io).poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) => {
                let n = space.filled().len();
                self.end += n;
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            Poll::Pending => {
                self.release();
                Poll::Pending
            }
        }
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        self.start = 0;
        self.end = 0;
        self.release();
    }
}

/// The minimum length of bytes that are written directly, without a copy into the buffer.
const MIN_DIRECT_WRITE: usize = 8 * 1024;

/// A sink that accepts bytes without blocking.
pub(crate) trait ImmediateWrite {
    /// Writes as many of these bytes as are accepted now and returns their number. After an error returns 0; the error is
    /// reported by the next write.
    fn put(&mut self, parts: &[&[u8]]) -> usize;
}

/// Output that is not written yet.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    bytes: Vec<u8>,
    written: usize,
}

impl WriteBuffer {
    /// Returns the vector to append output to.
    pub(crate) fn push(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = OUT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(4096));
        }
        &mut self.bytes
    }

    /// Appends bytes to the output. Large parts are written to `wire` directly, after the pending output; the rest is
    /// buffered.
    pub(crate) fn append_or_write(&mut self, wire: &mut impl ImmediateWrite, parts: [&[u8]; 3]) {
        let mut taken = 0;
        if parts.iter().map(|part| part.len()).sum::<usize>() >= MIN_DIRECT_WRITE {
            let [a, b, c] = parts;
            taken = wire.put(&[&self.bytes[self.written..], a, b, c]);
            let waited = taken.min(self.len());
            self.written += waited;
            taken -= waited;
            if self.len() == 0 {
                self.release();
            }
        }
        for part in parts {
            let gone = taken.min(part.len());
            taken -= gone;
            if gone < part.len() {
                self.push().extend_from_slice(&part[gone..]);
            }
        }
    }

    /// Returns the number of pending bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Writes all pending output.
    pub(crate) fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let n = match Pin::new(&mut *io).poll_write(cx, &self.bytes[self.written..]) {
                Poll::Ready(n) => n?,
                Poll::Pending => {
                    self.compact();
                    return Poll::Pending;
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Removes the written bytes from the buffer once they are many, so that it does not grow while a client never
    /// accepts all of it.
    fn compact(&mut self) {
        if self.written >= SIZE / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Discards the pending output.
    pub(crate) fn release(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.written = 0;
        if bytes.capacity() > 0 && bytes.capacity() <= 4 * SIZE {
            bytes.clear();
            OUT.with_borrow_mut(|pool| {
                if pool.len() < MAX_FREE_BUFFERS {
                    pool.push(bytes);
                }
            });
        }
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.release();
    }
}
