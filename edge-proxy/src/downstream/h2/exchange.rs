//! An exchange on a stream of a client's HTTP/2 connection.

use super::conn::Http2Connection;
use super::slot::{StreamBody, remember};
use crate::body::{BodyError, BodyPart};
use crate::exchange::{Abort, ClientGone, Downstream};
use bytes::{Buf, Bytes};
use edge_http::h2::Code;
use edge_http::{BodyLength, Fields, ResponseHead};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

/// One request with its response on a stream of a client's HTTP/2 connection. Dropping it before the response is
/// complete resets the stream.
pub(super) struct Http2Exchange {
    /// The connection of the stream.
    conn: Rc<RefCell<Http2Connection>>,
    /// The identifier of the stream.
    id: u32,
    /// The received content that was taken from the stream's state and is not consumed yet.
    chunk: Bytes,
    /// The trailers of the request. Empty until its content is complete.
    trailers: Fields,
    /// The number of declared content bytes of the response that are not sent yet. `None` if the head declared no
    /// length, ended the stream, or is not sent.
    promised: Option<u64>,
    /// The progress of the response.
    sent: SendState,
}

/// The progress of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// The response is neither complete nor aborted.
    Partly,
    /// The response is complete.
    All,
    /// The stream was reset, or dropped without output.
    Aborted,
}

impl Http2Exchange {
    /// Creates the exchange of the stream with this identifier.
    pub(super) fn new(conn: Rc<RefCell<Http2Connection>>, id: u32) -> Self {
        let (trailers, sent) = (Fields::new(), SendState::Partly);
        Self { conn, id, chunk: Bytes::new(), trailers, promised: None, sent }
    }

    /// Marks the response as aborted. Unless the stream has ended, ends it and schedules its reset with this code for
    /// after the pending output.
    fn reset(&mut self, code: Code) {
        self.sent = SendState::Aborted;
        let mut conn = self.conn.borrow_mut();
        // If it is dead, one side has reset it already.
        if conn.slots.get(&self.id).is_some_and(|slot| !slot.dead) {
            // Behind the pending output, so that the client reads that part of the response first.
            conn.defer_reset(self.id, code);
        }
    }
}

impl Downstream for Http2Exchange {
    fn is_early(&self) -> bool {
        // HTTP/2 is only begun once the handshake is complete.
        false
    }

    fn accept(&mut self) {
        self.conn.borrow_mut().end_silence();
    }

    fn poll_handshake(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Ok(BodyPart::Data));
        }
        let mut conn = self.conn.borrow_mut();
        let Some(slot) = conn.slots.get_mut(&self.id) else { return Poll::Ready(Err(BodyError::Lost)) };
        if !slot.input.is_empty() {
            self.chunk = slot.input.split().freeze();
            return Poll::Ready(Ok(BodyPart::Data));
        }
        match slot.body {
            StreamBody::Failed(why) => Poll::Ready(Err(why)),
            StreamBody::Ended => {
                if let Some(trailers) = slot.trailers.take() {
                    self.trailers = trailers;
                }
                Poll::Ready(Ok(BodyPart::End))
            }
            StreamBody::Coming => {
                remember(&mut slot.reader, cx.waker());
                Poll::Pending
            }
        }
    }

    fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        self.conn.borrow_mut().release(self.id, n);
    }

    fn take(&mut self, n: usize) -> Bytes {
        let taken = self.chunk.split_to(n);
        self.conn.borrow_mut().release(self.id, n);
        taken
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ClientGone>> {
        if self.sent == SendState::Aborted {
            return Poll::Ready(Err(ClientGone));
        }
        match self.conn.borrow_mut().room(self.id, cx.waker()) {
            None => Poll::Ready(Err(ClientGone)),
            Some(0) => Poll::Pending,
            Some(room) => Poll::Ready(Ok(room)),
        }
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        // 101 has no meaning here (RFC 9113 §8.6); anything else is the client's to ignore.
        if head.status != 101 {
            self.conn.borrow_mut().send_head(self.id, head, false);
        }
    }

    fn has_priorities(&self) -> bool {
        true
    }

    fn prioritize(&mut self, service: Option<u8>, configured: Option<u8>) {
        self.conn.borrow_mut().prioritize(self.id, service, configured);
    }

    fn send_head(&mut self, head: &ResponseHead, end: bool) {
        self.promised = match head.body {
            BodyLength::Exact(length) if !end => Some(length),
            _ => None,
        };
        self.conn.borrow_mut().send_head(self.id, head, end);
        if end {
            self.sent = SendState::All;
        }
    }

    fn send_tunnel(&mut self, head: &ResponseHead, _protocol: &str) {
        // RFC 8441 §4: 200 accepts where HTTP/1.1 uses 101. The accept key belongs to the upstream hop only.
        let mut accepted = head.clone();
        accepted.status = 200;
        accepted.body = BodyLength::Unknown;
        accepted.fields.remove(edge_http::Name::SecWebSocketAccept);
        self.send_head(&accepted, false);
    }

    fn send_data(&mut self, data: &[u8]) {
        if data.is_empty() || self.sent != SendState::Partly {
            return;
        }
        if let Some(left) = &mut self.promised {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return self.reset(Code::INTERNAL_ERROR),
            }
        }
        self.conn.borrow_mut().send_data(self.id, data);
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        if self.sent != SendState::Partly {
            return;
        }
        if self.promised.is_some_and(|left| left > 0) {
            return self.reset(Code::INTERNAL_ERROR);
        }
        let mut conn = self.conn.borrow_mut();
        match trailers {
            Some(trailers) if !trailers.is_empty() => conn.send_trailers(self.id, trailers),
            _ => conn.send_end(self.id),
        }
        self.sent = SendState::All;
    }

    fn progress(&self) -> Option<u64> {
        self.conn.borrow().progress(self.id)
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        Poll::Ready(Ok(()))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        let mut conn = self.conn.borrow_mut();
        match conn.slots.get_mut(&self.id) {
            Some(slot) if !slot.dead => {
                remember(&mut slot.watcher, cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(ClientGone),
        }
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        self.poll_lost(cx)
    }

    fn abort(&mut self, why: Abort) {
        if self.sent == SendState::All {
            return;
        }
        if why == Abort::Refused && self.conn.borrow_mut().drop_in_silence(self.id) {
            self.sent = SendState::Aborted;
            return;
        }
        self.reset(match why {
            Abort::Truncated => Code::INTERNAL_ERROR,
            Abort::Malformed => Code::PROTOCOL_ERROR,
            Abort::Refused => Code::REFUSED_STREAM,
            Abort::TimedOut => Code::CANCEL,
        });
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        if self.sent == SendState::Partly {
            self.reset(Code::INTERNAL_ERROR);
        }
        let mut conn = self.conn.borrow_mut();
        conn.release(self.id, self.chunk.len());
        conn.release_stream(self.id, self.sent == SendState::All);
    }
}
