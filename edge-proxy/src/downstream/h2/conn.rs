//! The state of an HTTP/2 connection: input, output, and the streams of tasks.

mod discard;
mod frames;
mod section;
mod windows;

use self::windows::{STREAM_WINDOW, WINDOW, Windows};
use super::slot::{StreamBody, StreamTable};
use crate::body::BodyError;
use crate::buffer::{SIZE, WriteBuffer};
use crate::send_queue::SendQueue;
use discard::{DeferredReset, DiscardedRequest};
use edge_http::h2::hpack::HpackDecoder;
use edge_http::h2::{Code, frame, response};
use edge_http::section::SectionLimits;
use edge_http::{RequestHead, ResponseHead};
use edge_policy::Reason;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

/// The largest flow-control window (RFC 9113 §6.9.1).
const MAX_WINDOW: i64 = (1 << 31) - 1;
/// The number of bytes of pending output from which no more input is read. Content takes at most half of it; heads of a client
/// that sends requests without reading responses fill the rest.
const MAX_PENDING_OUTPUT: usize = 2 * SIZE;
/// The number of bytes that a response may buffer in its turn while others wait.
const TURN_BYTES: usize = 16 * 1024;
/// The number of reset streams that are remembered, for frames that the client sent before it received the reset.
const MAX_REMEMBERED_RESETS: usize = 128;
/// The number of aborted requests that are tolerated per second.
const ABORTS_PER_SECOND: u32 = 20;

/// The limits for one client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Http2Limits {
    pub(super) streams: u32,
    pub(super) resets: u32,
    pub(super) section: SectionLimits,
}

/// A request whose head is complete.
pub(super) struct PendingRequest {
    pub(super) id: u32,
    pub(super) head: RequestHead,
}

/// The progress of a graceful GOAWAY of this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoAway {
    No,
    /// Sent without a limit; a PING determines whether the client has received it.
    Asked,
    /// Sent with the last stream.
    Named,
}

/// A field section that spans several frames.
struct Block {
    id: u32,
    end: bool,
    /// True if the priority fields make the stream depend on itself, which is an error.
    own: bool,
    bytes: Vec<u8>,
}

/// The state of a client's HTTP/2 connection, without I/O.
pub(super) struct Http2Connection {
    limits: Http2Limits,
    pub(super) slots: StreamTable,
    pub(super) out: WriteBuffer,
    /// The stream and the offset in `out` of the last frame that END_STREAM can still be set on. `None` once writing
    /// of `out` has begun.
    last: Option<(u32, usize)>,
    decoder: HpackDecoder,
    block: Option<Block>,
    preface: bool,
    begun: bool,
    /// The highest stream identifier that the client used.
    highest: u32,
    /// The highest stream identifier that is accepted, as announced by GOAWAY.
    accepted: u32,
    leaving: GoAway,
    client_leaves: bool,
    initial_window: i64,
    send_window: i64,
    receive_window: i64,
    /// The receive window of the connection as announced.
    connection_window: u32,
    windows: Windows,
    unreleased: u32,
    said_table: bool,
    /// The streams that this side reset last.
    reset: VecDeque<u32>,
    /// The requests that were answered before their content was complete.
    discarded: VecDeque<DiscardedRequest>,
    /// The resets that are sent after the pending output.
    deferred_resets: Vec<DeferredReset>,
    aborted: u32,
    /// The time at which the processed bytes arrived.
    now: Instant,
    forgiven: Instant,
    failed: Option<Code>,
    lost: bool,
    /// The streams that wait for room in the output buffer or in the connection's window.
    send_queue: SendQueue<u32>,
    /// True if several streams want to send. Each may then send one turn before the next.
    contended: bool,
    /// The number of bytes that the client's connection has accepted so far.
    taken: u64,
    waker: Option<Waker>,
    /// True if the connection's task was woken and has not run since.
    awake: bool,
    /// The reasons of requests that were rejected for their heads, to be reported.
    pub(super) refused: Vec<Reason>,
}

