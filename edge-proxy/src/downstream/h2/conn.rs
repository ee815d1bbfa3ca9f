//! The state of a client's HTTP/2 connection, without I/O: input, output, and the streams.

mod discard;
mod frames;
mod responses;
mod section;
mod silence;
mod turns;
mod windows;

use self::turns::Active;
use self::windows::{STREAM_WINDOW, WINDOW, Windows};
use super::slot::{StreamBody, StreamTable};
use crate::body::BodyError;
use crate::buffer::{SIZE, WriteBuffer};
use crate::send_queue::SendQueue;
use discard::{DeferredReset, DiscardedRequest};
use edge_http::RequestHead;
use edge_http::h2::hpack::HpackDecoder;
use edge_http::h2::{Code, frame};
use edge_http::section::SectionLimits;
use edge_policy::Reason;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

/// The largest flow-control window (RFC 9113 §6.9.1).
const MAX_WINDOW: i64 = (1 << 31) - 1;
/// The number of bytes of pending output from which on no more input is read. Content fills at most half of it; the
/// rest is for response heads and replies to frames, for a client that sends requests without reading responses.
const MAX_PENDING_OUTPUT: usize = 2 * SIZE;
/// The number of streams reset by this side that are remembered, so that frames that the client sent before it
/// received the reset are ignored. The oldest are forgotten first.
const MAX_REMEMBERED_RESETS: usize = 128;
/// The number by which the count of aborted requests decreases per second.
const ABORTS_PER_SECOND: u32 = 20;

/// The limits of one connection: concurrent streams, aborted requests beyond the tolerated rate, and the size of field
/// sections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http2Limits {
    /// The highest number of concurrent streams.
    pub(super) streams: u32,
    /// The highest count of aborted requests, which decreases by [`ABORTS_PER_SECOND`]. One more closes the connection.
    pub(super) resets: u32,
    /// The limits of field sections.
    pub(super) section: SectionLimits,
}

/// A request whose head is complete.
pub(super) struct PendingRequest {
    /// The identifier of the stream.
    pub(super) id: u32,
    /// The head of the request.
    pub(super) head: RequestHead,
}

/// The progress of a graceful GOAWAY of this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoAway {
    /// No GOAWAY was sent.
    No,
    /// GOAWAY was sent with the highest possible stream ID, and a PING whose acknowledgement shows that the client has
    /// received it.
    Asked,
    /// A second GOAWAY was sent, with the ID of the last accepted stream. Later streams are ignored.
    Named,
}

/// A field section whose frames have not all arrived.
struct Block {
    /// The identifier of the stream.
    id: u32,
    /// True if the stream ends with this section.
    end: bool,
    /// True if the priority fields of the HEADERS frame make the stream depend on itself, which is an error.
    own: bool,
    /// The received part of the section.
    bytes: Vec<u8>,
}

