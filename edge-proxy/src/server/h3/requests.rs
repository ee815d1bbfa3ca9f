//! The requests of one connection: what the engine keeps of each while a task works on it.

use crate::h3::request::RequestDecoder;
use bytes::Bytes;
use quinn_proto::StreamId;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;
use std::time::Instant;

/// One request stream.
#[derive(Default)]
pub(super) struct Slot {
    /// While its head is not whole.
    pub(super) head: Option<Box<(RequestDecoder, Instant)>>,
    /// A task has it.
    pub(super) taken: bool,
    /// What QUIC did not take yet.
    pub(super) out: VecDeque<Bytes>,
    pub(super) out_bytes: usize,
    /// The stream ends after that.
    pub(super) fin: bool,
    /// Nothing more can be sent: it was reset, or the client stopped it.
    pub(super) dead: bool,
    /// It was counted among the requests that the client broke off.
    pub(super) counted: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

impl Slot {
    /// Wakes whoever waits for anything.
    pub(super) fn wake(&mut self) -> bool {
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().map(Waker::wake).count() > 0
    }
}

/// Remembers a waker, without a new one for the same task.
pub(super) fn remember(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(known) if known.will_wake(waker) => {}
        _ => *place = Some(waker.clone()),
    }
}

pub(super) type Slots = HashMap<StreamId, Slot, BuildHasherDefault<IdHasher>>;
pub(super) type ById<T> = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;

/// Stream ids are counted upwards and never far apart, so no client can make them collide.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: the table looks at both ends of the word.
        self.0 = (self.0.rotate_left(5) ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
