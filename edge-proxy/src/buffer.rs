//! Buffers of a worker: taken when there is something to read and returned when all of it is consumed, so that an idle
//! connection holds none.

use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a buffer: a head of the largest allowed size fits, and four TLS records.
pub(crate) const SIZE: usize = 64 * 1024;
/// Buffers that are read and thrown away before others have their turn.
const DRAINS: usize = 16;
/// Buffers a worker keeps for reuse: 4 MiB.
const KEPT: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static OUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Returns a buffer, a used one if there is any.
fn whole() -> Box<[u8]> {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE].into_boxed_slice())
}

/// Keeps a buffer for the next who needs one.
fn give_back(memory: Box<[u8]>) {
    // A thread that ends has no use for it.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT && memory.len() == SIZE {
            pool.push(memory);
        }
    });
}

/// A buffer that is returned when no one needs its content any more.
struct Lent(Box<[u8]>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.0));
    }
}

/// Bytes that were read and are not consumed yet.
#[derive(Default)]
pub(crate) struct Input {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[self.start..self.end])
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().map_or(&mut [], |memory| &mut memory[self.start..self.end])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Keeps what is there in no more memory than it needs: the rest may be long in coming.
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

    /// Puts bytes in that were read elsewhere. They fit.
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

    /// The first `n` bytes, consumed. Much is given away as it is, with the memory that it is in; little is copied, so that memory is
    /// never held for it.
    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        if n == self.end - self.start
            && n >= SIZE / 2
            && let Some(memory) = self.memory.take_if(|memory| memory.len() == SIZE)
        {
            let range = self.start..self.end;
            (self.start, self.end) = (0, 0);
            return Bytes::from_owner(Lent(memory)).slice(range);
        }
        let bytes = Bytes::copy_from_slice(&self.bytes()[..n]);
        self.consume(n);
        bytes
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty()
            && let Some(memory) = self.memory.take()
        {
            self.start = 0;
            self.end = 0;
            give_back(memory);
        }
    }

    /// Reads until the client closes and throws everything away: closing with unread bytes would reset the connection before what was
    /// said last is read (RFC 9112 §9.6). Each time something came, `came` is called. Others have their turn in between.
    pub(crate) fn poll_drain(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        mut came: impl FnMut(),
    ) -> Poll<()> {
        for _ in 0..DRAINS {
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

    /// Reads once. `Ok(0)` is the end of the stream. While nothing comes and nothing is held, no memory is either.
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

impl Drop for Input {
    fn drop(&mut self) {
        self.start = 0;
        self.end = 0;
        self.release();
    }
}

/// The size from which a write without a copy is cheaper.
const AT_ONCE: usize = 8 * 1024;

/// A sink that accepts bytes without waiting.
pub(crate) trait ImmediateWrite {
    /// Takes as many of these bytes as it can now, and says how many. If something is wrong it takes none, and says so when it is
    /// written to next.
    fn put(&mut self, parts: &[&[u8]]) -> usize;
}

/// Bytes that are to be written.
#[derive(Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    /// The vector to append to.
    pub(crate) fn push(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = OUT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(4096));
        }
        &mut self.bytes
    }

    /// Appends these bytes. Many are given to the wire as they are, behind what waits.
    pub(crate) fn pass(&mut self, wire: &mut impl ImmediateWrite, parts: [&[u8]; 3]) {
        let mut taken = 0;
        if parts.iter().map(|part| part.len()).sum::<usize>() >= AT_ONCE {
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

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Writes all of it.
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

    /// Drops what was written, once it is much: else a client that always leaves something would make the memory grow.
    fn compact(&mut self) {
        if self.written >= SIZE / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    /// Forgets what waits.
    pub(crate) fn release(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.written = 0;
        if bytes.capacity() > 0 && bytes.capacity() <= 4 * SIZE {
            bytes.clear();
            OUT.with_borrow_mut(|pool| {
                if pool.len() < KEPT {
                    pool.push(bytes);
                }
            });
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.release();
    }
}
