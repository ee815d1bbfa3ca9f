//! Handling of each frame type from the client (RFC 9113 §6).

use super::super::slot::StreamBody;
use super::{GoAway, Http2Connection, MAX_WINDOW, PendingRequest};
use crate::body::BodyError;
use edge_http::h2::Code;
use edge_http::h2::frame::{self, FrameHeader, setting};
use edge_http::priority::Priority;
use std::time::Instant;

impl Http2Connection {
    /// Processes the preface and the complete frames in the input, which arrived at `now`. Adds requests with complete
    /// heads to `arrived`. Returns the number of bytes consumed; an incomplete preface or frame is not consumed. A
    /// wrong preface loses the connection without a response, an error of the protocol closes it by GOAWAY.
    pub(in super::super) fn receive(
        &mut self,
        input: &[u8],
        arrived: &mut Vec<PendingRequest>,
        now: Instant,
    ) -> usize {
        self.now = now;
        let mut used = 0;
        if !self.preface {
            let n = input.len().min(frame::PREFACE.len());
            if input[..n] != frame::PREFACE[..n] {
                // A client that sends this does not use HTTP/2 and would not understand a response.
                self.lose();
                return input.len();
            }
            if n < frame::PREFACE.len() {
                return 0;
            }
            self.preface = true;
            used = n;
        }
        while self.failed.is_none() && !self.lost {
            let rest = &input[used..];
            let Some(header) = FrameHeader::read(rest) else { break };
            if header.length > frame::MAX_PAYLOAD {
                self.fail(Code::FRAME_SIZE_ERROR);
                break;
            }
            let end = FrameHeader::LEN + header.length as usize;
            let Some(payload) = rest.get(FrameHeader::LEN..end) else { break };
            used += end;
            self.frame(header, payload, arrived);
        }
        used
    }

    /// Checks that a frame may come at this point, and passes it to the handler of its type. Closes the connection
    /// with PROTOCOL_ERROR if a field section is incomplete and the frame does not continue it, if the first frame is
    /// not SETTINGS, or for PUSH_PROMISE. Unknown types are ignored.
    fn frame(&mut self, header: FrameHeader, payload: &[u8], arrived: &mut Vec<PendingRequest>) {
        let section = self.block.as_ref().map(|block| block.id);
        let continues = header.kind == frame::CONTINUATION && section == Some(header.stream);
        let first = header.kind == frame::SETTINGS && !header.has(frame::ACK);
        // §6.10: nothing may come between the frames of a section. §3.4: SETTINGS come first.
        if (section.is_some() && !continues) || !(self.begun || first) {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        match header.kind {
            frame::DATA => self.data(header, payload),
            frame::HEADERS => self.headers(header, payload, arrived),
            frame::PRIORITY => self.priority(header, payload),
            frame::RST_STREAM => self.rst_stream(header, payload),
            frame::SETTINGS => self.settings(header, payload),
            frame::PUSH_PROMISE => self.fail(Code::PROTOCOL_ERROR),
            frame::PING => self.ping(header, payload),
            frame::GOAWAY => self.goaway(header, payload),
            frame::WINDOW_UPDATE => self.window_update(header, payload),
            frame::CONTINUATION => self.continuation(header, payload, arrived),
            frame::PRIORITY_UPDATE => self.priority_update(header, payload),
            // §4.1: unknown types are ignored.
            _ => {}
        }
    }

    /// Returns whether this stream is idle: the client has opened neither it nor a higher one, or cannot open it
    /// because the number is even.
    fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.highest
    }

