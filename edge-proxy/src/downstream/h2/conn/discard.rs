//! Requests that were answered before their content was complete. Further content is discarded for a while, so that the
//! client reads the response before a reset.
//!
//! RFC 9113 §8.1 permits an immediate reset, but clients that receive it together with the response (libcurl 7.88)
//! treat the request as failed.

use super::super::slot::StreamSlot;
use super::{Http2Connection, STREAM_WINDOW};
use edge_http::h2::{Code, frame};

/// The highest number of bytes of one request that are discarded, padding included. The stream is then reset.
const MAX_DISCARDED_BYTES: i64 = 1024 * 1024;
/// The highest number of requests of a connection whose content is discarded at a time. Above it, the oldest is reset.
const MAX_DISCARDED_REQUESTS: usize = 32;

/// A request whose content is discarded.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiscardedRequest {
    /// The identifier of the stream.
    id: u32,
    /// The number of bytes that the client may still send on the stream, by its flow-control window.
    window: i64,
    /// The number of bytes that are still discarded before the stream is reset.
    left: i64,
}

/// An RST_STREAM frame that is written after all other pending output.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeferredReset {
    /// The identifier of the stream.
    id: u32,
    /// The error code of the reset.
    code: Code,
}

impl Http2Connection {
    /// Begins to discard the further content of a request whose response is complete. If there are more than
    /// [`MAX_DISCARDED_REQUESTS`], schedules the reset of the oldest with NO_ERROR. No effect once the connection has
    /// ended.
    pub(super) fn discard_content(&mut self, id: u32, slot: &StreamSlot) {
        if self.lost || self.failed.is_some() {
            return;
        }
        self.discarded.push_back(DiscardedRequest {
            id,
            window: slot.receive_window,
            left: MAX_DISCARDED_BYTES,
        });
        if self.discarded.len() > MAX_DISCARDED_REQUESTS
            && let Some(oldest) = self.discarded.pop_front()
        {
            self.defer_reset(oldest.id, Code::NO_ERROR);
        }
    }

    /// Returns whether this stream's content is discarded.
    pub(super) fn is_discarding(&self, id: u32) -> bool {
        self.discarded.iter().any(|request| request.id == id)
    }

    /// Removes a stream from those whose content is discarded. No effect if it is not among them.
    pub(super) fn forget_discarded(&mut self, id: u32) {
        self.discarded.retain(|request| request.id != id);
    }

    /// Counts `all` bytes of discarded content of a stream, padding included. If `ended` is true, the client ended the
    /// stream, and discarding ends. Otherwise, a stream that exceeds its window is reset with FLOW_CONTROL_ERROR, and
    /// one that has reached [`MAX_DISCARDED_BYTES`] with NO_ERROR; the window is widened when less than half of it is
    /// left. No effect if the stream's content is not discarded.
    pub(super) fn count_discarded(&mut self, id: u32, all: usize, ended: bool) {
        let Some(at) = self.discarded.iter().position(|request| request.id == id) else { return };
        let DiscardedRequest { window, left, .. } = &mut self.discarded[at];
        *window -= all as i64;
        *left -= all as i64;
        let (window_left, more) = (*window, *left > 0);
        if ended {
            self.discarded.remove(at);
        } else if window_left < 0 {
            self.discarded.remove(at);
            self.stream_error(id, Code::FLOW_CONTROL_ERROR);
        } else if !more {
            self.discarded.remove(at);
            self.defer_reset(id, Code::NO_ERROR);
        } else if window_left < i64::from(STREAM_WINDOW / 2) {
            self.discarded[at].window += i64::from(STREAM_WINDOW / 2);
            frame::write(self.out.push(), frame::WINDOW_UPDATE, 0, id, &(STREAM_WINDOW / 2).to_be_bytes());
            self.touch();
        }
    }

    /// Ends a stream and schedules its RST_STREAM for after all other pending output, in a separate write. No effect
    /// once the connection has ended.
    pub(in super::super) fn defer_reset(&mut self, id: u32, code: Code) {
        if self.lost || self.failed.is_some() {
            return;
        }
        self.deferred_resets.push(DeferredReset { id, code });
        self.remember_reset(id);
        self.touch();
    }

    /// Appends the deferred resets to the output, which must be empty. Returns whether there were any.
    pub(in super::super) fn write_deferred_resets(&mut self) -> bool {
        let any = !self.deferred_resets.is_empty();
        for DeferredReset { id, code } in std::mem::take(&mut self.deferred_resets) {
            frame::write(self.out.push(), frame::RST_STREAM, 0, id, &code.0.to_be_bytes());
        }
        any
    }
}
