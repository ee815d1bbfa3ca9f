//! Buffers of a worker: taken when there is input to read and returned when all of it is consumed, so that an idle
//! connection holds none.

use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The size of a read buffer in bytes: the largest request head, or four TLS records.
pub(crate) const SIZE: usize = 64 * 1024;
/// The number of reads of one call of [`ReadBuffer::poll_drain`] after which other tasks run.
const MAX_DRAINS: usize = 16;
/// The highest number of unused buffers that a worker stores for reuse, of each kind. 64 read buffers are 4 MiB.
const MAX_FREE_BUFFERS: usize = 64;

thread_local! {
    /// The unused read buffers of the thread.
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    /// The unused write buffers of the thread.
    static OUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Returns a buffer of [`SIZE`] bytes from the thread's unused ones, or a new one if there is none. Its content is
/// unspecified.
fn whole() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

/// Stores a buffer among the thread's unused ones. It is freed instead if [`MAX_FREE_BUFFERS`] are stored, its size is
/// not [`SIZE`], or the thread is ending.
fn recycle(memory: Box<[u8]>) {
    // A thread that ends has no use for it.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < MAX_FREE_BUFFERS && memory.len() == SIZE {
            pool.push(memory);
        }
    });
}

/// A read buffer that is stored for reuse by the thread that drops it.
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

/// Bytes that were read and are not consumed yet. A whole buffer is in use only while there is input or a read is
/// tried.
#[derive(Default)]
pub(crate) struct ReadBuffer {
    /// The memory that contains the input. `None` if no memory is in use.
    memory: Option<Box<[u8]>>,
    /// The offset of the first byte in `memory` that is not consumed.
    start: usize,
    /// The offset in `memory` behind the last byte of the input.
    end: usize,
}

impl ReadBuffer {
    /// Returns the input that was not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    /// Returns the input that was not consumed, for changes in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().map_or(&mut [], |memory| &mut memory[self.start..self.end])
    }

    /// Returns true if there is no input that was not consumed.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Copies the input into an allocation of exactly its length and releases the whole buffer, for input whose rest
    /// may take long to arrive. No effect if more than half a buffer is filled.
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

    /// Stores `bytes`, which were read elsewhere, as the input. The buffer must be empty. Bytes beyond [`SIZE`] are
    /// discarded. No effect if there are none.
    pub(crate) fn preset(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let memory = self.memory.get_or_insert_with(whole);
            let n = bytes.len().min(memory.len());
            memory[..n].copy_from_slice(&bytes[..n]);
            self.end = n;
        }
    }

    /// Returns whether [`SIZE`] bytes of input wait to be consumed, so that no more fit.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start >= SIZE
    }

    /// Removes `n` bytes from the front of the input, which must have as many. The memory remains in use.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end);
        if self.start >= self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Consumes the first `n` bytes and returns them. All of the input is returned without a copy, in its buffer, if it
    /// is at least half a buffer; anything else is copied, so that small parts do not occupy a buffer.
    ///
    /// # Panics
    /// If `n` exceeds the length of the input and the input is not empty.
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

    /// Releases the memory for reuse if no input is left. No effect otherwise.
    pub(crate) fn release(&mut self) {
        if self.is_empty()
            && let Some(memory) = self.memory.take()
        {
            self.start = 0;
            self.end = 0;
            recycle(memory);
        }
    }

    /// Returns the free memory behind the input.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.memory.get_or_insert_with(whole)[self.end..]
    }

    /// Adds to the input the first `n` bytes of [`Self::space`], which must have as many.
    pub(crate) fn add(&mut self, n: usize) {
        self.end += n;
        debug_assert!(self.end <= self.memory.as_ref().map_or(0, |memory| memory.len()));
    }

    /// Moves as much of the input of `next` behind this input as fits, and returns the number of bytes.
    pub(crate) fn append(&mut self, next: &mut Self) -> usize {
        self.make_room();
        let space = self.space();
        let n = next.bytes().len().min(space.len());
        space[..n].copy_from_slice(&next.bytes()[..n]);
        self.add(n);
        next.consume(n);
        n
    }

    /// Makes room behind the input: replaces parked memory by a whole buffer, and moves the input of a full one to the
    /// beginning.
    fn make_room(&mut self) {
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
    }

    /// Reads and discards input until the peer closes the connection or reading fails. Closing with unread input would
    /// reset the connection before the client reads the last response (RFC 9112 §9.6). Calls `came` for each
    /// successful read, and yields to other tasks after [`MAX_DRAINS`] reads.
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

    /// Reads once and appends to the input. Returns the number of bytes; `Ok(0)` is the end of the stream, and also
    /// the result for a full buffer. If nothing is available and there is no input, the memory is released.
    ///
    /// # Errors
    /// The error of `io`.
    pub(crate) fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut space = ReadBuf::new(self.space());
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

/// The total length in bytes from which on parts are written directly, without a copy into the buffer.
const MIN_DIRECT_WRITE: usize = 8 * 1024;

/// A sink that accepts as many bytes as it can without blocking.
pub(crate) trait ImmediateWrite {
    /// Writes as many bytes of these parts, in their order, as are accepted now, and returns their number. Returns 0
    /// if none are accepted, also after an error, which the next ordinary write reports.
    fn put(&mut self, parts: &[&[u8]]) -> usize;
}

/// Output that is not written yet. Memory of the thread is in use only while there is output.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    /// The output, including the part that was written.
    bytes: Vec<u8>,
    /// The number of bytes at the beginning of `bytes` that were written.
    written: usize,
}

impl WriteBuffer {
    /// Returns the vector that output is appended to. Its beginning may be bytes that are written already, so it must
    /// not be changed otherwise.
    pub(crate) fn push(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = OUT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(4096));
        }
        &mut self.bytes
    }

    /// Appends three parts to the output. If they are at least [`MIN_DIRECT_WRITE`] bytes together, the pending output
    /// and then the parts are first written to `wire` as far as it accepts them now, and only the rest is buffered.
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

    /// Returns the number of bytes that are not written yet.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Writes all pending output, then releases the memory for reuse. Completes only when nothing is pending.
    ///
    /// # Errors
    /// The error of `io`, or `WriteZero` if it accepts no bytes.
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

    /// Removes the written bytes from the vector once they are at least 32 KiB, so that the vector does not grow while
    /// a client never accepts all of the output.
    fn compact(&mut self) {
        if self.written >= SIZE / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Discards the pending output and stores the memory for reuse, or frees it if it is larger than 256 KiB or
    /// [`MAX_FREE_BUFFERS`] are stored.
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
