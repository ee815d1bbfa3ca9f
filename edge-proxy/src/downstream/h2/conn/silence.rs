//! Silence towards clients of a plain listener that name no site, where the configuration rejects them silently.
//!
//! Nothing is sent, not even SETTINGS, before a request is accepted. If all requests are dropped, the connection is
//! closed without a byte, as over HTTP/1.1.

use super::Http2Connection;
use crate::body::BodyError;
use edge_http::h2::Code;

impl Http2Connection {
    /// Begins to hold back all output, until [`Http2Connection::end_silence`] is called.
    pub(in super::super) fn begin_silence(&mut self) {
        self.silence = Some(Vec::new());
    }

    /// Returns whether all output is held back.
    pub(in super::super) const fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// Returns whether output is held back from a client that has sent its SETTINGS but waits for those of this side:
    /// it has no open stream, no stream of it was dropped, and no field section has begun.
    pub(in super::super) fn awaits_settings(&self) -> bool {
        self.silence.as_ref().is_some_and(Vec::is_empty)
            && self.begun
            && self.slots.is_empty()
            && self.block.is_none()
    }

    /// Stops holding back output: the pending output is sent, and streams that were dropped until now are reset with
    /// REFUSED_STREAM after it. No effect if no output is held back.
    pub(in super::super) fn end_silence(&mut self) {
        let Some(dropped) = self.silence.take() else { return };
        for id in dropped {
            self.defer_reset(id, Code::REFUSED_STREAM);
        }
        self.touch();
    }

    /// Ends a stream without output while output is held back. Returns false, without an effect, if output is sent, so
    /// that the stream has to be reset.
    pub(in super::super) fn drop_in_silence(&mut self, id: u32) -> bool {
        let Some(dropped) = &mut self.silence else { return false };
        dropped.push(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.dead = true;
        }
        true
    }

    /// Ends a stream without output for an error of the client, which counts as an aborted request. Must be called
    /// only while output is held back. Closes the connection without output if all its streams have ended; otherwise
    /// another one may still name a site.
    pub(super) fn fail_in_silence(&mut self, id: u32) {
        self.drop_in_silence(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.end(BodyError::Malformed);
        }
        if self.slots.values().all(|slot| slot.dead) {
            return self.lose();
        }
        self.count_aborted();
    }

    /// Closes the connection without output if output is held back, no stream is open, and at least one was dropped.
    pub(super) fn close_in_silence(&mut self) {
        if self.silence.as_ref().is_some_and(|dropped| !dropped.is_empty()) && self.slots.is_empty() {
            self.lose();
            self.touch();
        }
    }
}