impl Http2Connection {
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
            taken: 0,
            waker: None,
            awake: false,
            refused: Vec::new(),
        };
        conn.write_settings();
        conn
    }

    /// Appends SETTINGS and the WINDOW_UPDATE of the connection.
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

    /// Registers the connection's task to be woken by changes from now on.
    pub(super) fn register_waker(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        self.awake = false;
    }

    /// Wakes the connection's task.
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

    /// Returns whether a field section is incomplete.
    pub(super) const fn is_in_section(&self) -> bool {
        self.block.is_some()
    }

    /// Returns whether the client's preface was received.
    pub(super) const fn is_begun(&self) -> bool {
        self.begun
    }

    /// Returns whether less than [`MAX_PENDING_OUTPUT`] bytes of output are pending, so that more requests may be read.
    pub(super) fn has_output_room(&self) -> bool {
        self.out.len() < MAX_PENDING_OUTPUT
    }

    /// Returns whether the connection has ended but for its pending output: by an error, by the client, or after
    /// GOAWAY when no stream is left.
    pub(super) fn is_over(&self) -> bool {
        let leaves = self.client_leaves || self.leaving == GoAway::Named;
        self.lost
            || self.failed.is_some()
            || (leaves && self.slots.is_empty() && self.deferred_resets.is_empty())
    }

    /// Closes the connection with this error code: appends GOAWAY and ends all streams.
    pub(super) fn fail(&mut self, code: Code) {
        if self.failed.is_some() || self.lost {
            return;
        }
        self.failed = Some(code);
        self.write_goaway(self.highest, code);
        self.end_all();
    }

    /// Records that the client is gone: discards output and ends all streams.
    pub(super) fn lose(&mut self) {
        self.lost = true;
        self.deferred_resets.clear();
        self.out.release();
        self.end_all();
    }

    /// Ends all streams in both directions.
    fn end_all(&mut self) {
        self.block = None;
        self.send_queue.clear();
        for slot in self.slots.values_mut() {
            slot.end(BodyError::Lost);
        }
    }

    /// Appends GOAWAY with the last accepted stream.
    fn write_goaway(&mut self, last: u32, code: Code) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&code.0.to_be_bytes());
        frame::write(self.out.push(), frame::GOAWAY, 0, 0, &payload);
    }

    /// Announces that no new requests are accepted, and sends a PING to learn when the client knows. Requests sent before are
    /// still accepted (RFC 9113 §6.8).
    pub(super) fn go_away(&mut self) {
        if self.leaving == GoAway::No {
            self.leaving = GoAway::Asked;
            self.write_goaway(MAX_WINDOW as u32, Code::NO_ERROR);
            frame::write(self.out.push(), frame::PING, 0, 0, b"farewell");
        }
    }

    /// Returns whether this side has sent GOAWAY.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != GoAway::No
    }

    /// Counts an aborted request. A flood of them is an attack on the upstream (CVE-2023-44487, CVE-2025-8671).
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

    /// Resets a stream. Its task can neither read nor send any more.
    pub(super) fn reset(&mut self, id: u32, code: Code) {
        if self.lost || self.failed.is_some() {
            return;
        }
        frame::write(self.out.push(), frame::RST_STREAM, 0, id, &code.0.to_be_bytes());
        self.remember_reset(id);
        self.touch();
    }

    /// Remembers a reset stream and releases its slot's content. Frames that the client sent before it receives the
    /// reset are then ignored.
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

    /// Resets a stream for a protocol error of the client.
    fn stream_error(&mut self, id: u32, code: Code) {
        self.reset(id, code);
        self.count_aborted();
    }

    /// Returns flow-control credit of the connection for consumed content.
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

    /// Returns flow-control credit of a stream for consumed content.
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

    /// Returns the number of bytes that fit into the buffer and the connection's window.
    fn shared_room(&self) -> usize {
        let window = usize::try_from(self.send_window).unwrap_or(0);
        window.min(SIZE.saturating_sub(self.out.len()))
    }

    /// Returns the number of bytes of a stream's content that can be sent now. 0 if there is no room; `waker` is then
    /// woken when that changes. A stream that only other streams block waits for its turn. `None` if the stream can
    /// send nothing any more.
    pub(super) fn room(&mut self, id: u32, waker: &Waker) -> Option<usize> {
        let shared = self.shared_room();
        let contended = self.contended || !self.send_queue.is_empty();
        let slot = self.slots.get_mut(&id).filter(|slot| !slot.dead)?;
        let own = usize::try_from(slot.send_window).unwrap_or(0);
        let turn = if contended { slot.turn } else { shared };
        let room = own.min(shared).min(turn);
        if room == 0 {
            super::slot::remember(&mut slot.writer, waker);
            if own > 0 && !slot.waits {
                slot.waits = true;
                self.send_queue.push(id, slot.urgency);
                if shared > 0 {
                    self.touch();
                }
            }
        }
        Some(room)
    }

    /// Returns the number of bytes that the connection has accepted so far, if a stream only waits for its turn. `None` if its
    /// own window is exhausted.
    pub(super) fn progress(&self, id: u32) -> Option<u64> {
        self.slots.get(&id).filter(|slot| slot.send_window > 0).map(|_| self.taken)
    }

    /// Counts bytes that the client's connection accepted.
    pub(super) const fn count_taken(&mut self, bytes: usize) {
        self.taken += bytes as u64;
    }

    /// Divides the available window among the waiting streams, in equal parts of at least one turn.
    pub(super) fn wake_streams(&mut self) {
        let waiting = self.send_queue.equals();
        if waiting == 0 {
            self.contended = false;
            return;
        }
        let shared = self.shared_room();
        if shared == 0 {
            return;
        }
        self.contended = self.send_queue.len() > 1;
        let admitted = waiting.min((shared / TURN_BYTES).max(1));
        for _ in 0..admitted {
            let Some((id, _)) = self.send_queue.pop() else { break };
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.waits = false;
                slot.turn = shared / admitted;
                if let Some(writer) = slot.writer.take() {
                    writer.wake();
                }
            }
        }
        if !self.send_queue.is_empty() {
            // Those whose turn it is may have nothing to send: then it is the next ones' turn.
            self.touch();
        }
    }

    /// Marks the output as being written: no frame in it can be changed to end its stream.
    pub(super) const fn begin_to_write(&mut self) {
        self.last = None;
    }

    /// Returns the position of a field section, and whether it is the first of the connection.
    fn place(&mut self, stream: u32, end: bool) -> response::SectionPosition {
        let first = !std::mem::replace(&mut self.said_table, true);
        response::SectionPosition { stream, end, first }
    }

    /// Appends a response head.
    pub(super) fn send_head(&mut self, id: u32, head: &ResponseHead, end: bool) {
        if !self.is_open(id) {
            return;
        }
        let place = self.place(id, end);
        let out = self.out.push();
        let at = out.len();
        response::write_head(out, place, head);
        self.last = (head.status >= 200).then_some((id, at));
        self.touch();
    }

    /// Appends content, which must fit into the window.
    pub(super) fn send_data(&mut self, id: u32, data: &[u8]) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.dead) else { return };
        slot.send_window -= data.len() as i64;
        slot.turn = slot.turn.saturating_sub(data.len());
        self.send_window -= data.len() as i64;
        let out = self.out.push();
        for part in data.chunks(frame::MAX_PAYLOAD as usize) {
            self.last = Some((id, out.len()));
            frame::write(out, frame::DATA, 0, id, part);
        }
        self.touch();
    }

    /// Ends the sending side of a stream.
    pub(super) fn send_end(&mut self, id: u32) {
        if !self.is_open(id) {
            return;
        }
        match self.last.take() {
            Some((last, at)) if last == id => {
                if let Some(flags) = self.out.push().get_mut(at + 4) {
                    *flags |= frame::END_STREAM;
                }
            }
            _ => frame::write(self.out.push(), frame::DATA, frame::END_STREAM, id, b""),
        }
        self.touch();
    }

    /// Appends the trailers of a response.
    pub(super) fn send_trailers(&mut self, id: u32, fields: &edge_http::Fields) {
        if !self.is_open(id) {
            return;
        }
        let place = self.place(id, true);
        response::write_trailers(self.out.push(), place, fields);
        self.touch();
    }

    /// Returns whether output of this stream can still be sent.
    fn is_open(&self, id: u32) -> bool {
        self.slots.get(&id).is_some_and(|slot| !slot.dead)
    }

    /// Releases the stream of a task. `whole` is true if its response is complete.
    pub(super) fn release_stream(&mut self, id: u32, whole: bool) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.release_all(slot.input.len());
        if whole && !slot.dead && slot.body == StreamBody::Coming {
            self.discard_content(id, &slot);
        }
        slot.recycle();
        if self.slots.is_empty() && (self.is_leaving() || self.client_leaves) {
            self.touch();
        }
    }
}

#[cfg(test)]
mod tests;
