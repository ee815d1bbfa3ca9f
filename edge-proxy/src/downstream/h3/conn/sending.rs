//! The order of sending: the streams of a connection take turns in passing data to QUIC.
//!
//! QUIC limits the data of a connection that is in flight or queued. A single stream that fills that limit would keep
//! all others from sending, so the output of streams waits in a queue above QUIC, and a stream passes at most [`TURN`]
//! bytes to QUIC at a time. QUIC sends the data of several streams packet by packet in turns.

use super::super::engine_state::EngineState;
use super::super::requests::RequestSlot;
use super::{QuicConnection, TURN};
use edge_http::priority::{DEFAULT_URGENCY, Urgency};
use quinn_proto as quic;
use quinn_proto::StreamId;

/// The result of passing a stream's output to QUIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlushOutcome {
    /// QUIC accepted all output, or the stream has ended or does not exist.
    All,
    /// QUIC accepted as many bytes as the turn permits; more output is pending.
    Turn,
    /// QUIC accepted this many bytes, fewer than it was offered: the window of the stream or of the connection is
    /// exhausted.
    Short(usize),
}

impl QuicConnection {
    /// Passes a stream's output to QUIC now if no other stream waits, or else adds the stream to the queue. A stream
    /// whose output was not accepted completely is added to the queue if the connection's window is exhausted, else
    /// marked as stalled.
    pub(in super::super) fn flush(&mut self, shared: &EngineState, id: StreamId) {
        if self.send_queue.is_empty() {
            match self.write_stream(shared, id, usize::MAX) {
                FlushOutcome::Short(_) if self.is_full() => self.wait(id),
                FlushOutcome::Short(_) => self.stall(id),
                FlushOutcome::All | FlushOutcome::Turn => {}
            }
        } else {
            // Earlier streams wait for the connection's window, and QUIC reports when there is room.
            self.wait(id);
        }
    }

