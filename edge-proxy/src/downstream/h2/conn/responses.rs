//! Writing of responses.

use super::Http2Connection;
use edge_http::ResponseHead;
use edge_http::h2::{frame, response};

impl Http2Connection {
    /// Returns the position of a field section that is about to be written: its stream, whether it ends the stream
    /// (`end`), and whether it is the first of the connection. Marks the first one as sent.
    pub(super) fn place(&mut self, stream: u32, end: bool) -> response::SectionPosition {
        let first = !std::mem::replace(&mut self.said_table, true);
        response::SectionPosition { stream, end, first }
    }

    /// Appends the head of an interim or final response. `end` is true if the head ends the stream, since there is no
    /// content. No effect if the stream has ended.
    pub(in super::super) fn send_head(&mut self, id: u32, head: &ResponseHead, end: bool) {
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

    /// Appends content in one or more DATA frames and subtracts it from the windows of the stream and of the
    /// connection and from the stream's turn. The content must fit into both windows. No effect if the stream has
    /// ended.
    pub(in super::super) fn send_data(&mut self, id: u32, data: &[u8]) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.dead) else { return };
        slot.send_window -= data.len() as i64;
        slot.turn = slot.turn.saturating_sub(data.len());
        let urgency = slot.urgency.effective();
        self.send_window -= data.len() as i64;
        self.count_active(urgency, data.len());
        let out = self.out.push();
        for part in data.chunks(frame::MAX_PAYLOAD as usize) {
            self.last = Some((id, out.len()));
            frame::write(out, frame::DATA, 0, id, part);
        }
        self.touch();
    }

    /// Ends the sending side of a stream: sets END_STREAM on its last frame if that is not being written yet, or else
    /// appends an empty DATA frame. No effect if the stream has ended.
    pub(in super::super) fn send_end(&mut self, id: u32) {
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

    /// Appends the trailers of a response, which end the stream. No effect if the stream has ended.
    pub(in super::super) fn send_trailers(&mut self, id: u32, fields: &edge_http::Fields) {
        if !self.is_open(id) {
            return;
        }
        let place = self.place(id, true);
        response::write_trailers(self.out.push(), place, fields);
        self.touch();
    }
}
