//! Reads of content into several buffers by one system call.
//!
//! After each read of a socket that has more input than fits into a buffer, the kernel announces a larger window to the
//! service, which sends more within the same call. One read of 512 KiB saves seven of eight announcements.

use super::UpstreamTransport;
use crate::buffer::{ReadBuffer, SIZE};
use crate::socket::Socket;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::task::{Context, Poll, ready};

/// The highest number of buffers that one read fills.
const MAX_BUFFERS: usize = 8;
/// The number of buffers on a worker that may wait behind the first of their exchange. If clients that read slowly leave
/// as many, each further read fills one buffer. 128 buffers are 8 MiB.
const MAX_WAITING: usize = 128;

thread_local! {
    /// The number of buffers of the thread that wait behind the first of their exchange.
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// The input of an upstream connection: a read buffer, and further buffers that the same system call filled.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// The first part of the input. Empty only if nothing waits behind it.
    first: ReadBuffer,
    /// The rest of the input, in order.
    waiting: VecDeque<ReadBuffer>,
    /// The number of buffers that the last read filled. 0 if its last buffer was not filled.
    filled: usize,
}

impl ReadAhead {
    /// Returns the first part of the input that was not consumed: all of it, unless several buffers were filled.
    pub(super) fn bytes(&self) -> &[u8] {
        self.first.bytes()
    }

    /// Returns true if there is no input that was not consumed.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Consumes the first `n` bytes of [`Self::bytes`].
    pub(super) fn consume(&mut self, n: usize) {
        self.first.consume(n);
        self.advance();
    }

    /// Consumes the first `n` bytes of [`Self::bytes`] and returns them, without a copy under the conditions of
    /// [`ReadBuffer::take`].
    pub(super) fn take(&mut self, n: usize) -> Bytes {
        let bytes = self.first.take(n);
        self.advance();
        bytes
    }

    /// Releases the memory for reuse if no input is left. No effect otherwise.
    pub(super) fn release(&mut self) {
        self.first.release();
    }

    /// Makes more input available in [`Self::bytes`]: appends what was read already, else reads once. If the previous
    /// read filled all of its buffers and no input is left, up to twice as many are filled, for at most `expected`
    /// bytes. Returns the number of bytes; `Ok(0)` is the end of the stream, and also the result if the first part is
    /// [`SIZE`] bytes long.
    ///
    /// # Errors
    /// The error of `wire`.
    pub(super) fn poll_fill(
        &mut self,
        wire: &mut UpstreamTransport,
        expected: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(next) = self.waiting.front_mut() {
            let n = self.first.append(next);
            if next.is_empty() {
                self.pop();
            }
            return Poll::Ready(Ok(n));
        }
        let buffers = self.next_buffers(expected);
        let n = match wire {
            UpstreamTransport::Plain(socket) if buffers > 1 => {
                ready!(self.poll_read_several(socket, buffers, cx))?
            }
            _ => ready!(self.first.poll_fill(wire, cx))?,
        };
        self.filled = if n == buffers * SIZE { buffers } else { 0 };
        Poll::Ready(Ok(n))
    }

    /// Returns the number of buffers that the next read may fill, of which `expected` bytes need as many.
    fn next_buffers(&self, expected: u64) -> usize {
        if self.filled == 0 || !self.first.is_empty() || WAITING.get() + MAX_BUFFERS > MAX_WAITING {
            return 1;
        }
        let needed = usize::try_from(expected.div_ceil(SIZE as u64)).unwrap_or(usize::MAX);
        (2 * self.filled).min(MAX_BUFFERS).min(needed).max(1)
    }

    /// Reads once into `buffers` buffers, of which [`Self::first`] becomes the first. It must be empty.
    ///
    /// # Errors
    /// The error of the socket.
    fn poll_read_several(
        &mut self,
        socket: &mut Socket,
        buffers: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(socket.poll_read_ready(cx))?;
            let mut parts: [ReadBuffer; MAX_BUFFERS] = Default::default();
            let read = {
                let mut spaces = parts.each_mut().map(|_| IoSliceMut::new(&mut []));
                for (space, part) in spaces.iter_mut().zip(&mut parts).take(buffers) {
                    *space = IoSliceMut::new(part.space());
                }
                socket.try_read_vectored(&mut spaces[..buffers])
            };
            let total = match read {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => continue,
                read => read?,
            };
            let mut left = total;
            for mut part in parts.into_iter().take(total.div_ceil(SIZE)) {
                part.add(left.min(SIZE));
                left -= left.min(SIZE);
                self.waiting.push_back(part);
            }
            WAITING.set(WAITING.get() + self.waiting.len());
            self.advance();
            return Poll::Ready(Ok(total));
        }
    }

    /// Replaces an empty first part by the next one.
    fn advance(&mut self) {
        if self.first.is_empty()
            && let Some(next) = self.pop()
        {
            self.first = next;
        }
    }

    /// Removes the first buffer of the rest and returns it. `None` if nothing waits.
    fn pop(&mut self) -> Option<ReadBuffer> {
        let next = self.waiting.pop_front()?;
        WAITING.set(WAITING.get().saturating_sub(1));
        Some(next)
    }
}

