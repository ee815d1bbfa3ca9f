//! The state of a stream that is owned by a task.

use crate::body::BodyError;
use crate::ids::IdHasher;
use bytes::BytesMut;
use edge_http::Fields;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::task::Waker;

pub(crate) use crate::ids::remember;

/// The number of slots that a worker keeps for reuse.
const MAX_POOLED_SLOTS: usize = 256;

thread_local! {
    // It is the boxes that are used again.
    #[allow(clippy::vec_box)]
    static POOL: RefCell<Vec<Box<StreamSlot>>> = const { RefCell::new(Vec::new()) };
}

pub(super) type StreamTable = HashMap<u32, Box<StreamSlot>, BuildHasherDefault<IdHasher>>;

/// The progress of a request's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StreamBody {
    #[default]
    Coming,
    Ended,
    Failed(BodyError),
}

/// The state of a stream.
#[derive(Default)]
pub(super) struct StreamSlot {
    /// The content that is not read yet. It occupies no more memory than the window, regardless of its frames.
    pub(super) input: BytesMut,
    pub(super) body: StreamBody,
    pub(super) trailers: Option<Fields>,
    /// The number of declared content bytes that have not arrived.
    pub(super) expected: Option<u64>,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    /// The receive window of the stream as announced.
    pub(super) window: u32,
    pub(super) unreleased: u32,
    /// True if nothing more can be sent: either side reset the stream, or the connection ended.
    pub(super) dead: bool,
    /// True if the stream waits for its turn to send.
    pub(super) waits: bool,
    /// The number of bytes that the stream may still send in its turn while others wait.
    pub(super) turn: usize,
    /// The urgency of its response, from 0 to 7 (RFC 9218 §4.1).
    pub(super) urgency: u8,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

impl StreamSlot {
    pub(super) fn new() -> Box<Self> {
        POOL.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    pub(super) fn recycle(mut self: Box<Self>) {
        *self = Self::default();
        POOL.with_borrow_mut(|pool| {
            if pool.len() < MAX_POOLED_SLOTS {
                pool.push(self);
            }
        });
    }

    /// Ends both directions. Content that arrived before can still be read.
    pub(super) fn end(&mut self, why: BodyError) {
        self.dead = true;
        if self.body == StreamBody::Coming {
            self.body = StreamBody::Failed(why);
        }
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
