//! The request streams of one connection, as kept by the engine while tasks serve them.

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
    /// The decoder and the start of an incomplete head.
    pub(super) head: Option<Box<(RequestDecoder, Instant)>>,
    /// True if a task owns the stream.
    pub(super) taken: bool,
    /// Output that QUIC did not accept yet.
    pub(super) out: VecDeque<Bytes>,
    pub(super) out_bytes: usize,
    /// True if the stream waits for its turn to pass output to QUIC.
    pub(super) waits: bool,
    /// True if the stream's own flow-control window is exhausted.
    pub(super) stalled: bool,
    /// The urgency of its response, from 0 to 7 (RFC 9218 §4.1).
    pub(super) urgency: u8,
    /// True if the stream ends after `out`.
    pub(super) fin: bool,
    /// True if nothing more can be sent: the stream was reset or stopped.
    pub(super) dead: bool,
    /// True if the stream was counted as aborted by the client.
    pub(super) counted: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

impl RequestSlot {
    /// Wakes every waiting task. Returns whether there was one.
    pub(super) fn wake(&mut self) -> bool {
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().map(Waker::wake).count() > 0
    }
}

pub(super) use crate::ids::remember;

pub(super) type RequestTable = HashMap<StreamId, RequestSlot, BuildHasherDefault<IdHasher>>;
pub(super) type StreamMap<T> = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;
