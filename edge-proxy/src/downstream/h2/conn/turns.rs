//! The order in which the streams of an HTTP/2 connection send: the most urgent first, equally urgent ones in turns.

use super::Http2Connection;
use crate::buffer::SIZE;
use crate::downstream::h2::slot::remember;
use edge_http::priority::Urgency;
use std::task::Waker;

/// The least number of bytes that a stream may send in its turn while others wait, if the connection has that much
/// room. Also the number of bytes that more urgent streams must send between two polls of the I/O driver to keep less
/// urgent ones waiting.
const TURN_BYTES: usize = 16 * 1024;

/// The streams of one urgency that may have more to send than they have asked room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    /// The urgency, from 0, the most urgent, to 7.
    urgency: u8,
    /// The number of bytes that they have sent since the I/O driver was last polled, or [`TURN_BYTES`] if they were
    /// woken for their turn.
    bytes: usize,
}

impl Http2Connection {
    /// Returns the number of content bytes that both the output buffer and the connection's send window accept. 0 if
    /// either is full or the window is negative.
    fn shared_room(&self) -> usize {
        let window = usize::try_from(self.send_window).unwrap_or(0);
        window.min(SIZE.saturating_sub(self.out.len()))
    }

    /// Returns the number of content bytes that a stream can send now: the least of its own window, the room in the
    /// connection, and its turn if others wait. A stream has no turn while more urgent ones wait or are active. If the
    /// result is 0, `waker` is woken when it may have changed, and a stream whose own window is open enters the queue
    /// of those that wait for their turn. `None` if the stream has ended.
    pub(in super::super) fn room(&mut self, id: u32, waker: &Waker) -> Option<usize> {
        let shared = self.shared_room();
        let slot = self.slots.get_mut(&id).filter(|slot| !slot.dead)?;
        let urgency = slot.urgency.effective();
        let own = usize::try_from(slot.send_window).unwrap_or(0);
        let others = self.send_queue.len() > usize::from(slot.waits);
        let urgent = self.send_queue.first().is_some_and(|first| first < urgency)
            || self.active.is_some_and(|active| active.urgency < urgency);
        let turn = match (urgent, self.contended || others) {
            (true, _) => 0,
            (false, true) => slot.turn,
            (false, false) => shared,
        };
        let room = own.min(shared).min(turn);
        if room == 0 {
            remember(&mut slot.writer, waker);
            if own > 0 && !slot.waits {
                slot.waits = true;
                self.send_queue.push(id, urgency);
                if shared > 0 {
                    self.touch();
                }
            }
        }
        Some(room)
    }

    /// Adds a stream to the queue of those that wait for their turn, if it waits for room and its own window is open.
    /// The stream then takes its turn by its urgency, even if the connection's window opened earlier.
    pub(super) fn reopen(&mut self, id: u32) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.send_window > 0
            && slot.writer.is_some()
            && !slot.waits
        {
            slot.waits = true;
            self.send_queue.push(id, slot.urgency.effective());
        }
    }

    /// Returns the number of output bytes that the socket has accepted since the connection began. `None` if the
    /// stream's own window is exhausted, so that the stream does not wait for the connection, or the stream does not
    /// exist.
    pub(in super::super) fn progress(&self, id: u32) -> Option<u64> {
        self.slots.get(&id).filter(|slot| slot.send_window > 0).map(|_| self.taken)
    }

    /// Takes the waiting streams of the highest urgency from the queue and wakes them. Each gets an equal part of the
    /// connection's room, but at least [`TURN_BYTES`] unless the room is smaller, so that there may be room for only
    /// some of them. The others stay in the queue. No effect without room.
    ///
    /// Less urgent streams wait while more urgent ones are active, that is, until these send less than [`TURN_BYTES`]
    /// between two polls of the I/O driver, which shows that their services have no more data ready. `polled` is true
    /// if the I/O driver was polled since this method returned true. Returns true if it must be called again after the
    /// next poll of the I/O driver.
    pub(in super::super) fn wake_streams(&mut self, polled: bool) -> bool {
        if polled {
            self.active = self
                .active
                .filter(|active| active.bytes >= TURN_BYTES)
                .map(|active| Active { bytes: 0, ..active });
        }
        let Some(urgency) = self.send_queue.first() else {
            self.contended = false;
            return false;
        };
        let shared = self.shared_room();
        if shared == 0 {
            return false;
        }
        if self.active.is_some_and(|active| active.urgency < urgency) {
            return true;
        }
        self.contended = self.send_queue.len() > 1;
        let admitted = self.send_queue.equals().min((shared / TURN_BYTES).max(1));
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
        self.active = Some(Active { urgency, bytes: TURN_BYTES });
        // A woken stream may have nothing to send: then the next ones get their turn.
        match self.send_queue.first() {
            Some(next) if next > urgency => true,
            Some(_) => {
                self.touch();
                false
            }
            None => false,
        }
    }

    /// Counts content that a stream of this urgency sends. The stream is active from then on, unless more urgent ones
    /// are.
    pub(super) fn count_active(&mut self, urgency: u8, bytes: usize) {
        let before = match self.active {
            Some(active) if active.urgency < urgency => return,
            Some(active) if active.urgency == urgency => active.bytes,
            _ => 0,
        };
        self.active = Some(Active { urgency, bytes: before.saturating_add(bytes) });
    }

    /// Sets the urgencies of a response that the service and the configuration state. No effect if the stream does not
    /// exist.
    pub(in super::super) fn prioritize(&mut self, id: u32, service: Option<u8>, configured: Option<u8>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.urgency = Urgency { service, configured, ..slot.urgency };
            self.send_queue.set_urgency(id, slot.urgency.effective());
        }
    }
}
