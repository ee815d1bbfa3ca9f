//! One exchange as a stream of a client's HTTP/2 connection.

use super::conn::Conn;
use super::slot::{Body, remember};
use crate::h2::Code;
use crate::server::body::{BodyError, Part};
use crate::server::exchange::{Abort, Downstream, Lost};
use crate::{BodyLength, Fields, ResponseHead};
use bytes::{Buf, Bytes};
use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A stream in the hands of a task. Dropped before its response is complete, it is reset.
pub(super) struct Exchange {
    conn: Rc<RefCell<Conn>>,
    id: u32,
    chunk: Bytes,
    trailers: Fields,
    /// What the response's head promised and was not sent.
    promised: Option<u64>,
    sent: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Partly,
    All,
    Aborted,
}

impl Exchange {
    pub(super) fn new(conn: Rc<RefCell<Conn>>, id: u32) -> Self {
        let (trailers, sent) = (Fields::new(), Sent::Partly);
        Self { conn, id, chunk: Bytes::new(), trailers, promised: None, sent }
    }

    fn reset(&mut self, code: Code) {
        self.sent = Sent::Aborted;
        let mut conn = self.conn.borrow_mut();
        // Of one that is dead, either side said so already.
        if conn.slots.get(&self.id).is_some_and(|slot| !slot.dead) {
            conn.reset(self.id, code);
        }
    }
}

impl Downstream for Exchange {
    fn is_early(&self) -> bool {
        // HTTP/2 is only begun once the handshake is complete.
        false
    }

    fn poll_handshake(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, BodyError>> {
        if !self.chunk.is_empty() {
            return Poll::Ready(Ok(Part::Data));
        }
        let mut conn = self.conn.borrow_mut();
        let Some(slot) = conn.slots.get_mut(&self.id) else { return Poll::Ready(Err(BodyError::Lost)) };
        if !slot.input.is_empty() {
            self.chunk = slot.input.split().freeze();
            return Poll::Ready(Ok(Part::Data));
        }
        match slot.body {
            Body::Failed(why) => Poll::Ready(Err(why)),
            Body::Ended => {
                if let Some(trailers) = slot.trailers.take() {
                    self.trailers = trailers;
                }
                Poll::Ready(Ok(Part::End))
            }
            Body::Coming => {
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

    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Lost>> {
        if self.sent == Sent::Aborted {
            return Poll::Ready(Err(Lost));
        }
        match self.conn.borrow_mut().room(self.id, cx.waker()) {
            None => Poll::Ready(Err(Lost)),
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

    fn send_head(&mut self, head: &ResponseHead, end: bool) {
        self.promised = match head.body {
            BodyLength::Exact(length) if !end => Some(length),
            _ => None,
        };
        self.conn.borrow_mut().send_head(self.id, head, end);
        if end {
            self.sent = Sent::All;
        }
    }

    fn send_tunnel(&mut self, head: &ResponseHead) {
        // RFC 8441 §4: where HTTP/1.1 says 101, 200 accepts. The answer to a key is only the hop's to the service.
        let mut accepted = head.clone();
        accepted.status = 200;
        accepted.body = BodyLength::Unknown;
        accepted.fields.remove(crate::Name::SecWebSocketAccept);
        self.send_head(&accepted, false);
    }

    fn send_data(&mut self, data: &[u8]) {
        if data.is_empty() || self.sent != Sent::Partly {
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
        if self.sent != Sent::Partly {
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
        self.sent = Sent::All;
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        let mut conn = self.conn.borrow_mut();
        match conn.slots.get_mut(&self.id) {
            Some(slot) if !slot.dead => {
                remember(&mut slot.watcher, cx.waker());
                Poll::Pending
            }
            _ => Poll::Ready(Lost),
        }
    }

    fn abort(&mut self, why: Abort) {
        if self.sent == Sent::All {
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

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.sent == Sent::Partly {
            self.reset(Code::INTERNAL_ERROR);
        }
        let mut conn = self.conn.borrow_mut();
        conn.release(self.id, self.chunk.len());
        conn.give_back(self.id, self.sent == Sent::All);
    }
}