    /// Handles a DATA frame (RFC 9113 §6.1): subtracts it from the receive windows, padding included, and stores its
    /// content for the stream's task. Content of a stream that was reset or is discarded only counts towards the
    /// windows. Errors that concern the connection close it: an idle stream, invalid padding, an exceeded window of
    /// the connection. Others reset the stream: an ended stream, an exceeded window of the stream, content that is not
    /// as long as declared.
    fn data(&mut self, header: FrameHeader, payload: &[u8]) {
        let (id, all) = (header.stream, payload.len());
        if self.is_idle(id) {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        let Some(content) = frame::unpad(header, payload) else { return self.fail(Code::PROTOCOL_ERROR) };
        // §6.9: padding counts, too, and so does what is thrown away.
        self.receive_window -= all as i64;
        if self.receive_window < 0 {
            return self.fail(Code::FLOW_CONTROL_ERROR);
        }
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.dead) else {
            self.release_all(all);
            if self.is_discarding(id) {
                self.count_discarded(id, all, header.has(frame::END_STREAM));
            } else if !self.reset.contains(&id) {
                self.stream_error(id, Code::STREAM_CLOSED);
            }
            return;
        };
        slot.receive_window -= all as i64;
        let ended = header.has(frame::END_STREAM);
        let wrong = if slot.body != StreamBody::Coming {
            Some(Code::STREAM_CLOSED)
        } else if slot.receive_window < 0 {
            Some(Code::FLOW_CONTROL_ERROR)
        } else {
            // §8.1.1: the content is as long as announced.
            match &mut slot.expected {
                Some(left) => match left.checked_sub(content.len() as u64) {
                    Some(rest) if rest == 0 || !ended => {
                        *left = rest;
                        None
                    }
                    _ => Some(Code::PROTOCOL_ERROR),
                },
                None => None,
            }
        };
        if let Some(code) = wrong {
            self.release_all(all);
            return self.stream_error(id, code);
        }
        if ended {
            slot.body = StreamBody::Ended;
        }
        slot.input.extend_from_slice(content);
        if ended || !content.is_empty() {
            slot.wake_reader();
        }
        let padding = all - content.len();
        if padding > 0 {
            self.release(id, padding);
        }
    }

