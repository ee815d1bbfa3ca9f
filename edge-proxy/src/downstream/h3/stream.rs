//! A request stream and its response, for an exchange.

use super::conn::{QuicConnection, QuicConnectionCell, QuicRequest, ReadOutcome, var};
use super::requests::remember;
use crate::body::{BodyError, BodyPart};
use crate::buffer::SIZE;
use crate::exchange::{Abort, ClientGone, Downstream};
use bytes::{Buf, Bytes};
use edge_http::h3::request::{RequestDecoder, RequestItem};
use edge_http::h3::{Code, ProtocolError, frame, response};
use edge_http::{BodyLength, Fields, RequestHead, ResponseHead};
use quinn_proto::StreamId;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A request stream that is owned by a task. Dropping it before its response is complete resets the stream.
pub(crate) struct H3Stream {
    /// The connection of the stream.
    conn: Rc<QuicConnectionCell>,
    /// The identifier of the stream.
    id: StreamId,
    /// The decoder of the stream.
    decoder: RequestDecoder,
    /// The received bytes that are not consumed: first `content` bytes of content, then bytes that are not decoded yet.
    input: Bytes,
    /// The number of content bytes at the beginning of `input`.
    content: usize,
    /// The trailers of the request. Empty until its content is complete.
    trailers: Fields,
    /// The progress of the request's content.
    body: ContentState,
    /// The number of declared content bytes of the response that are not sent yet. The header of their single DATA
    /// frame was sent with the head. `None` if the head declared no length, ended the stream, or is not sent.
    promised: Option<u64>,
    /// The progress of the response.
    sent: StreamSendState,
}

/// The progress of the request's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentState {
    /// More content is expected.
    Coming,
    /// The content is complete.
    Ended,
    /// The content failed with this error.
    Failed(BodyError),
}

/// The progress of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamSendState {
    /// The response is neither complete nor aborted.
    Partly,
    /// The response is complete.
    All,
    /// The response was aborted, and the stream reset.
    Aborted,
}

impl H3Stream {
    /// Creates the stream of a request whose head is complete. Returns the request's head and the stream.
    pub(super) fn new(conn: Rc<QuicConnectionCell>, arrived: QuicRequest) -> (RequestHead, Self) {
        let stream = Self {
            conn,
            id: arrived.id,
            decoder: arrived.decoder,
            input: arrived.input,
            content: 0,
            trailers: Fields::new(),
            body: if arrived.ended { ContentState::Ended } else { ContentState::Coming },
            promised: None,
            sent: StreamSendState::Partly,
        };
        (arrived.head, stream)
    }

    /// Returns whether the stream or its connection has ended, so that nothing more can be sent.
    fn is_lost(&self, conn: &QuicConnection) -> bool {
        conn.lost || conn.slots.get(&self.id).is_none_or(|slot| slot.dead)
    }

    /// Queues bytes of the response and passes to QUIC as many as it accepts. `fin` is true if the stream ends with
    /// them. No effect if the stream has ended.
    fn push(&self, parts: impl IntoIterator<Item = Bytes>, fin: bool) {
        let mut conn = self.conn.state.borrow_mut();
        if self.is_lost(&conn) {
            return;
        }
        let Some(slot) = conn.slots.get_mut(&self.id) else { return };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            slot.out_bytes += part.len();
            slot.out.push_back(part);
        }
        slot.fin |= fin;
        conn.flush(&self.conn.shared, self.id);
        drop(conn);
        self.conn.touch();
    }

    /// Decodes the next part of the request: content, which is then at the beginning of `input`, or the end. Trailers
    /// are stored. `None` if nothing more has arrived, or if the client reset the stream, which counts as an aborted
    /// request and sets the state of the content to failed.
    ///
    /// # Errors
    /// [`ProtocolError`] if a frame is malformed or out of place.
    fn read(&mut self) -> Result<Option<BodyPart>, ProtocolError> {
        loop {
            if !self.input.is_empty() {
                let (used, item) = self.decoder.step(&self.input)?;
                self.input.advance(used);
                match item {
                    RequestItem::More | RequestItem::HeadReady => {}
                    RequestItem::Data(len) => {
                        self.content = len;
                        return Ok(Some(BodyPart::Data));
                    }
                    RequestItem::Trailers(fields) => self.trailers = fields,
                }
                continue;
            }
            let read = self.conn.state.borrow_mut().read(self.id);
            match read {
                ReadOutcome::Data(data) => {
                    self.input = data;
                    // The connection may have flow-control credit to send.
                    self.conn.touch();
                }
                ReadOutcome::End => {
                    self.conn.touch();
                    self.decoder.finish()?;
                    return Ok(Some(BodyPart::End));
                }
                ReadOutcome::Blocked => return Ok(None),
                ReadOutcome::Reset => {
                    let mut conn = self.conn.state.borrow_mut();
                    conn.count_aborted(&self.conn.shared, self.id);
                    drop(conn);
                    self.conn.touch();
                    self.body = ContentState::Failed(BodyError::Lost);
                    return Ok(None);
                }
            }
        }
    }

    /// Resets the response with this code, and stops the request unless all of it was read. Marks the response as
    /// aborted.
    fn reset(&mut self, code: Code) {
        let mut conn = self.conn.state.borrow_mut();
        if !conn.lost {
            if self.body == ContentState::Ended {
                let _ = conn.quic.send_stream(self.id).reset(var(code));
                if let Some(slot) = conn.slots.get_mut(&self.id) {
                    slot.dead = true;
                    slot.out.clear();
                    slot.out_bytes = 0;
                }
            } else {
                conn.refuse(self.id, code);
            }
        }
        drop(conn);
        self.sent = StreamSendState::Aborted;
        self.conn.touch();
    }
}

