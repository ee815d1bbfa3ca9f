//! Requests that were answered before all of their content came: what still comes is thrown away for a while, so that a client reads its
//! answer before it hears that nothing more is wanted.
//!
//! RFC 9113 §8.1 allows the reset at once, but clients that find it together with the answer (libcurl 7.88) take the request for failed.

use super::super::slot::StreamSlot;
use super::{Http2Connection, STREAM_WINDOW};
use edge_http::h2::{Code, frame};

/// Content of one request that is thrown away at most, in bytes.
const MOST: i64 = 1024 * 1024;
/// As many of them wait at once. Of more the oldest is reset.
const COUNT: usize = 32;

/// The record of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leftover {
    id: u32,
    /// The bytes the client may send before the window is widened.
    window: i64,
    /// The bytes that are still discarded.
    left: i64,
}

/// A reset that is written after everything that waits now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    id: u32,
    code: Code,
}

impl Http2Connection {
    /// Throws away what still comes of the content of an answered request.
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

    /// Nothing more comes of it.
    pub(super) fn forget_leftover(&mut self, id: u32) {
        self.leftovers.retain(|leftover| leftover.id != id);
    }

    /// Content came, so many bytes with its padding.
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

    /// Resets a stream once all that waits now is written, in a write of its own. What a task still has of it is dead.
    pub(in super::super) fn reset_late(&mut self, id: u32, code: Code) {
        if self.lost || self.failed.is_some() {
            return;
        }
        self.late.push(Late { id, code });
        self.remember_reset(id);
        self.touch();
    }

    /// Everything that waited is written. Whether resets were put behind it.
    pub(in super::super) fn say_late(&mut self) -> bool {
        let any = !self.late.is_empty();
        for Late { id, code } in std::mem::take(&mut self.late) {
            frame::write(self.out.push(), frame::RST_STREAM, 0, id, &code.0.to_be_bytes());
        }
        any
    }
}
