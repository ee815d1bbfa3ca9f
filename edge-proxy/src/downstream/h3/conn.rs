//! A client's QUIC connection: the state machine of quinn-proto, and that of HTTP/3 above it.

mod peer_address;
mod reading;
mod sending;
mod upkeep;

pub(super) use reading::ReadOutcome;

use super::engine_state::EngineState;
use super::receive_window::ReceiveWindow;
use super::requests::{RequestSlot, RequestTable, StreamMap};
use super::uni::{CriticalStreams, UniStream};
use super::{CloseReason, RejectedHeads};
use crate::date;
use crate::send_queue::SendQueue;
use bytes::Bytes;
use edge_http::h3::request::RequestDecoder;
use edge_http::h3::settings::Settings;
use edge_http::h3::{Code, ProtocolError, control, response};
use edge_http::{RequestHead, ResponseHead};
use peer_address::PeerAddress;
use quinn_proto as quic;
use quinn_proto::{Dir, StreamEvent, StreamId, VarInt};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

/// The number of response bytes that a connection may have in flight or queued in QUIC before its path proves to be
/// faster. Content of other streams waits behind them. It is more than twice the initial congestion window.
pub(super) const SEND_WINDOW: u64 = 128 * 1024;

/// The number of bytes that a stream may pass to QUIC in its turn while other streams wait.
const TURN: usize = 16 * 1024;

/// A request whose head is complete, to be passed to the service.
pub(super) struct QuicRequest {
    /// The stream of the request.
    pub(super) id: StreamId,
    /// The head of the request.
    pub(super) head: RequestHead,
    /// The decoder of the stream, which continues with the content.
    pub(super) decoder: RequestDecoder,
    /// The bytes that were received behind the head and are not decoded yet.
    pub(super) input: Bytes,
    /// True if the stream is known to end with the head, so that the request has no content. False if that is not
    /// known yet.
    pub(super) ended: bool,
}

/// The state of a client's QUIC connection and of HTTP/3 on it.
pub(super) struct QuicConnection {
    /// The QUIC connection.
    pub(super) quic: quic::Connection,
    /// The open request streams.
    pub(super) slots: RequestTable,
    /// The number of request streams whose head is not complete.
    pub(super) heads: usize,
    /// The time at which the connection was created.
    pub(super) since: Instant,
    /// True if the connection has ended: nothing more can be sent or received.
    pub(super) lost: bool,
    /// The reason the connection ended. `None` while it is open.
    pub(super) closed: Option<CloseReason>,
    /// The tasks that wait for the end of the handshake.
    pub(super) handshake: Vec<Waker>,
    /// True once the ClientHello was processed, so that its server name is known.
    pub(super) opened: bool,
    /// The time at which the handshake was completed. `None` before that.
    connected: Option<Instant>,
    /// The unidirectional streams of the client that are being read.
    uni: StreamMap<UniStream>,
    /// The critical streams (control, QPACK) that the client has opened.
    seen: CriticalStreams,
    /// This side's control stream. `None` until it is opened.
    control: Option<StreamId>,
    /// The encoded frames for the control stream that QUIC has not accepted yet.
    control_out: Vec<u8>,
    /// The ID that follows that of the client's last request stream: 4 more, or 0 before the first.
    next_request: u64,
    /// The lowest stream ID whose request is rejected, as announced by the last GOAWAY. `None` if none is rejected.
    goaway: Option<u64>,
    /// The number of requests whose head was complete, since the connection began.
    requests: u64,
    /// The count of aborted requests, which decreases with time.
    aborted: u32,
    /// The time at which `aborted` was last decreased.
    forgiven: Instant,
    /// The client's address that policy and logs use.
    peer: PeerAddress,
    /// True if QUIC has not accepted all data that was offered since its send window was last adjusted.
    blocked: bool,
    /// The streams whose output waits until QUIC accepts more.
    send_queue: SendQueue<StreamId>,
    /// The number of bytes that QUIC has accepted since the connection began. It accepts more only when the client
    /// acknowledges.
    taken: u64,
    /// The time of the last PING, or of the connection's start.
    pinged: Instant,
    /// The receive window of the connection.
    window: ReceiveWindow,
    /// True if a task has waited for content of a request.
    awaits_content: bool,
    /// The numbers of rejected request heads since the service was last notified.
    pub(super) refused: RejectedHeads,
}