impl Downstream for H3Stream {
    fn is_early(&self) -> bool {
        // Data in a 0-RTT packet is early until the handshake proves that it is no replay. Before that, only such
        // packets contain requests.
        self.conn.state.borrow().quic.is_handshaking()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        let mut conn = self.conn.state.borrow_mut();
        if self.is_lost(&conn) {
            return Poll::Ready(Err(ClientGone));
        }
        if !conn.quic.is_handshaking() {
            return Poll::Ready(Ok(()));
        }
        if !conn.handshake.iter().any(|waker| waker.will_wake(cx.waker())) {
            conn.handshake.push(cx.waker().clone());
        }
        if let Some(slot) = conn.slots.get_mut(&self.id) {
            remember(&mut slot.watcher, cx.waker());
        }
        Poll::Pending
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>> {
        match self.body {
            _ if self.content > 0 => return Poll::Ready(Ok(BodyPart::Data)),
            ContentState::Ended => return Poll::Ready(Ok(BodyPart::End)),
            ContentState::Failed(error) => return Poll::Ready(Err(error)),
            ContentState::Coming => {}
        }
        // What came before the connection ended is still there.
        if self.conn.state.borrow().lost
            && let Ok(Some(BodyPart::Data)) = self.read()
        {
            return Poll::Ready(Ok(BodyPart::Data));
        }
        if self.is_lost(&self.conn.state.borrow()) {
            self.body = ContentState::Failed(BodyError::Lost);
            return Poll::Ready(Err(BodyError::Lost));
        }
        match self.read() {
            Ok(Some(part)) => {
                if part == BodyPart::End {
                    self.body = ContentState::Ended;
                }
                Poll::Ready(Ok(part))
            }
            Ok(None) => {
                if let ContentState::Failed(error) = self.body {
                    return Poll::Ready(Err(error));
                }
                if self.conn.state.borrow_mut().await_content(self.id, cx.waker()) {
                    self.conn.touch();
                }
                Poll::Pending
            }
            Err(fault) => {
                let mut error = BodyError::Malformed;
                let mut conn = self.conn.state.borrow_mut();
                conn.count_aborted(&self.conn.shared, self.id);
                if let ProtocolError::Connection(code) = fault {
                    conn.close(&self.conn.shared, code);
                    error = BodyError::Lost;
                }
                drop(conn);
                self.conn.touch();
                self.body = ContentState::Failed(error);
                Poll::Ready(Err(error))
            }
        }
    }

    fn chunk(&self) -> &[u8] {
        &self.input[..self.content]
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.content);
        self.input.advance(n);
        self.content -= n;
    }