impl Drop for ReadAhead {
    /// Returns the buffers, also to the number of those that may wait. A thread that ends has no use for it.
    fn drop(&mut self) {
        let _ = WAITING.try_with(|waiting| waiting.set(waiting.get().saturating_sub(self.waiting.len())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    /// Returns a runtime for one thread.
    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    /// Returns the input of a connection, and both of its ends. The socket's buffers contain at least `bytes` bytes.
    fn connected(bytes: usize) -> (ReadAhead, UpstreamTransport, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        socket2::SockRef::from(&theirs).set_send_buffer_size(2 * bytes).unwrap();
        (ReadAhead::default(), UpstreamTransport::Plain(Socket::Unix(ours)), theirs)
    }

    /// Waits for input with `expected` bytes still to come, and returns the number of bytes.
    async fn fill(input: &mut ReadAhead, wire: &mut UpstreamTransport, expected: u64) -> usize {
        poll_fn(|cx| input.poll_fill(wire, expected, cx)).await.unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever parts are consumed and whenever more is asked for, the bytes are those that were sent, in their
        /// order, and no buffer remains counted.
        #[test]
        fn content_is_unchanged(
            length in 0usize..1_200_000,
            parts in proptest::collection::vec((1usize..150_000, any::<bool>(), any::<bool>()), 1..40),
        ) {
            runtime().block_on(async {
                let sent: Vec<u8> = (0..length).map(|n| (n / 7 % 251) as u8).collect();
                let (mut input, mut wire, mut theirs) = connected(100_000);
                let mut received = Vec::new();
                let write = async {
                    theirs.write_all(&sent).await.unwrap();
                    theirs.shutdown().await.unwrap();
                };
                let read = async {
                    for (part, take, more) in parts.iter().cycle() {
                        if (input.is_empty() || *more) && input.bytes().len() < SIZE {
                            let n = fill(&mut input, &mut wire, u64::MAX).await;
                            if n == 0 && input.is_empty() {
                                return;
                            }
                        }
                        let part = (*part).min(input.bytes().len());
                        if *take {
                            received.extend_from_slice(&input.take(part));
                        } else {
                            received.extend_from_slice(&input.bytes()[..part]);
                            input.consume(part);
                        }
                    }
                };
                tokio::join!(write, read);
                prop_assert!(received == sent, "{} of {length} bytes", received.len());
                drop(input);
                prop_assert_eq!(WAITING.get(), 0);
                Ok(())
            })?;
        }
    }

    #[test]
    fn reads_grow_while_they_are_filled_and_stay_within_the_expected_bytes() {
        runtime().block_on(async {
            let (mut input, mut wire, mut theirs) = connected(5 * SIZE);
            // Buffers that are sent, bytes that are expected, and buffers that are read.
            let reads = [
                (2, u64::MAX, 1),
                (1, u64::MAX, 2),
                (4, 3 * SIZE as u64 - 1, 3),
                // Not all 6 are filled.
                (4, u64::MAX, 5),
                (2, u64::MAX, 1),
                (0, 1, 1),
            ];
            for (sent, expected, read) in reads {
                theirs.write_all(&vec![b'x'; sent * SIZE]).await.unwrap();
                assert_eq!(fill(&mut input, &mut wire, expected).await, read * SIZE, "{sent} {expected}");
                while !input.is_empty() {
                    let n = input.bytes().len();
                    input.consume(n);
                }
            }
        });
    }

    #[test]
    fn a_worker_whose_clients_do_not_read_fills_one_buffer_by_a_read() {
        runtime().block_on(async {
            let mut slow = Vec::new();
            while WAITING.get() + MAX_BUFFERS <= MAX_WAITING {
                let (mut input, mut wire, mut theirs) = connected(5 * SIZE);
                theirs.write_all(&vec![b'x'; 5 * SIZE]).await.unwrap();
                input.filled = MAX_BUFFERS;
                assert_eq!(fill(&mut input, &mut wire, u64::MAX).await, 5 * SIZE);
                slow.push(input);
            }
            assert_eq!(slow.len(), 31);
            let (mut input, mut wire, mut theirs) = connected(5 * SIZE);
            theirs.write_all(&vec![b'x'; 5 * SIZE]).await.unwrap();
            input.filled = MAX_BUFFERS;
            assert_eq!(fill(&mut input, &mut wire, u64::MAX).await, SIZE);
            drop(slow);
            assert_eq!(WAITING.get(), 0);
            input.consume(SIZE);
            assert_eq!(fill(&mut input, &mut wire, u64::MAX).await, 2 * SIZE);
        });
    }
}
