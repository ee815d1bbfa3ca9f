//! The state of a connection's request streams that the engine and the tasks of the requests share.

use crate::ids::IdHasher;
use bytes::Bytes;
use edge_http::h3::request::RequestDecoder;
use edge_http::priority::Urgency;
use quinn_proto::StreamId;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::task::Waker;
use std::time::Instant;

/// The state of one request stream.
#[derive(Default)]
pub(super) struct RequestSlot {
    /// The decoder of an incomplete head, and the time at which the stream was opened. `None` once the head is
    /// complete.
    pub(super) head: Option<Box<(RequestDecoder, Instant)>>,
    /// True if a task owns the stream.
    pub(super) taken: bool,
    /// The output that QUIC has not accepted yet, in its order.
    pub(super) out: VecDeque<Bytes>,
    /// The number of bytes in `out`.
    pub(super) out_bytes: usize,
    /// True if the stream is in the queue of those that wait for their turn to pass output to QUIC.
    pub(super) waits: bool,
    /// True if QUIC accepted less than it was offered since the stream's own flow-control window is exhausted.
    pub(super) stalled: bool,
    /// The urgencies that were stated for the response (RFC 9218).
    pub(super) urgency: Urgency,
    /// True if the stream ends after the output in `out`.
    pub(super) fin: bool,
    /// True if nothing more can be sent: this side reset the stream, or the client stopped it.
    pub(super) dead: bool,
    /// True if the stream was counted as an aborted request.
    pub(super) counted: bool,
    /// The task that waits for content. `None` if none waits.
    pub(super) reader: Option<Waker>,
    /// The task that waits for room to send. `None` if none waits.
    pub(super) writer: Option<Waker>,
    /// The task to wake when the stream ends. `None` if none waits.
    pub(super) watcher: Option<Waker>,
}

impl RequestSlot {
    /// Wakes every task that waits for this stream. Returns true if there was one.
    pub(super) fn wake(&mut self) -> bool {
        let wakers = [self.reader.take(), self.writer.take(), self.watcher.take()];
        wakers.into_iter().flatten().map(Waker::wake).count() > 0
    }
}

pub(super) use crate::ids::remember;

/// The request streams of a connection, by their identifier.
pub(super) type RequestTable = HashMap<StreamId, RequestSlot, BuildHasherDefault<IdHasher>>;
/// A map by stream identifier.
pub(super) type StreamMap<T> = HashMap<StreamId, T, BuildHasherDefault<IdHasher>>;