/// The state of a client's HTTP/2 connection, without I/O.
pub(super) struct Http2Connection {
    /// The limits of the connection.
    limits: Http2Limits,
    /// The open streams.
    pub(super) slots: StreamTable,
    /// The encoded frames that are not written yet.
    pub(super) out: WriteBuffer,
    /// The stream and the offset in `out` of the last frame that END_STREAM can still be set on. `None` once writing
    /// of `out` has begun.
    last: Option<(u32, usize)>,
    /// The HPACK decoder of the connection.
    decoder: HpackDecoder,
    /// The incomplete field section. `None` if there is none.
    block: Option<Block>,
    /// True if the client's connection preface was received completely.
    preface: bool,
    /// True if the client's first SETTINGS frame was received.
    begun: bool,
    /// The highest stream identifier that the client has used. 0 before the first request.
    highest: u32,
    /// The highest stream identifier that is accepted, as announced by the second GOAWAY. `u32::MAX` before that.
    accepted: u32,
    /// The progress of this side's GOAWAY.
    leaving: GoAway,
    /// True if the client sent GOAWAY.
    client_leaves: bool,
    /// The initial send window of streams, from the client's SETTINGS.
    initial_window: i64,
    /// The number of content bytes that may be sent on the connection, by the client's flow control.
    send_window: i64,
    /// The number of content bytes that the client may still send on the connection.
    receive_window: i64,
    /// The size of the connection's receive window as announced to the client, in bytes.
    connection_window: u32,
    /// The sizes of receive windows.
    windows: Windows,
    /// The number of consumed content bytes that no WINDOW_UPDATE of the connection has returned to the client yet.
    unreleased: u32,
    /// True if a field section was sent. The first one states the size of the HPACK dynamic table.
    said_table: bool,
    /// The last streams that this side reset, at most [`MAX_REMEMBERED_RESETS`], the oldest first.
    reset: VecDeque<u32>,
    /// The requests whose response is complete and whose remaining content is discarded.
    discarded: VecDeque<DiscardedRequest>,
    /// The resets that are written once all other pending output is.
    deferred_resets: Vec<DeferredReset>,
    /// The count of aborted requests, which decreases by [`ABORTS_PER_SECOND`].
    aborted: u32,
    /// The time at which the input that was processed last arrived.
    now: Instant,
    /// The time at which `aborted` was last decreased.
    forgiven: Instant,
    /// The error code by which this side closed the connection. `None` while it has not.
    failed: Option<Code>,
    /// True if the transport has ended or failed, so that nothing can be sent or received.
    lost: bool,
    /// The streams that wait for room in the output buffer or in the connection's window.
    send_queue: SendQueue<u32>,
    /// True if several streams wait to send, so that each may send a limited number of bytes in its turn.
    contended: bool,
    /// The most urgent streams that were active lately, for which less urgent ones wait. `None` if they had nothing to
    /// send.
    active: Option<Active>,
    /// The number of output bytes that the socket has accepted since the connection began.
    taken: u64,
    /// The waker of the connection's task. `None` before the task was polled.
    waker: Option<Waker>,
    /// True if the connection's task was woken and has not run since.
    awake: bool,
    /// The identifiers of the streams that were dropped without output, while all output is held back. `None` if
    /// output is sent.
    silence: Option<Vec<u32>>,
    /// The reasons of requests that were refused for their heads and are not reported yet.
    pub(super) refused: Vec<Reason>,
}

impl Http2Connection {
    /// Creates the state of a new connection, and queues this side's SETTINGS and the WINDOW_UPDATE that enlarges the
    /// connection's window.
    pub(super) fn new(limits: Http2Limits, now: Instant) -> Self {
        let mut conn = Self {
            limits,
            slots: StreamTable::default(),
            out: WriteBuffer::default(),
            last: None,
            decoder: HpackDecoder::new(),
            block: None,
            preface: false,
            begun: false,
            highest: 0,
            accepted: u32::MAX,
            leaving: GoAway::No,
            client_leaves: false,
            initial_window: 65_535,
            send_window: 65_535,
            receive_window: i64::from(WINDOW),
            connection_window: WINDOW,
            windows: Windows::new(),
            unreleased: 0,
            said_table: false,
            reset: VecDeque::new(),
            discarded: VecDeque::new(),
            deferred_resets: Vec::new(),
            aborted: 0,
            now,
            forgiven: now,
            failed: None,
            lost: false,
            send_queue: SendQueue::default(),
            contended: false,
            active: None,
            taken: 0,
            waker: None,
            awake: false,
            silence: None,
            refused: Vec::new(),
        };
        conn.write_settings();
        conn
    }

