//! The state of each stream that has a task.

use crate::body::BodyError;
use crate::ids::IdHasher;
use bytes::BytesMut;
use edge_http::Fields;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::task::Waker;

pub(crate) use crate::ids::remember;

/// Kept for the next streams of a worker.
const KEPT: usize = 256;

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
    /// Content that was not read yet.
    /// However it was cut, it takes no more memory than a window allows.
    pub(super) input: BytesMut,
    pub(super) body: StreamBody,
    pub(super) trailers: Option<Fields>,
    /// Content that is announced and did not come yet.
    pub(super) expected: Option<u64>,
    pub(super) send_window: i64,
    pub(super) receive_window: i64,
    /// Its window as it was announced.
    pub(super) window: u32,
    pub(super) unreleased: u32,
    /// Nothing more can be sent: either side reset the stream, or its connection ended.
    pub(super) dead: bool,
    /// It waits for its turn to send.
    pub(super) waits: bool,
    /// Bytes that it may still send in its turn while others wait.
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
            if pool.len() < KEPT {
                pool.push(self);
            }
        });
    }

    /// Nothing more comes and nothing more goes. Content that came before can still be read.
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