    fn take(&mut self, n: usize) -> Bytes {
        let n = n.min(self.content);
        self.content -= n;
        self.input.split_to(n)
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ClientGone>> {
        let mut conn = self.conn.state.borrow_mut();
        if self.is_lost(&conn) || self.sent == StreamSendState::Aborted {
            return Poll::Ready(Err(ClientGone));
        }
        let limit = self.conn.shared.limits().send_buffer;
        let Some(slot) = conn.slots.get_mut(&self.id) else { return Poll::Ready(Err(ClientGone)) };
        match limit.saturating_sub(slot.out_bytes) {
            0 => {
                remember(&mut slot.writer, cx.waker());
                Poll::Pending
            }
            // A read of at most SIZE bytes is accepted as a whole, so that it need not be copied.
            room => Poll::Ready(Ok(room.max(SIZE))),
        }
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        let bytes = self.conn.shared.encode(|out| response::write_head(out, head));
        self.push([bytes], false);
    }

    fn has_priorities(&self) -> bool {
        true
    }

    fn prioritize(&mut self, service: Option<u8>, configured: Option<u8>) {
        self.conn.state.borrow_mut().prioritize(self.id, service, configured);
    }

    fn send_head(&mut self, head: &ResponseHead, end: bool) {
        // Content whose length is known goes into one DATA frame, whose header goes with the head.
        let promised = match head.body {
            BodyLength::Exact(length) if !end => Some(length),
            _ => None,
        };
        let bytes = self.conn.shared.encode(|out| {
            response::write_head(out, head);
            if let Some(length @ 1..) = promised {
                frame::write_header(out, frame::DATA, length);
            }
        });
        self.promised = promised;
        self.push([bytes], end);
        if end {
            self.sent = StreamSendState::All;
        }
    }

    fn send_tunnel(&mut self, head: &ResponseHead, _protocol: &str) {
        // RFC 9220 §3: where HTTP/1.1 says 101, a 2xx accepts.
        let mut accepted = head.clone();
        accepted.status = if (200..300).contains(&head.status) { head.status } else { 200 };
        accepted.body = BodyLength::Unknown;
        // The accept key belongs to the upstream hop only.
        accepted.fields.remove(edge_http::Name::SecWebSocketAccept);
        self.send_head(&accepted, false);
    }

    fn send_data(&mut self, data: &[u8]) {
        self.send_bytes(Bytes::copy_from_slice(data));
    }

    fn takes_bytes(&self) -> bool {
        true
    }

    fn send_bytes(&mut self, data: Bytes) {
        if data.is_empty() || self.sent != StreamSendState::Partly {
            return;
        }
        if let Some(left) = &mut self.promised {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                // More than was promised would be read as frames.
                None => return self.reset(Code::H3_INTERNAL_ERROR),
            }
            return self.push([data], false);
        }
        let len = data.len() as u64;
        let header = self.conn.shared.encode(|out| frame::write_header(out, frame::DATA, len));
        self.push([header, data], false);
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        if self.sent != StreamSendState::Partly {
            return;
        }
        if self.promised.is_some_and(|left| left > 0) {
            return self.reset(Code::H3_INTERNAL_ERROR);
        }
        let trailers = match trailers {
            Some(fields) if !fields.is_empty() => {
                self.conn.shared.encode(|out| response::write_trailers(out, fields))
            }
            _ => Bytes::new(),
        };
        self.push([trailers], true);
        self.sent = StreamSendState::All;
    }

    fn progress(&self) -> Option<u64> {
        self.conn.state.borrow().progress(self.id)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        let mut conn = self.conn.state.borrow_mut();
        if self.is_lost(&conn) || self.sent == StreamSendState::Aborted {
            return Poll::Ready(Err(ClientGone));
        }
        let Some(slot) = conn.slots.get_mut(&self.id) else { return Poll::Ready(Err(ClientGone)) };
        if slot.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        remember(&mut slot.writer, cx.waker());
        Poll::Pending
    }

    fn reset_overtakes(&self) -> bool {
        true
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        let mut conn = self.conn.state.borrow_mut();
        if self.is_lost(&conn) {
            return Poll::Ready(ClientGone);
        }
        if let Some(slot) = conn.slots.get_mut(&self.id) {
            remember(&mut slot.watcher, cx.waker());
        }
        Poll::Pending
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        self.poll_lost(cx)
    }

    fn abort(&mut self, why: Abort) {
        if self.sent == StreamSendState::All {
            return;
        }
        self.reset(match why {
            Abort::Truncated => Code::H3_INTERNAL_ERROR,
            Abort::Malformed => Code::H3_MESSAGE_ERROR,
            Abort::Refused => Code::H3_REQUEST_REJECTED,
            Abort::TimedOut => Code::H3_REQUEST_CANCELLED,
        });
    }
}

impl Drop for H3Stream {
    fn drop(&mut self) {
        if self.sent == StreamSendState::Partly {
            self.reset(match self.body {
                ContentState::Failed(BodyError::Malformed) => Code::H3_MESSAGE_ERROR,
                _ => Code::H3_INTERNAL_ERROR,
            });
        }
        let mut conn = self.conn.state.borrow_mut();
        if !conn.lost && self.sent == StreamSendState::All && self.body != ContentState::Ended {
            // §4.1: a response may be complete before the request was read. The rest of the request is not needed; if
            // all of it has arrived, reading it costs less than stopping it.
            loop {
                match conn.read(self.id) {
                    ReadOutcome::Data(_) => {}
                    ReadOutcome::End | ReadOutcome::Reset => break,
                    ReadOutcome::Blocked => {
                        let _ = conn.quic.recv_stream(self.id).stop(var(Code::H3_NO_ERROR));
                        break;
                    }
                }
            }
        }
        let lost = conn.lost;
        if let Some(slot) = conn.slots.get_mut(&self.id) {
            slot.taken = false;
            if lost || slot.dead || slot.out.is_empty() {
                conn.slots.remove(&self.id);
            }
        }
        drop(conn);
        self.conn.touch();
    }
}