impl QuicConnection {
    /// Creates the state of a new connection whose QUIC handshake has begun. `window` is the size of the
    /// connection's receive window in bytes.
    pub(super) fn new(quic: quic::Connection, now: Instant, window: u32) -> Self {
        Self {
            peer: PeerAddress::new(quic.remote_address()),
            quic,
            slots: RequestTable::default(),
            heads: 0,
            since: now,
            lost: false,
            closed: None,
            handshake: Vec::new(),
            opened: false,
            connected: None,
            uni: StreamMap::default(),
            seen: CriticalStreams::default(),
            control: None,
            control_out: Vec::new(),
            next_request: 0,
            goaway: None,
            requests: 0,
            aborted: 0,
            forgiven: now,
            blocked: false,
            send_queue: SendQueue::default(),
            taken: 0,
            pinged: now,
            window: ReceiveWindow::new(window),
            awaits_content: false,
            refused: RejectedHeads::default(),
        }
    }

    /// Processes all pending events of QUIC: opens the control stream, reads streams, wakes tasks, and passes pending
    /// output to QUIC. Requests whose heads are complete are added to `arrived`. Before that, adjusts the send window
    /// if QUIC did not accept all data; after it, enlarges the receive window if that limits content for which a task
    /// waits.
    pub(super) fn drive(&mut self, shared: &EngineState, arrived: &mut Vec<QuicRequest>) {
        if std::mem::take(&mut self.blocked) {
            // Data in flight may be twice what the path holds, so that an acknowledgement never finds it idle.
            let window = 2 * self.quic.congestion_state().window();
            let limit = shared.limits().send_window;
            self.quic.set_send_window(window.clamp(SEND_WINDOW.min(limit), limit));
        }
        while let Some(event) = self.quic.poll() {
            match event {
                quic::Event::HandshakeDataReady => {
                    self.opened = true;
                    self.open_control(shared);
                }
                quic::Event::Connected => {
                    self.opened = true;
                    self.connected = Some(shared.now.get());
                    self.open_control(shared);
                    if !self.handshake.is_empty() {
                        shared.tasks.set(true);
                        self.handshake.drain(..).for_each(Waker::wake);
                    }
                }
                quic::Event::ConnectionLost { reason } => {
                    self.closed.get_or_insert(closed(&reason));
                    self.lose(shared);
                }
                // What arrived before the end is of no use to anybody.
                quic::Event::Stream(_) if self.lost => {}
                quic::Event::Stream(event) => self.stream_event(shared, &event, arrived),
                quic::Event::DatagramReceived | quic::Event::DatagramsUnblocked => {}
            }
        }
        if self.awaits_content {
            self.grow_window(|conn| conn.slots.values().any(|slot| slot.reader.is_some()));
        }
    }

