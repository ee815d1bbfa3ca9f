//! Reading of streams: request heads, content, and the client's unidirectional streams.

use super::super::engine_state::EngineState;
use super::super::requests::remember;
use super::super::uni::{UniAction, UniStream};
use super::{QuicConnection, QuicRequest, var};
use crate::heads;
use bytes::Bytes;
use edge_http::h3::request::RequestItem;
use edge_http::h3::{Code, ProtocolError};
use edge_http::priority::Priority;
use edge_http::section::StreamState;
use quinn_proto::{ReadError, StreamId, VarInt};
use std::task::Waker;

/// The highest number of bytes that one read takes from QUIC.
const MAX_CHUNK: usize = 64 * 1024;

/// The result of reading from a stream.
pub(in super::super) enum ReadOutcome {
    /// The next bytes, at most [`MAX_CHUNK`].
    Data(Bytes),
    /// The stream has ended, and all of it was read.
    End,
    /// Nothing more has arrived yet.
    Blocked,
    /// The client reset the stream, or the stream can no longer be read.
    Reset,
}

impl QuicConnection {
    /// Registers a task that waits for content of a stream, and enlarges the connection's receive window if it keeps
    /// the client from sending. Returns true if the window grew, so that it is to be announced to the client. No effect
    /// if the stream does not exist.
    pub(in super::super) fn await_content(&mut self, id: StreamId, waker: &Waker) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else { return false };
        remember(&mut slot.reader, waker);
        self.awaits_content = true;
        self.grow_window(|_| true)
    }

    /// Enlarges the receive window if it keeps the client from sending, and `awaited` returns true: a task waits for
    /// content. Returns true if it grew.
    pub(super) fn grow_window(&mut self, awaited: impl FnOnce(&Self) -> bool) -> bool {
        let stats = self.quic.stats();
        let (blocked, received) = (stats.frame_rx.data_blocked, stats.udp_rx.bytes);
        if self.lost || !self.window.is_limiting(blocked, received) || !awaited(self) {
            return false;
        }
        let grown = self.window.grow(blocked, received);
        if let Some(size) = grown {
            self.quic.set_receive_window(VarInt::from_u32(size));
        }
        grown.is_some()
    }

    /// Reads and decodes the available bytes of a unidirectional stream of the client, and applies its priority
    /// updates. Too many frames on the control stream, or an error of the protocol, close the connection. A stream of
    /// an unknown type is stopped.
    pub(super) fn read_uni(&mut self, shared: &EngineState, id: StreamId) {
        while self.uni.contains_key(&id) && !self.lost {
            let read = self.read(id);
            let Some(uni) = self.uni.get_mut(&id) else { return };
            let next = match read {
                ReadOutcome::Blocked => return,
                ReadOutcome::Data(data) => {
                    let next = uni.feed(&mut self.seen, &data);
                    if uni.frames() > shared.limits().control_frames + self.requests {
                        Err(ProtocolError::Connection(Code::H3_EXCESSIVE_LOAD))
                    } else {
                        next
                    }
                }
                ReadOutcome::End | ReadOutcome::Reset => {
                    let next = uni.closed();
                    self.uni.remove(&id);
                    next.map(|()| UniAction::Read)
                }
            };
            if let Some(UniStream::Control(control)) = self.uni.get_mut(&id) {
                for (stream, priority) in control.take_priorities() {
                    self.reprioritize(stream, priority.urgency);
                }
            }
            match next {
                Ok(UniAction::Read) => {}
                Ok(UniAction::Stop) => {
                    self.uni.remove(&id);
                    let _ = self.quic.recv_stream(id).stop(var(Code::H3_STREAM_CREATION_ERROR));
                }
                Err(fault) => self.fail(shared, id, fault),
            }
        }
    }

    /// Reads the available bytes of a request's head. Adds the request to `arrived` when the head is complete. A
    /// malformed or incomplete head resets the stream or closes the connection, a head that is too large is answered
    /// with 431. A reset by the client counts as an aborted request.
    pub(super) fn read_head(&mut self, shared: &EngineState, id: StreamId, arrived: &mut Vec<QuicRequest>) {
        while !self.lost {
            let read = self.read(id);
            let Some(head) = self.slots.get_mut(&id).and_then(|slot| slot.head.as_mut()) else { return };
            let decoder = &mut head.0;
            let input = match read {
                ReadOutcome::Blocked => return,
                ReadOutcome::Data(data) => data,
                ReadOutcome::End => {
                    let fault = decoder.finish().err();
                    return self.fail(
                        shared,
                        id,
                        fault.unwrap_or(ProtocolError::Stream(Code::H3_REQUEST_INCOMPLETE)),
                    );
                }
                ReadOutcome::Reset => {
                    self.count_aborted(shared, id);
                    return self.refuse(id, Code::H3_REQUEST_CANCELLED);
                }
            };
            match decoder.step(&input) {
                Ok((used, RequestItem::HeadReady)) => {
                    return self.head_ready(shared, id, (input, used), arrived);
                }
                // Anything else cannot be before the head.
                Ok(_) => {}
                Err(fault) => return self.fail(shared, id, fault),
            }
        }
    }

    /// Decodes a complete head and adds the request to `arrived`. `input` contains `used` bytes of it, and the bytes
    /// received behind it; if there are none, reads the stream once more, since most requests end with their head. An
    /// unacceptable head is handled as by [`QuicConnection::fail`].
    fn head_ready(
        &mut self,
        shared: &EngineState,
        id: StreamId,
        (input, used): (Bytes, usize),
        arrived: &mut Vec<QuicRequest>,
    ) {
        // Most requests end with their head. To know it now saves their tasks from asking.
        let (mut ended, mut behind) = (false, Bytes::new());
        if used < input.len() {
            behind = input.slice(used..);
        } else {
            match self.read(id) {
                ReadOutcome::Data(data) => behind = data,
                ReadOutcome::End => ended = true,
                ReadOutcome::Blocked => {}
                ReadOutcome::Reset => {
                    self.count_aborted(shared, id);
                    return self.refuse(id, Code::H3_REQUEST_CANCELLED);
                }
            }
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(waiting) = slot.head.take() else { return };
        self.heads -= 1;
        let (mut decoder, mut head) = (waiting.0, heads::request());
        let state = if ended { StreamState::Ended } else { StreamState::Open };
        match decoder.head(&input, &mut shared.decoder.borrow_mut(), state, &mut head) {
            Ok(()) => {
                slot.taken = true;
                slot.urgency.client = Priority::of(&head).map(|priority| priority.urgency);
                self.urgency_changed(id);
                self.requests += 1;
                arrived.push(QuicRequest { id, head, decoder, input: behind, ended });
            }
            Err(fault) => self.fail(shared, id, fault),
        }
    }

    /// Reads the next bytes of a stream, at most [`MAX_CHUNK`], and returns as much flow-control credit to the client.
    pub(in super::super) fn read(&mut self, id: StreamId) -> ReadOutcome {
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return ReadOutcome::Reset };
        let read = match chunks.next(MAX_CHUNK) {
            Ok(Some(chunk)) => ReadOutcome::Data(chunk.bytes),
            Ok(None) => ReadOutcome::End,
            Err(ReadError::Blocked) => ReadOutcome::Blocked,
            Err(ReadError::Reset(_)) => ReadOutcome::Reset,
        };
        // quinn-proto decides later whether the credit is worth a packet.
        let _ = chunks.finalize();
        read
    }
}
