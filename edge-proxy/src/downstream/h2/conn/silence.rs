//! Silence towards clients of a plain listener that name no site, where the configuration rejects them silently.
//!
//! Nothing is sent, not even SETTINGS, before a request is accepted. If all requests are dropped, the connection is
//! closed without a byte, as over HTTP/1.1.

use super::Http2Connection;
use crate::body::BodyError;
use edge_http::h2::Code;

impl Http2Connection {
    /// Holds back all output until [`Http2Connection::end_silence`].
    pub(in super::super) fn begin_silence(&mut self) {
        self.silence = Some(Vec::new());
    }

    /// Returns whether all output is held back.
    pub(in super::super) const fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// Returns whether the client waits without a request, as some do until they receive SETTINGS.
    pub(in super::super) fn awaits_settings(&self) -> bool {
        self.silence.as_ref().is_some_and(Vec::is_empty)
            && self.begun
            && self.slots.is_empty()
            && self.block.is_none()
    }

    /// Sends the output that was held back, and all further output. Streams that were dropped until now are reset.
    pub(in super::super) fn end_silence(&mut self) {
        let Some(dropped) = self.silence.take() else { return };
        for id in dropped {
            self.defer_reset(id, Code::REFUSED_STREAM);
        }
        self.touch();
    }

    /// Ends a stream without output. Returns false if output is sent, so that the stream has to be reset.
    pub(in super::super) fn drop_in_silence(&mut self, id: u32) -> bool {
        let Some(dropped) = &mut self.silence else { return false };
        dropped.push(id);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.dead = true;
        }
        true
    }

    /// Ends a stream without output for an error of the client, which counts as an aborted request. Closes the connection
    /// if no other stream is open, since another one may name a site.
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

    /// Closes the connection if all of its requests were dropped in silence.
    pub(super) fn close_in_silence(&mut self) {
        if self.silence.as_ref().is_some_and(|dropped| !dropped.is_empty()) && self.slots.is_empty() {
            self.lose();
            self.touch();
        }
    }
}