    /// Handles an event of a stream: new streams, input, room for output, or STOP_SENDING. A request above the last
    /// one of GOAWAY is rejected with H3_REQUEST_REJECTED. STOP_SENDING ends the response, and counts as an aborted
    /// request if the request is in flight or its head is incomplete; on the control stream it closes the connection.
    fn stream_event(&mut self, shared: &EngineState, event: &StreamEvent, arrived: &mut Vec<QuicRequest>) {
        match *event {
            StreamEvent::Opened { dir: Dir::Bi } => {
                while let Some(id) = self.quic.streams().accept(Dir::Bi) {
                    self.next_request = u64::from(id) + 4;
                    if self.goaway.is_some_and(|limit| u64::from(id) >= limit) {
                        self.refuse(id, Code::H3_REQUEST_REJECTED);
                        continue;
                    }
                    let decoder = RequestDecoder::new(shared.limits().section);
                    let slot = RequestSlot {
                        head: Some(Box::new((decoder, shared.now.get()))),
                        ..RequestSlot::default()
                    };
                    self.slots.insert(id, slot);
                    self.heads += 1;
                    self.read_head(shared, id, arrived);
                }
            }
            StreamEvent::Opened { dir: Dir::Uni } => {
                while let Some(id) = self.quic.streams().accept(Dir::Uni) {
                    self.uni.insert(id, UniStream::Untyped(Vec::new()));
                    self.read_uni(shared, id);
                }
            }
            StreamEvent::Readable { id } if id.dir() == Dir::Uni => self.read_uni(shared, id),
            StreamEvent::Readable { id } => {
                let Some(slot) = self.slots.get_mut(&id) else { return };
                if slot.head.is_some() {
                    self.read_head(shared, id, arrived);
                } else if let Some(reader) = slot.reader.take() {
                    shared.tasks.set(true);
                    reader.wake();
                }
            }
            StreamEvent::Writable { id } => {
                if Some(id) == self.control {
                    self.flush_control();
                } else {
                    self.wait(id);
                }
                self.flush_queue(shared);
            }
            StreamEvent::Stopped { id, .. } if Some(id) == self.control => {
                // §6.2.1: neither side may close a control stream.
                self.close(shared, Code::H3_CLOSED_CRITICAL_STREAM);
            }
            StreamEvent::Stopped { id, error_code } => {
                let _ = self.quic.send_stream(id).reset(error_code);
                let Some(slot) = self.slots.get_mut(&id) else { return };
                slot.dead = true;
                slot.out.clear();
                slot.out_bytes = 0;
                if slot.wake() {
                    shared.tasks.set(true);
                }
                if slot.taken {
                    self.count_aborted(shared, id);
                } else if slot.head.is_some() {
                    self.count_aborted(shared, id);
                    self.refuse(id, Code::H3_REQUEST_CANCELLED);
                } else {
                    self.slots.remove(&id);
                }
            }
            StreamEvent::Finished { .. } | StreamEvent::Available { .. } => {}
        }
    }

    /// Opens this side's control stream and sends SETTINGS, unless it is open. If the client permits no stream yet,
    /// does nothing during the handshake, and closes the connection after it. QPACK streams are not opened: without a
    /// dynamic table they would stay empty (RFC 9204 §4.2).
    fn open_control(&mut self, shared: &EngineState) {
        if self.control.is_some() {
            return;
        }
        let Some(id) = self.quic.streams().open(Dir::Uni) else {
            if !self.quic.is_handshaking() {
                // §6.2: a peer must allow at least three.
                self.close(shared, Code::H3_GENERAL_PROTOCOL_ERROR);
            }
            return;
        };
        self.control = Some(id);
        self.control_out.push(control::CONTROL as u8);
        let settings = Settings {
            max_field_section_size: Some(shared.limits().section.section as u64),
            enable_connect_protocol: true,
            ..Settings::default()
        };
        settings.write(&mut self.control_out);
        self.flush_control();
    }

    /// Passes pending frames of the control stream to QUIC, as far as QUIC accepts them.
    fn flush_control(&mut self) {
        let Some(id) = self.control else { return };
        if let Ok(n) = self.quic.send_stream(id).write(&self.control_out) {
            self.control_out.drain(..n);
        }
    }

    /// Sends GOAWAY (RFC 9114 §5.2). If `last` is true, further requests are rejected; if false, the frame announces
    /// no limit, and requests are still accepted. Returns false, without an effect, before the control stream is open,
    /// once the connection has ended, and after a call with `last`.
    pub(super) fn go_away(&mut self, last: bool) -> bool {
        if self.control.is_none() || self.lost || self.goaway.is_some() {
            return false;
        }
        let id = if last { self.next_request } else { (1 << 62) - 4 };
        if last {
            self.goaway = Some(id);
        }
        control::write_goaway(&mut self.control_out, id);
        self.flush_control();
        true
    }

