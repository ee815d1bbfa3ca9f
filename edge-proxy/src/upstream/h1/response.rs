//! Reading of the response: its head, and its content by the framing.

use super::super::wire::UpstreamTransport;
use super::super::{Cause, UpstreamError};
use super::{Http1Request, RequestWriteState, ResponseReadState};
use crate::body::BodyPart;
use crate::socket::Socket;
use bytes::Bytes;
use edge_http::h1::{ResponseBody, keep_alive_timeout, response, response_line_of};
use edge_http::{Name, ResponseHead};
use std::task::{Context, Poll, ready};

impl Http1Request {
    /// Adds to the input, by at most one read. Returns the number of bytes; 0 is the end of the stream.
    ///
    /// # Errors
    /// `Malformed` for invalid TLS records. For other errors `Stale` if the connection was reused and nothing of a
    /// response has arrived, else `Broken`.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, UpstreamError>> {
        let expected = match &self.receiving {
            ResponseReadState::Head | ResponseReadState::Done => 0,
            ResponseReadState::Length(left) => *left,
            ResponseReadState::Chunked(_) | ResponseReadState::UntilClose => u64::MAX,
        };
        match ready!(self.input.poll_fill(&mut self.wire, expected, cx)) {
            Ok(n) => {
                self.answered |= n > 0;
                Poll::Ready(Ok(n))
            }
            Err(why) if why.kind() == std::io::ErrorKind::InvalidData => {
                Poll::Ready(Err(UpstreamError::Malformed(Cause::of(&why))))
            }
            Err(why) => Poll::Ready(Err(self.broken(Cause::of(&why)))),
        }
    }

    /// Reads the next response head, interim or final, into `head`.
    ///
    /// # Errors
    /// `Malformed` if the head is malformed or switches to a protocol that was not requested, `Stale` or `Broken` if
    /// the connection broke or ended.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        loop {
            if !self.input.is_empty() {
                match response(self.input.bytes(), &self.limits, &self.method, head) {
                    Ok(Some(found)) => {
                        self.input.consume(found.used);
                        self.repaired |= found.repaired;
                        return Poll::Ready(self.found(head, found.keep_alive, found.framing));
                    }
                    Ok(None) => {}
                    Err(why) => {
                        let line = response_line_of(self.input.bytes(), why);
                        let cause = Cause::MalformedHead(why, line.try_into().unwrap_or(u16::MAX));
                        return Poll::Ready(Err(UpstreamError::Malformed(cause)));
                    }
                }
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(self.broken(Cause::Closed)));
            }
        }
    }

    /// Applies a response head that was read: nothing for an interim one, the switch to the requested protocol for
    /// 101, else the framing and whether the connection can be reused.
    ///
    /// # Errors
    /// `Malformed` for a switch to a protocol that was not requested, or a Sec-WebSocket-Accept that does not match.
    fn found(
        &mut self,
        head: &mut ResponseHead,
        keep: bool,
        framing: ResponseBody,
    ) -> Result<(), UpstreamError> {
        if head.is_interim() {
            return Ok(());
        }
        if head.status == 101 {
            let protocol = head.fields.get(Name::Upgrade).unwrap_or_default();
            let accepted = match &self.accept {
                Some(accept) => head.fields.get(Name::SecWebSocketAccept) == Some(&accept[..]),
                None => true,
            };
            // Only what was asked for may be switched to (RFC 9110 §7.8).
            let asked =
                self.upgrade.as_deref().is_some_and(|asked| protocol.eq_ignore_ascii_case(asked.as_bytes()));
            if !asked || !accepted {
                return Err(UpstreamError::Malformed(Cause::Switched));
            }
            self.tunnel = true;
            self.sending = RequestWriteState::Raw;
            self.receiving = ResponseReadState::UntilClose;
            return Ok(());
        }
        self.keep_alive = keep && !self.repaired;
        self.keeps = keep_alive_timeout(&head.fields);
        self.receiving = match framing {
            ResponseBody::None | ResponseBody::Exact(0) => ResponseReadState::Done,
            ResponseBody::Exact(length) => ResponseReadState::Length(length),
            ResponseBody::Chunked => ResponseReadState::Chunked(Box::default()),
            ResponseBody::UntilClose => ResponseReadState::UntilClose,
        };
        Ok(())
    }

    /// Polls for the next part of the response content. Returns `BodyPart::Data` until [`Self::chunk`] is consumed,
    /// and `BodyPart::End` also before the response head.
    ///
    /// # Errors
    /// `Malformed` if the framing or a TLS record is malformed, else `Broken` or `Stale` if the connection broke or
    /// ended before the content.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, UpstreamError>> {
        loop {
            if self.data > 0 {
                return Poll::Ready(Ok(BodyPart::Data));
            }
            match &mut self.receiving {
                ResponseReadState::Head | ResponseReadState::Done => return Poll::Ready(Ok(BodyPart::End)),
                ResponseReadState::Length(left) => {
                    self.data = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.bytes().len());
                }
                ResponseReadState::UntilClose => self.data = self.input.bytes().len(),
                ResponseReadState::Chunked(chunks) => {
                    let step = chunks
                        .decode(self.input.bytes())
                        .map_err(|_| UpstreamError::Malformed(Cause::MalformedContent))?;
                    self.input.consume(step.framing);
                    self.data = step.data;
                    if step.ended {
                        self.trailers = chunks.trailers().clone();
                        self.receiving = ResponseReadState::Done;
                    } else if self.data == 0 && step.framing > 0 && !self.input.is_empty() {
                        // The framing ended where its buffer did, so that the input is now that of the next one.
                        continue;
                    }
                }
            }
            if self.data == 0 && !matches!(self.receiving, ResponseReadState::Done) {
                match ready!(self.poll_read(cx)) {
                    Ok(0) if matches!(self.receiving, ResponseReadState::UntilClose) => {
                        self.keep_alive = false;
                        self.receiving = ResponseReadState::Done;
                    }
                    Ok(0) => return Poll::Ready(Err(UpstreamError::Broken(Cause::Closed))),
                    Ok(_) => {}
                    Err(why) => return Poll::Ready(Err(why)),
                }
            }
        }
    }

    /// Returns whether the content has ended, or unconsumed input exists that could show that it has.
    pub(crate) fn may_have_ended(&self) -> bool {
        matches!(self.receiving, ResponseReadState::Done) || !self.input.is_empty()
    }

    /// Returns the content that [`Self::poll_body`] delimited last and that is not consumed. Empty unless that returned
    /// `BodyPart::Data`.
    pub(crate) fn chunk(&self) -> &[u8] {
        &self.input.bytes()[..self.data]
    }

    /// Consumes the first `n` bytes of [`Self::chunk`].
    pub(crate) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.took(n);
    }

    /// Consumes the first `n` bytes of [`Self::chunk`] and returns them.
    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        let bytes = self.input.take(n);
        self.took(n);
        bytes
    }

    /// Updates the state for `n` consumed content bytes: the length that is left, and the input buffer, which is
    /// released if it is empty.
    fn took(&mut self, n: usize) {
        self.data -= n;
        match &mut self.receiving {
            ResponseReadState::Length(left) => {
                *left -= n as u64;
                if *left == 0 {
                    self.receiving = ResponseReadState::Done;
                }
            }
            ResponseReadState::Chunked(chunks) => chunks.consume(n),
            _ => {}
        }
        if self.input.is_empty() {
            self.input.release();
        }
    }

    /// Returns the socket, and the highest number of content bytes that follow on it and can be spliced, `u64::MAX`
    /// for content until the end of the connection. `None` unless the next bytes of an unencrypted socket are content
    /// without framing.
    pub(crate) fn splice_source(&self) -> Option<(&Socket, u64)> {
        let most = match self.receiving {
            ResponseReadState::Length(left) => left,
            ResponseReadState::UntilClose => u64::MAX,
            _ => return None,
        };
        match &self.wire {
            UpstreamTransport::Plain(socket) if self.input.is_empty() => Some((socket, most)),
            _ => None,
        }
    }

    /// Counts `n` content bytes that were spliced from the socket of [`Self::splice_source`]. 0 is the end of the
    /// stream.
    ///
    /// # Errors
    /// `Broken` if the stream ended before the declared content, or no such content is expected.
    pub(crate) fn count_spliced(&mut self, n: usize) -> Result<(), UpstreamError> {
        match &mut self.receiving {
            ResponseReadState::Length(left) if n > 0 => {
                *left = left.saturating_sub(n as u64);
                if *left == 0 {
                    self.receiving = ResponseReadState::Done;
                }
            }
            ResponseReadState::UntilClose => {
                if n == 0 {
                    self.keep_alive = false;
                    self.receiving = ResponseReadState::Done;
                }
            }
            _ => return Err(UpstreamError::Broken(Cause::Closed)),
        }
        Ok(())
    }
}