    /// Checks a PRIORITY frame, which has no other effect. Stream 0 closes the connection. A wrong length, or a
    /// dependency of the stream on itself, resets the stream, or closes the connection if the stream is idle.
    fn priority(&mut self, header: FrameHeader, payload: &[u8]) {
        let id = header.stream;
        if id == 0 {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        let wrong = if payload.len() != 5 {
            Code::FRAME_SIZE_ERROR
        } else if frame::word(payload) & 0x7fff_ffff == id {
            Code::PROTOCOL_ERROR
        } else {
            return;
        };
        // An idle stream cannot be reset (§5.1), and an ended one needs no response.
        if self.is_idle(id) { self.fail(wrong) } else { self.stream_error(id, wrong) }
    }

    /// Applies the urgency of a PRIORITY_UPDATE frame (RFC 9218 §7.1) to an open stream. A frame for a stream that is
    /// not open is ignored, since its request can carry the priority, too. A malformed frame closes the connection.
    fn priority_update(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.stream != 0 {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        let Some((id, value)) = payload.split_at_checked(4) else { return self.fail(Code::FRAME_SIZE_ERROR) };
        let id = frame::word(id) & 0x7fff_ffff;
        if id == 0 {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.urgency.client = Some(Priority::parse(value).urgency);
            self.send_queue.set_urgency(id, slot.urgency.effective());
        }
    }

    /// Handles RST_STREAM: ends an open stream or one whose content is discarded, which counts as an aborted request.
    /// Other streams are not affected. A wrong length or an idle stream closes the connection.
    fn rst_stream(&mut self, header: FrameHeader, payload: &[u8]) {
        if payload.len() != 4 {
            return self.fail(Code::FRAME_SIZE_ERROR);
        }
        if self.is_idle(header.stream) {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        if let Some(slot) = self.slots.get_mut(&header.stream)
            && !slot.dead
        {
            slot.end(BodyError::Lost);
            self.count_aborted();
        } else if self.is_discarding(header.stream) {
            self.forget_discarded(header.stream);
            self.count_aborted();
        }
    }

    /// Applies the client's SETTINGS and acknowledges them. Only SETTINGS_INITIAL_WINDOW_SIZE has an effect;
    /// SETTINGS_ENABLE_PUSH and SETTINGS_MAX_FRAME_SIZE are checked but not used. An acknowledgement has no effect. An
    /// invalid frame or value closes the connection.
    fn settings(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.stream != 0 {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        let answer = header.has(frame::ACK);
        if !payload.len().is_multiple_of(6) || (answer && !payload.is_empty()) {
            return self.fail(Code::FRAME_SIZE_ERROR);
        }
        if answer {
            return;
        }
        self.begun = true;
        for (id, value) in frame::settings(payload) {
            match (id, value) {
                (setting::ENABLE_PUSH, 2..)
                | (setting::MAX_FRAME_SIZE, ..frame::MAX_PAYLOAD | 0x0100_0000..) => {
                    return self.fail(Code::PROTOCOL_ERROR);
                }
                // Larger payloads than the usual would only make others wait longer.
                (setting::MAX_FRAME_SIZE, _) => {}
                (setting::INITIAL_WINDOW_SIZE, value) => self.initial_window(i64::from(value)),
                _ => {}
            }
        }
        if self.failed.is_none() {
            frame::write(self.out.push(), frame::SETTINGS, frame::ACK, 0, b"");
        }
    }

    /// Applies SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.9.2): the send windows of existing streams change by the
    /// difference and may become negative. If the value or a resulting window is above 2^31-1, closes the connection
    /// with FLOW_CONTROL_ERROR. Streams whose window is open again enter the queue of those that wait for their turn.
    fn initial_window(&mut self, value: i64) {
        if value > MAX_WINDOW {
            return self.fail(Code::FLOW_CONTROL_ERROR);
        }
        let step = value - self.initial_window;
        self.initial_window = value;
        let mut over = false;
        for slot in self.slots.values_mut() {
            slot.send_window += step;
            over |= slot.send_window > MAX_WINDOW;
        }
        if over {
            return self.fail(Code::FLOW_CONTROL_ERROR);
        }
        if step > 0 {
            let mut ids: Vec<u32> = self.slots.keys().copied().collect();
            ids.sort_unstable();
            ids.into_iter().for_each(|id| self.reopen(id));
        }
    }

    /// Handles PING: appends an acknowledgement with the same payload. If the frame itself is an acknowledgement, it
    /// ends a measurement of the windows, or shows that the first GOAWAY was received, so that the second one is
    /// appended. A nonzero stream or a length other than 8 closes the connection.
    fn ping(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.stream != 0 {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        if payload.len() != 8 {
            return self.fail(Code::FRAME_SIZE_ERROR);
        }
        if !header.has(frame::ACK) {
            frame::write(self.out.push(), frame::PING, frame::ACK, 0, payload);
        } else if payload == super::windows::PING {
            self.windows.answered();
        } else if self.leaving == GoAway::Asked && payload == b"farewell" {
            // Everything that the client sent before it received GOAWAY has arrived.
            self.leaving = GoAway::Named;
            self.accepted = self.highest;
            self.write_goaway(self.highest, Code::NO_ERROR);
        }
    }

    /// Handles the client's GOAWAY: the connection ends when its streams have. A nonzero stream or a length below 8
    /// closes the connection.
    fn goaway(&mut self, header: FrameHeader, payload: &[u8]) {
        if header.stream != 0 {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        if payload.len() < 8 {
            return self.fail(Code::FRAME_SIZE_ERROR);
        }
        self.client_leaves = true;
    }

    /// Handles WINDOW_UPDATE: widens the send window of the connection or of an open stream, whose task is woken. A
    /// frame for an ended stream is ignored. A wrong length, an idle stream, or an invalid increment of the
    /// connection's window closes the connection; an invalid increment of a stream's window (0, or to more than
    /// 2^31-1) resets the stream.
    fn window_update(&mut self, header: FrameHeader, payload: &[u8]) {
        if payload.len() != 4 {
            return self.fail(Code::FRAME_SIZE_ERROR);
        }
        let (id, step) = (header.stream, i64::from(frame::word(payload) & 0x7fff_ffff));
        if id == 0 {
            self.send_window += step;
            return match step {
                0 => self.fail(Code::PROTOCOL_ERROR),
                _ if self.send_window > MAX_WINDOW => self.fail(Code::FLOW_CONTROL_ERROR),
                // Waiting streams are woken once all received frames are handled.
                _ => {}
            };
        }
        if self.is_idle(id) {
            return self.fail(Code::PROTOCOL_ERROR);
        }
        // It may come late, for a stream that ended (§5.1).
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.dead) else { return };
        slot.send_window += step;
        if step == 0 {
            self.stream_error(id, Code::PROTOCOL_ERROR);
        } else if slot.send_window > MAX_WINDOW {
            self.stream_error(id, Code::FLOW_CONTROL_ERROR);
        } else {
            self.reopen(id);
        }
    }
}