    /// Resets a stream in both directions with this code and discards its output. Removes its state unless a task owns
    /// it.
    pub(super) fn refuse(&mut self, id: StreamId, code: Code) {
        let _ = self.quic.send_stream(id).reset(var(code));
        let _ = self.quic.recv_stream(id).stop(var(code));
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.dead = true;
            slot.out.clear();
            slot.out_bytes = 0;
            if !slot.taken {
                self.heads -= usize::from(slot.head.is_some());
                self.slots.remove(&id);
            }
        }
    }

    /// Handles a protocol error on a stream that no task owns. An error of the connection closes it. An error of the
    /// stream resets the stream, and a head that is too large is answered with 431; both count as an aborted request.
    fn fail(&mut self, shared: &EngineState, id: StreamId, fault: ProtocolError) {
        match fault {
            ProtocolError::Connection(code) => self.close(shared, code),
            ProtocolError::Stream(code) => {
                // Malformed requests cost as much as ones that are broken off.
                self.count_aborted(shared, id);
                self.refused.malformed += u32::from(code == Code::H3_MESSAGE_ERROR);
                self.refuse(id, code);
            }
            ProtocolError::TooLarge => {
                let mut head = ResponseHead::new(431);
                date::add(&mut head.fields);
                let bytes = shared.encode(|out| response::write_head(out, &head));
                let _ = self.quic.recv_stream(id).stop(var(Code::H3_EXCESSIVE_LOAD));
                self.refused.too_large += 1;
                self.count_aborted(shared, id);
                if let Some(slot) = self.slots.get_mut(&id) {
                    self.heads -= usize::from(slot.head.take().is_some());
                    slot.out_bytes += bytes.len();
                    slot.out.push_back(bytes);
                    slot.fin = true;
                }
                self.flush(shared, id);
            }
        }
    }

    /// Closes the connection with this error code and ends all streams. No effect if it has ended already.
    pub(super) fn close(&mut self, shared: &EngineState, code: Code) {
        if self.lost {
            return;
        }
        self.quic.close(shared.now.get(), var(code), Bytes::new());
        self.closed.get_or_insert(CloseReason::Local(code));
        self.lose(shared);
    }

    /// Ends all streams after the connection has ended: wakes all waiting tasks, and removes the streams that no task
    /// owns.
    fn lose(&mut self, shared: &EngineState) {
        self.lost = true;
        self.send_queue.clear();
        self.handshake.drain(..).for_each(Waker::wake);
        for slot in self.slots.values_mut() {
            slot.wake();
        }
        self.slots.retain(|_, slot| slot.taken);
        self.heads = 0;
        self.uni.clear();
        shared.tasks.set(true);
    }
}

/// Converts an error code to quinn's integer type. Codes above 2^62-1 become that value.
pub(super) fn var(code: Code) -> VarInt {
    VarInt::from_u64(code.0).unwrap_or(VarInt::MAX)
}

/// Converts quinn-proto's reason for the end of a connection. Reasons that are not errors of either side become
/// `Local(H3_NO_ERROR)`.
fn closed(reason: &quic::ConnectionError) -> CloseReason {
    use quic::ConnectionError as E;
    match reason {
        E::ApplicationClosed(close) => CloseReason::Peer(close.error_code.into_inner()),
        E::ConnectionClosed(close) => CloseReason::PeerTransport(Some(close.error_code.into())),
        E::Reset => CloseReason::PeerTransport(None),
        E::TransportError(error) => CloseReason::Transport(error.code.into()),
        E::TimedOut => CloseReason::TimedOut,
        E::LocallyClosed | E::VersionMismatch | E::CidsExhausted => CloseReason::Local(Code::H3_NO_ERROR),
    }
}

/// A connection, shared by the engine and the tasks of its requests.
pub(super) struct QuicConnectionCell {
    /// The state of the engine.
    pub(super) shared: Rc<EngineState>,
    /// The index of the connection in the engine and its endpoint.
    pub(super) index: usize,
    /// True if the connection is in the engine's list of changed connections.
    pub(super) dirty: Cell<bool>,
    /// The state of the connection.
    pub(super) state: RefCell<QuicConnection>,
}

impl QuicConnectionCell {
    /// Adds the connection to the engine's list of changed connections, if it is not in it, and wakes the engine.
    pub(super) fn touch(&self) {
        if !self.dirty.replace(true) {
            self.shared.dirty.borrow_mut().push(self.index);
        }
        self.shared.wake();
    }
}
