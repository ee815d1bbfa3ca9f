//! The state of an HTTP/2 stream that is served by a task.

use crate::body::BodyError;
use crate::ids::IdHasher;
use bytes::BytesMut;
use edge_http::Fields;
use edge_http::priority::Urgency;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::task::Waker;

pub(crate) use crate::ids::remember;

/// The highest number of unused stream states that a worker stores for reuse.
const MAX_POOLED_SLOTS: usize = 256;

thread_local! {
    /// The unused stream states of the thread, at most [`MAX_POOLED_SLOTS`].
    // It is the boxes that are used again.
    #[allow(clippy::vec_box)]
    static POOL: RefCell<Vec<Box<StreamSlot>>> = const { RefCell::new(Vec::new()) };
}

/// The streams of a connection, by their identifier.
pub(super) type StreamTable = HashMap<u32, Box<StreamSlot>, BuildHasherDefault<IdHasher>>;

/// The progress of a request's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StreamBody {
    /// More content is expected.
    #[default]
    Coming,
    /// The content is complete.
    Ended,
    /// The content failed with this error.
    Failed(BodyError),
}

/// The state of a stream: received content, flow-control windows, and the tasks that wait for it.
#[derive(Default)]
pub(super) struct StreamSlot {
    /// The received content that is not consumed yet. The bytes of successive frames are joined, so that small frames
    /// occupy no more memory than the window permits.
    pub(super) input: BytesMut,
    /// The progress of the request's content.
    pub(super) body: StreamBody,
    /// The trailers of the request, once they have arrived. `None` before, and without trailers.
    pub(super) trailers: Option<Fields>,
    /// The number of declared content bytes that have not arrived. `None` if no length was declared.
    pub(super) expected: Option<u64>,
    /// The number of content bytes that the client accepts on this stream. May be negative (RFC 9113 §6.9.2).
    pub(super) send_window: i64,
    /// The number of content bytes that the client may still send on this stream.
    pub(super) receive_window: i64,
    /// The size of the stream's receive window as announced to the client, in bytes.
    pub(super) window: u32,
    /// The number of consumed content bytes that no WINDOW_UPDATE has returned to the client yet.
    pub(super) unreleased: u32,
    /// True if nothing more can be sent: the stream was reset by either side or dropped, or the connection ended.
    pub(super) dead: bool,
    /// True if the stream is in the queue of those that wait for their turn to send.
    pub(super) waits: bool,
    /// The number of bytes that the stream may still send before others get their turn. Without effect while no other
    /// waits.
    pub(super) turn: usize,
    /// The urgencies that were stated for the response (RFC 9218).
    pub(super) urgency: Urgency,
    /// The task that waits for content. `None` if none waits.
    pub(super) reader: Option<Waker>,
    /// The task that waits for room to send. `None` if none waits.
    pub(super) writer: Option<Waker>,
    /// The task to wake when the stream ends. `None` if none waits.
    pub(super) watcher: Option<Waker>,
}

impl StreamSlot {
    /// Returns the default state of a new stream, in a box of the thread's pool if there is one.
    pub(super) fn new() -> Box<Self> {
        POOL.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Clears the state and puts its box into the thread's pool for reuse, or frees it if the pool is full.
    pub(super) fn recycle(mut self: Box<Self>) {
        *self = Self::default();
        POOL.with_borrow_mut(|pool| {
            if pool.len() < MAX_POOLED_SLOTS {
                pool.push(self);
            }
        });
    }

    /// Ends both directions and wakes the waiting tasks. If more content was expected, reading fails with `why` after
    /// the content that has arrived is read.
    pub(super) fn end(&mut self, why: BodyError) {
        self.dead = true;
        if self.body == StreamBody::Coming {
            self.body = StreamBody::Failed(why);
        }
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Wakes the task that waits for content. No effect if none waits.
    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
