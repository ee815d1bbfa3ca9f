//! The buffer of encrypted records that are to be written. Its memory belongs to the worker and is in use only while
//! bytes are pending.

use crate::socket::Socket;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// The size of a small buffer in bytes, enough for one record and tickets.
const SMALL_SIZE: usize = 20 * 1024;
/// The size of a large buffer in bytes, enough for the content of one write. Larger buffers are multiples of it.
const LARGE_SIZE: usize = 72 * 1024;
/// The highest number of unused small buffers that a worker stores for reuse.
const MAX_POOLED_SMALL: usize = 64;
/// The highest number of unused large buffers that a worker stores for reuse.
const MAX_POOLED_LARGE: usize = 32;

thread_local! {
    /// The unused small buffers of the thread.
    static SMALLS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    /// The unused large buffers of the thread.
    static LARGES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Encrypted bytes that are not written yet. Memory is in use only while there are any.
#[derive(Default)]
pub(crate) struct RecordBuffer {
    /// The memory that contains the bytes.
    memory: Vec<u8>,
    /// The offset in `memory` of the first byte that is not written.
    start: usize,
    /// The offset in `memory` behind the last pending byte.
    end: usize,
}

impl RecordBuffer {
    /// Returns true if all bytes were written.
    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Returns the number of bytes that are not written yet.
    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns the pending bytes.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Reserves space for this many bytes behind the pending ones, so that the buffer does not move while they are
    /// appended. Takes memory of the worker's pool if there is some of sufficient size.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        let needed = self.end + bytes;
        if needed <= self.memory.len() {
            return;
        }
        let (pool, size) = if needed <= SMALL_SIZE {
            (&SMALLS, SMALL_SIZE)
        } else {
            (&LARGES, needed.next_multiple_of(LARGE_SIZE))
        };
        let mut memory = pool
            .with_borrow_mut(Vec::pop)
            .filter(|memory| memory.len() >= needed)
            .unwrap_or_else(|| vec![0; size]);
        memory[..self.end - self.start].copy_from_slice(&self.memory[self.start..self.end]);
        let end = self.end - self.start;
        self.release();
        (self.memory, self.start, self.end) = (memory, 0, end);
    }

    /// Returns `bytes` bytes of unspecified content behind the pending ones, to be overwritten. They become pending by
    /// [`RecordBuffer::commit`].
    pub(crate) fn claim(&mut self, bytes: usize) -> &mut [u8] {
        self.reserve(bytes);
        &mut self.memory[self.end..self.end + bytes]
    }

    /// Makes the first `bytes` bytes of [`RecordBuffer::claim`] pending.
    pub(crate) fn commit(&mut self, bytes: usize) {
        self.end += bytes;
        debug_assert!(self.end <= self.memory.len());
    }

    /// Appends bytes to the pending ones.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.claim(bytes.len()).copy_from_slice(bytes);
        self.commit(bytes.len());
    }

    /// Writes all pending bytes and then releases the memory. Completes only when nothing is pending.
    ///
    /// # Errors
    /// The error of the socket, or `WriteZero` if it accepts nothing.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut Socket) -> Poll<io::Result<()>> {
        while self.start < self.end {
            let n = ready!(Pin::new(&mut *io).poll_write(cx, &self.memory[self.start..self.end]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.start += n;
        }
        self.release();
        Poll::Ready(Ok(()))
    }

    /// Discards the pending bytes and returns the memory to the worker's pool, or frees it if it has another size or
    /// the pool is full.
    fn release(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        (self.start, self.end) = (0, 0);
        let (pool, kept) = match memory.len() {
            0 => return,
            SMALL_SIZE => (&SMALLS, MAX_POOLED_SMALL),
            LARGE_SIZE => (&LARGES, MAX_POOLED_LARGE),
            _ => return,
        };
        pool.with_borrow_mut(|pool| {
            if pool.len() < kept {
                pool.push(memory);
            }
        });
    }
}

impl Drop for RecordBuffer {
    fn drop(&mut self) {
        self.release();
    }
}