    /// Appends the SETTINGS frame of this side (concurrent streams, initial window, size of field sections, extended
    /// CONNECT), and the WINDOW_UPDATE that raises the connection's window to its initial size.
    fn write_settings(&mut self) {
        use frame::setting;
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, self.limits.streams),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, self.limits.section.section as u32),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let mut payload = Vec::with_capacity(24);
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let out = self.out.push();
        frame::write(out, frame::SETTINGS, 0, 0, &payload);
        frame::write(out, frame::WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
    }

    /// Registers the waker of the connection's task, which the next [`Http2Connection::touch`] wakes.
    pub(super) fn register_waker(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        self.awake = false;
    }

    /// Wakes the connection's task, at most once until it registers its waker again. No effect before a waker is
    /// registered.
    pub(super) fn touch(&mut self) {
        if !self.awake
            && let Some(waker) = &self.waker
        {
            self.awake = true;
            waker.wake_by_ref();
        }
    }

    /// Returns the error code for which this side closed the connection. `None` without an error.
    pub(super) const fn failure(&self) -> Option<Code> {
        self.failed
    }

    /// Returns whether a field section has begun whose frames have not all arrived.
    pub(super) const fn is_in_section(&self) -> bool {
        self.block.is_some()
    }

    /// Returns whether the client's first SETTINGS frame was received.
    pub(super) const fn is_begun(&self) -> bool {
        self.begun
    }

    /// Returns whether the client has opened a stream.
    pub(super) const fn had_request(&self) -> bool {
        self.highest > 0
    }

    /// Returns whether less than [`MAX_PENDING_OUTPUT`] bytes of output are pending, so that more requests may be read.
    pub(super) fn has_output_room(&self) -> bool {
        self.out.len() < MAX_PENDING_OUTPUT
    }

    /// Returns whether the connection has ended except for its pending output: the transport is lost, this side closed
    /// it by an error, or a GOAWAY of the client or the second one of this side is followed by the end of all streams
    /// and deferred resets.
    pub(super) fn is_over(&self) -> bool {
        let leaves = self.client_leaves || self.leaving == GoAway::Named;
        self.lost
            || self.failed.is_some()
            || (leaves && self.slots.is_empty() && self.deferred_resets.is_empty())
    }

    /// Closes the connection with this error code: appends GOAWAY with the highest stream ID that the client has used,
    /// and ends all streams. While output is held back, discards the pending output instead of appending GOAWAY. No
    /// effect if the connection has failed or is lost already.
    pub(super) fn fail(&mut self, code: Code) {
        if self.failed.is_some() || self.lost {
            return;
        }
        self.failed = Some(code);
        if self.silence.is_some() {
            self.out.release();
        } else {
            self.write_goaway(self.highest, code);
        }
        self.end_all();
    }

    /// Records that the client is gone: discards the pending output and the deferred resets, and ends all streams.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.deferred_resets.clear();
        self.out.release();
        self.end_all();
    }

    /// Ends all streams in both directions with [`BodyError::Lost`], wakes their tasks, and discards an incomplete
    /// field section.
    fn end_all(&mut self) {
        self.block = None;
        self.send_queue.clear();
        for slot in self.slots.values_mut() {
            slot.end(BodyError::Lost);
        }
    }

    /// Appends a GOAWAY frame with this last stream ID and error code.
    fn write_goaway(&mut self, last: u32, code: Code) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&code.0.to_be_bytes());
        frame::write(self.out.push(), frame::GOAWAY, 0, 0, &payload);
    }

    /// Begins a graceful shutdown (RFC 9113 §6.8): appends GOAWAY with the highest possible stream ID, and a PING that
    /// shows when the client has received it. New requests are accepted until the acknowledgement of the PING. No
    /// effect when repeated.
    pub(super) fn go_away(&mut self) {
        if self.leaving == GoAway::No {
            self.leaving = GoAway::Asked;
            self.write_goaway(MAX_WINDOW as u32, Code::NO_ERROR);
            frame::write(self.out.push(), frame::PING, 0, 0, b"farewell");
        }
    }

    /// Returns whether this side has begun a graceful shutdown by GOAWAY.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != GoAway::No
    }

    /// Counts an aborted request, and closes the connection with ENHANCE_YOUR_CALM if the limit is exceeded. Before
    /// that, the count decreases by [`ABORTS_PER_SECOND`] for each full second since its last decrease. A flood of
    /// aborted requests is an attack on the upstream (CVE-2023-44487, CVE-2025-8671).
    fn count_aborted(&mut self) {
        let seconds = self.now.saturating_duration_since(self.forgiven).as_secs().min(1 << 20) as u32;
        if seconds > 0 {
            self.forgiven = self.now;
            self.aborted = self.aborted.saturating_sub(seconds * ABORTS_PER_SECOND);
        }
        self.aborted += 1;
        if self.aborted > self.limits.resets {
            self.fail(Code::ENHANCE_YOUR_CALM);
        }
    }

    /// Resets a stream: appends RST_STREAM to the pending output, ends the stream in both directions, and wakes the
    /// connection's task. No effect once the connection has ended.
    pub(super) fn reset(&mut self, id: u32, code: Code) {
        if self.lost || self.failed.is_some() {
            return;
        }
        frame::write(self.out.push(), frame::RST_STREAM, 0, id, &code.0.to_be_bytes());
        self.remember_reset(id);
        self.touch();
    }

    /// Ends a stream that was reset, returns its unread content to the connection's window, and remembers its ID.
    /// Frames that the client sends on it before it receives the reset are ignored.
    fn remember_reset(&mut self, id: u32) {
        if self.reset.len() == MAX_REMEMBERED_RESETS {
            self.reset.pop_front();
        }
        self.reset.push_back(id);
        let held = self.slots.get_mut(&id).map_or(0, |slot| {
            slot.end(BodyError::Malformed);
            std::mem::take(&mut slot.input).len()
        });
        self.release_all(held);
    }

    /// Resets a stream for an error of the client, which counts as an aborted request. While output is held back, ends
    /// the stream by [`Http2Connection::fail_in_silence`] instead.
    fn stream_error(&mut self, id: u32, code: Code) {
        if self.silence.is_some() {
            return self.fail_in_silence(id);
        }
        self.reset(id, code);
        self.count_aborted();
    }

    /// Counts `n` bytes of content that were consumed or discarded. Once the counted bytes are half of the connection's
    /// window, returns them to the client by a WINDOW_UPDATE, which also enlarges the window if a larger one is due.
    /// Nothing is written on a connection that is lost or has failed.
    fn release_all(&mut self, n: usize) {
        self.unreleased += n as u32;
        self.windows.count_passed(n);
        if self.unreleased >= self.connection_window / 2 && !self.lost && self.failed.is_none() {
            let target = self.windows.connection();
            let step = std::mem::take(&mut self.unreleased) + (target - self.connection_window);
            self.connection_window = target;
            self.receive_window += i64::from(step);
            frame::write(self.out.push(), frame::WINDOW_UPDATE, 0, 0, &step.to_be_bytes());
            self.touch();
        }
    }

    /// Counts `n` bytes of a stream's content that were consumed. Once the counted bytes are half of a window, a
    /// WINDOW_UPDATE returns them to the client and enlarges the window if a larger one is due: for the connection
    /// always, for the stream only while it exists and more content is expected. The update of a stream may begin a
    /// measurement by a PING.
    pub(super) fn release(&mut self, id: u32, n: usize) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.body == StreamBody::Coming
        {
            slot.unreleased += n as u32;
            if slot.unreleased >= slot.window / 2 {
                let target = self.windows.stream();
                let step = std::mem::take(&mut slot.unreleased) + (target - slot.window);
                slot.window = target;
                slot.receive_window += i64::from(step);
                frame::write(self.out.push(), frame::WINDOW_UPDATE, 0, id, &step.to_be_bytes());
                if self.windows.measure() {
                    frame::write(self.out.push(), frame::PING, 0, 0, windows::PING);
                }
                self.touch();
            }
        }
        self.release_all(n);
    }

    /// Counts bytes of output that the socket has accepted.
    pub(super) const fn count_taken(&mut self, bytes: usize) {
        self.taken += bytes as u64;
    }

    /// Marks the pending output as being written: END_STREAM can no longer be set on a frame in it.
    pub(super) const fn begin_to_write(&mut self) {
        self.last = None;
    }

    /// Returns whether this stream exists and has not been reset or ended by the connection.
    fn is_open(&self, id: u32) -> bool {
        self.slots.get(&id).is_some_and(|slot| !slot.dead)
    }

    /// Removes a stream whose task has ended, and returns its unread content to the connection's window. `whole` is
    /// true if its response is complete: content that the client still sends is then discarded. Ends a connection
    /// whose output is held back if all its streams were dropped. No effect if the stream does not exist.
    pub(super) fn release_stream(&mut self, id: u32, whole: bool) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.release_all(slot.input.len());
        if whole && !slot.dead && slot.body == StreamBody::Coming {
            self.discard_content(id, &slot);
        }
        slot.recycle();
        self.close_in_silence();
        if self.slots.is_empty() && (self.is_leaving() || self.client_leaves) {
            self.touch();
        }
    }
}

#[cfg(test)]
mod tests;