    /// Adds a stream with output or with a pending end to the queue, unless it is in it already or has ended. Its own
    /// window no longer counts as exhausted.
    pub(super) fn wait(&mut self, id: StreamId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.stalled = false;
            if !slot.waits && !slot.dead && (slot.fin || !slot.out.is_empty()) {
                slot.waits = true;
                self.send_queue.push(id, slot.urgency.effective());
            }
        }
    }

    /// Passes the output of the waiting streams to QUIC, the most urgent first and equally urgent ones in turns of
    /// [`TURN`] bytes, until QUIC accepts no more or none waits. A stream whose own window is exhausted leaves the
    /// queue.
    pub(super) fn flush_queue(&mut self, shared: &EngineState) {
        while let Some((id, urgency)) = self.send_queue.pop() {
            let most = if self.send_queue.is_empty() { usize::MAX } else { TURN };
            match self.write_stream(shared, id, most) {
                FlushOutcome::All => self.waited(id),
                FlushOutcome::Turn => self.send_queue.push(id, urgency),
                FlushOutcome::Short(given) if self.is_full() => {
                    // A stream that could pass nothing keeps its turn.
                    if given > 0 {
                        self.send_queue.push(id, urgency);
                    } else {
                        self.send_queue.push_front(id, urgency);
                    }
                    return;
                }
                FlushOutcome::Short(_) => {
                    self.waited(id);
                    self.stall(id);
                }
            }
        }
    }

    /// Marks a stream as no longer waiting in the queue. No effect if it does not exist.
    fn waited(&mut self, id: StreamId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.waits = false;
        }
    }

    /// Marks a stream as stalled, since its own flow-control window is exhausted. No effect if it does not exist.
    fn stall(&mut self, id: StreamId) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.stalled = true;
        }
    }

    /// Returns whether QUIC accepts no data of any stream. Called after it did not accept all data of one. If true,
    /// QUIC reports when that changes.
    ///
    /// QUIC does not tell whether the stream or the connection is blocked. The control stream carries little, so only
    /// the connection can block it; writing to it also makes QUIC report when there is room again. If it is not
    /// blocked, that costs an empty frame, once for a stream whose client does not read it.
    fn is_full(&mut self) -> bool {
        let full = match self.control {
            Some(control) => self.quic.send_stream(control).write(b"") == Err(quic::WriteError::Blocked),
            None => false,
        };
        self.blocked |= full;
        full
    }

    /// Passes up to `most` bytes of a stream's output to QUIC, and ends the stream after its last output. Wakes the
    /// stream's task if all output was accepted or at most half of the send buffer is filled. Removes a stream that
    /// has ended and that no task owns.
    fn write_stream(&mut self, shared: &EngineState, id: StreamId, most: usize) -> FlushOutcome {
        let Some(slot) = self.slots.get_mut(&id) else { return FlushOutcome::All };
        if slot.dead {
            return FlushOutcome::All;
        }
        let mut stream = self.quic.send_stream(id);
        let (mut given, mut short) = (0, false);
        while !slot.out.is_empty() && given < most && !short {
            match write(&mut stream, slot, most - given) {
                Ok(bytes) => {
                    given += bytes;
                    slot.out_bytes -= bytes;
                    self.taken += bytes as u64;
                }
                Err(quic::WriteError::Blocked) => short = true,
                // The engine gets the error too, and does the rest.
                Err(quic::WriteError::Stopped(_) | quic::WriteError::ClosedStream) => {
                    return FlushOutcome::All;
                }
            }
        }
        if (slot.out.is_empty() || slot.out_bytes <= shared.limits().send_buffer / 2)
            && let Some(writer) = slot.writer.take()
        {
            shared.tasks.set(true);
            writer.wake();
        }
        if !slot.out.is_empty() {
            return if short { FlushOutcome::Short(given) } else { FlushOutcome::Turn };
        }
        if slot.fin {
            let _ = stream.finish();
            if !slot.taken {
                self.slots.remove(&id);
            }
        }
        FlushOutcome::All
    }

    /// Returns the number of bytes that QUIC has accepted on the connection since it began. `None` if the stream's own
    /// window is exhausted, which only the client can change, or if the stream does not exist.
    pub(in super::super) fn progress(&self, id: StreamId) -> Option<u64> {
        self.slots.get(&id).filter(|slot| !slot.stalled).map(|_| self.taken)
    }

    /// Applies the urgency of a response to the queue and to QUIC, which sends more urgent streams first. No effect if
    /// the stream does not exist.
    pub(super) fn urgency_changed(&mut self, id: StreamId) {
        let Some(slot) = self.slots.get(&id) else { return };
        let urgency = slot.urgency.effective();
        self.send_queue.set_urgency(id, urgency);
        let priority = i32::from(DEFAULT_URGENCY) - i32::from(urgency);
        let mut stream = self.quic.send_stream(id);
        // A stream that is closed needs no priority.
        if stream.priority().is_ok_and(|current| current != priority) {
            let _ = stream.set_priority(priority);
        }
    }

    /// Sets the urgencies of a response that the service and the configuration state. No effect if the stream does not
    /// exist.
    pub(in super::super) fn prioritize(&mut self, id: StreamId, service: Option<u8>, configured: Option<u8>) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.urgency = Urgency { service, configured, ..slot.urgency };
            self.urgency_changed(id);
        }
    }

    /// Changes the urgency that the client requests for a response, as a PRIORITY_UPDATE demands. `stream` is the ID of
    /// the request stream. No effect for a request that has ended, or has not arrived, since its head can contain the
    /// priority.
    pub(super) fn reprioritize(&mut self, stream: u64, urgency: u8) {
        let Ok(index) = quic::VarInt::from_u64(stream >> 2) else { return };
        let id = StreamId::new(quic::Side::Client, quic::Dir::Bi, index.into_inner());
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.urgency.client = Some(urgency);
            self.urgency_changed(id);
        }
    }
}

/// Writes up to `most` bytes of a stream's output to QUIC, and removes the accepted bytes from it. Returns their
/// number.
///
/// # Errors
/// The error of quinn-proto: the stream is blocked, stopped or closed.
fn write(
    stream: &mut quic::SendStream<'_>,
    slot: &mut RequestSlot,
    most: usize,
) -> Result<usize, quic::WriteError> {
    if slot.out_bytes <= most {
        let written = stream.write_chunks(slot.out.make_contiguous())?;
        slot.out.drain(..written.chunks);
        return Ok(written.bytes);
    }
    let Some(first) = slot.out.front_mut() else { return Ok(0) };
    let mut part = [first.slice(..first.len().min(most))];
    let written = stream.write_chunks(&mut part)?;
    let _ = first.split_to(written.bytes);
    if first.is_empty() {
        slot.out.pop_front();
    }
    Ok(written.bytes)
}
