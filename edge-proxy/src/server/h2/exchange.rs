//! One exchange as a stream of a client's HTTP/2 connection.

use super::fields::{copy_fields, to_header_map};
use crate::h1::may_be_trailer;
use crate::server::exchange::{Abort, BodyError, Downstream, Lost, Part};
use crate::{BodyLength, Fields, ResponseHead};
use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use std::task::{Context, Poll, ready};

/// A response head as the library wants it.
pub(super) fn response(head: &ResponseHead, with_length: bool) -> http::Response<()> {
    let mut response = http::Response::new(());
    *response.status_mut() = http::StatusCode::from_u16(head.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    *response.headers_mut() = to_header_map(&head.fields);
    if let (true, BodyLength::Exact(length)) = (with_length, head.body) {
        response.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    }
    response
}

/// One stream.
pub(super) struct Exchange {
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    receive: Option<RecvStream>,
    chunk: Bytes,
    trailers: Fields,
    ended: bool,
    failed: Option<BodyError>,
}

impl Exchange {
    pub(super) fn new(respond: SendResponse<Bytes>, receive: RecvStream) -> Self {
        Self {
            respond,
            send: None,
            receive: Some(receive),
            chunk: Bytes::new(),
            trailers: Fields::new(),
            ended: false,
            failed: None,
        }
    }

    fn fail(&mut self, why: &h2::Error) -> BodyError {
        // The library resets the stream itself where the client broke the framing.
        let why = if why.is_library() { BodyError::Malformed } else { BodyError::Lost };
        self.failed = Some(why);
        why
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
        if let Some(why) = self.failed {
            return Poll::Ready(Err(why));
        }
        while self.chunk.is_empty() {
            let Some(receive) = &mut self.receive else { return Poll::Ready(Ok(Part::End)) };
            match ready!(receive.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(why)) => return Poll::Ready(Err(self.fail(&why))),
                None => {
                    match ready!(receive.poll_trailers(cx)) {
                        Ok(Some(trailers)) => {
                            copy_fields(&trailers, &mut self.trailers);
                            self.trailers.retain(|field| may_be_trailer(field.name));
                        }
                        Ok(None) => {}
                        Err(why) => return Poll::Ready(Err(self.fail(&why))),
                    }
                    self.receive = None;
                }
            }
        }
        Poll::Ready(Ok(Part::Data))
    }

    fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n);
        if let Some(receive) = &mut self.receive {
            // It fails only when the stream is gone, which the next poll says.
            let _ = receive.flow_control().release_capacity(n);
        }
    }

    fn take(&mut self, n: usize) -> Bytes {
        let taken = self.chunk.slice(..n);
        self.consume(n);
        taken
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Lost>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(Lost)) };
        if send.capacity() > 0 {
            return Poll::Ready(Ok(send.capacity()));
        }
        send.reserve_capacity(64 * 1024);
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(n)) if n > 0 => Poll::Ready(Ok(n)),
            Some(Ok(_)) => Poll::Pending,
            _ => Poll::Ready(Err(Lost)),
        }
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        // 101 has no meaning here (RFC 9113 §8.6); anything else is the client's to ignore.
        if head.status != 101 {
            let _ = self.respond.send_informational(response(head, false));
        }
    }

    fn send_head(&mut self, head: &ResponseHead, end: bool) {
        let with_length = head.body != BodyLength::Unknown && head.status >= 200 && head.status != 204;
        if let Ok(send) = self.respond.send_response(response(head, with_length), end) {
            self.send = Some(send);
        }
        self.ended = end;
    }

    fn send_tunnel(&mut self, head: &ResponseHead) {
        let mut head = head.clone();
        head.status = 200;
        head.fields.remove(crate::Name::SecWebSocketAccept);
        if let Ok(send) = self.respond.send_response(response(&head, false), false) {
            self.send = Some(send);
        }
    }

    fn send_data(&mut self, data: &[u8]) {
        self.send_bytes(Bytes::copy_from_slice(data));
    }

    fn send_bytes(&mut self, data: Bytes) {
        if let Some(send) = &mut self.send {
            // It fails only when the stream is gone, which `poll_capacity` says.
            let _ = send.send_data(data, false);
        }
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        self.ended = true;
        if let Some(send) = &mut self.send {
            let _ = match trailers {
                Some(trailers) if !trailers.is_empty() => send.send_trailers(to_header_map(trailers)),
                _ => send.send_data(Bytes::new(), true),
            };
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Lost> {
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| Lost)
    }

    fn abort(&mut self, why: Abort) {
        self.ended = true;
        let reason = match why {
            Abort::Truncated => Reason::INTERNAL_ERROR,
            Abort::Malformed => Reason::PROTOCOL_ERROR,
            Abort::Refused => Reason::REFUSED_STREAM,
            Abort::TimedOut => Reason::CANCEL,
        };
        match &mut self.send {
            Some(send) => send.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.abort(Abort::Truncated);
        }
        // A complete answer to a request that was not read to its end is followed by RST_STREAM NO_ERROR (RFC 9113 §8.1).
        // The library does that when nobody holds the stream any more; said here, it would throw the answer away that
        // still waits to be written.
    }
}
