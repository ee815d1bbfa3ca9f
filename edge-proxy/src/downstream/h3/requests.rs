//! The requests of one connection: what the engine keeps of each while a task works on it.

use crate::ids::IdHasher;
use bytes::Bytes;
use edge_http::h3::request::RequestDecoder;
use quinn_proto::StreamId;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::task::Waker;
use std::time::Instant;

/// One request stream.
#[derive(Default)]
pub(super) struct RequestSlot {
    /// While its head is not whole.
    pub(super) head: Option<Box<(RequestDecoder, Instant)>>,
    /// A task has it.
    pub(super) taken: bool,
    /// The data that QUIC did not accept yet.
    pub(super) out: VecDeque<Bytes>,
    pub(super) out_bytes: usize,
    /// It waits for its turn to give QUIC what it has.
    pub(super) waits: bool,
    /// Its own window is used up, which only its client can change.
    pub(super) stalled: bool,
    /// The urgency of its response, from 0 to 7 (RFC 9218 §4.1).
    pub(super) urgency: u8,
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

impl RequestSlot {
    /// Wakes every waiting task.
    pub(super) fn wake(&mut self) -> bool {
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().map(Waker::wake).count() > 0
    }
}

pub(super) use crate::ids::remember;

pub(super) type RequestTable = HashMap<StreamId, RequestSlot, BuildHasherDefault<IdHasher>>;
pub(super) type ById<T> = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;
