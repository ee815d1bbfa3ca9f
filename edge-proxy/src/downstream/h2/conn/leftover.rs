//! Requests that were answered before their content was complete. Further content is discarded for a while, so that the client
//! reads the response before a reset.
//!
//! RFC 9113 §8.1 permits an immediate reset, but clients that receive it together with the response (libcurl 7.88) treat the
//! request as failed.

use super::super::slot::StreamSlot;
use super::{Http2Connection, STREAM_WINDOW};
use edge_http::h2::{Code, frame};

/// The highest number of content bytes of one request that are discarded.
const MOST: i64 = 1024 * 1024;
/// The highest number of such requests. Above it, the oldest is reset.
const COUNT: usize = 32;

/// A request whose content is discarded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leftover {
    id: u32,
    /// The bytes the client may send before the window is widened.
    window: i64,
    /// The number of bytes that are still discarded.
    left: i64,
}

/// A reset to be written after all pending output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    id: u32,
    code: Code,
}

impl Http2Connection {
    /// Discards further content of an answered request.
    pub(super) fn leave_over(&mut self, id: u32, slot: &StreamSlot) {
        if self.lost || self.failed.is_some() {
            return;
        }
        self.leftovers.push_back(Leftover { id, window: slot.receive_window, left: MOST });
        if self.leftovers.len() > COUNT
            && let Some(oldest) = self.leftovers.pop_front()
        {
            self.reset_late(oldest.id, Code::NO_ERROR);
        }
    }

    /// Returns whether this stream's content is discarded.
    pub(super) fn is_left_over(&self, id: u32) -> bool {
        self.leftovers.iter().any(|leftover| leftover.id == id)
    }

    /// Removes the record of a request whose stream has ended.
    pub(super) fn forget_leftover(&mut self, id: u32) {
        self.leftovers.retain(|leftover| leftover.id != id);
    }

    /// Counts discarded content, padding included.
    pub(super) fn throw_away(&mut self, id: u32, all: usize, ended: bool) {
        let Some(at) = self.leftovers.iter().position(|leftover| leftover.id == id) else { return };
        let Leftover { window, left, .. } = &mut self.leftovers[at];
        *window -= all as i64;
        *left -= all as i64;
        let (window_left, more) = (*window, *left > 0);
        if ended {
            self.leftovers.remove(at);
        } else if window_left < 0 {
            self.leftovers.remove(at);
            self.stream_error(id, Code::FLOW_CONTROL_ERROR);
        } else if !more {
            self.leftovers.remove(at);
            self.reset_late(id, Code::NO_ERROR);
        } else if window_left < i64::from(STREAM_WINDOW / 2) {
            self.leftovers[at].window += i64::from(STREAM_WINDOW / 2);
            frame::write(self.out.push(), frame::WINDOW_UPDATE, 0, id, &(STREAM_WINDOW / 2).to_be_bytes());
            self.touch();
        }
    }

    /// Resets a stream after all pending output is written, in a separate write.
    pub(in super::super) fn reset_late(&mut self, id: u32, code: Code) {
        if self.lost || self.failed.is_some() {
            return;
        }
        self.late.push(Late { id, code });
        self.remember_reset(id);
        self.touch();
    }

    /// Appends the late resets once all output is written. Returns whether there were any.
    pub(in super::super) fn say_late(&mut self) -> bool {
        let any = !self.late.is_empty();
        for Late { id, code } in std::mem::take(&mut self.late) {
            frame::write(self.out.push(), frame::RST_STREAM, 0, id, &code.0.to_be_bytes());
        }
        any
    }
}
