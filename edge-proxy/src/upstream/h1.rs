//! An exchange over an HTTP/1.1 upstream connection.

use super::read_ahead::ReadAhead;
use super::target_pool::CheckIn;
use super::wire::UpstreamTransport;
use super::{Cause, UpstreamError};
use crate::body::BodyPart;
use crate::buffer::{SIZE, WriteBuffer};
use crate::socket::Socket;
use bytes::Bytes;
use edge_http::h1::{
    ChunkedDecoder, HeadLimits, ResponseBody, keep_alive_timeout, response, response_line_of,
    write_chunk_head, write_last_chunk, write_request,
};
use edge_http::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead, websocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;

/// The state of the request's content, by its framing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestWriteState {
    /// The content has a declared length, of which this many bytes are still to be sent.
    Length(u64),
    /// The content is sent in the chunked coding.
    Chunked,
    /// The bytes of a tunnel are sent without framing, after a protocol switch.
    Raw,
    /// The request is complete, or nothing more of it can be sent.
    Done,
}

/// The state of the response: its head is expected, its content whose end is found in one of three ways, or nothing
/// more.
enum ResponseReadState {
    /// The final response head is expected.
    Head,
    /// The content has a declared length, of which this many bytes have not been consumed.
    Length(u64),
    /// The chunked coding determines the end.
    Chunked(Box<ChunkedDecoder>),
    /// The content ends with the connection.
    UntilClose,
    /// The response is complete.
    Done,
}

/// An exchange on an HTTP/1.1 upstream connection.
pub(crate) struct Http1Request {
    /// The connection to the upstream.
    wire: UpstreamTransport,
    /// The place in the pool that the connection is returned to.
    check_in: CheckIn,
    /// True if the connection was used for an exchange before.
    reused: bool,
    /// The bytes that were read and are not consumed.
    input: ReadAhead,
    /// The bytes that are not written yet.
    output: WriteBuffer,
    /// The method of the request as sent, on which the framing of the response depends.
    method: Method,
    /// The Sec-WebSocket-Accept that must confirm the upgrade. `None` unless the handshake was converted from an
    /// extended CONNECT.
    accept: Option<[u8; 28]>,
    /// The protocol that the request asks to switch to. `None` if it asks for none.
    upgrade: Option<Box<str>>,
    /// The state of the request's content.
    sending: RequestWriteState,
    /// The state of the response.
    receiving: ResponseReadState,
    /// The number of content bytes at the beginning of `input` that can be consumed.
    data: usize,
    /// True if the connection can be reused after this exchange. False before the final response head.
    keep_alive: bool,
    /// True after a switch to the requested protocol.
    tunnel: bool,
    /// True if the sending direction of the tunnel is to be shut down once the output is written.
    half_closes: bool,
    /// True if any bytes of a response have arrived.
    answered: bool,
    /// The trailers of the response. Empty until its content is complete.
    trailers: Fields,
    /// The limits of the response head.
    limits: HeadLimits,
    /// The idle timeout that the upstream announced by its Keep-Alive field. `None` if it did not.
    keeps: Option<Duration>,
    /// True if a malformed head was repaired. The connection is then not reused, since it is unknown how the service
    /// delimits requests.
    repaired: bool,
}

impl Http1Request {
    /// Begins an exchange: buffers the request's head, which the first poll writes. `check_in` is the place that the
    /// connection is returned to, `reused` is true if it was used before, `host` is the value of Host, and `upgrade`
    /// the protocol to switch to, `None` for none. An extended CONNECT is converted to a WebSocket handshake of
    /// HTTP/1.1. With `upgrade`, the request has no content.
    pub(crate) fn begin(
        wire: UpstreamTransport,
        check_in: CheckIn,
        reused: bool,
        head: &RequestHead,
        host: &str,
        upgrade: Option<&str>,
        limits: HeadLimits,
    ) -> Self {
        let mut output = WriteBuffer::default();
        let mut accept = None;
        let extended = upgrade.is_some() && head.method == Method::Connect;
        let method = if extended { Method::Get } else { head.method.clone() };
        if extended {
            // RFC 8441 and 9220 have no key; HTTP/1.1 wants one, and the answer to it is checked.
            let mut converted = head.clone();
            let mut nonce = [0; 16];
            // Without randomness the nonce is all zero: it only links the response to this request.
            let _ = aws_lc_rs::rand::fill(&mut nonce);
            accept = Some(websocket::extended_to_http1(&mut converted, nonce));
            if !converted.fields.contains(Name::SecWebSocketVersion) {
                converted.fields.push(b"Sec-WebSocket-Version", b"13");
            }
            write_request(output.push(), &converted, &method, host, upgrade);
        } else {
            write_request(output.push(), head, &method, host, upgrade);
        }
        let sending = match head.body {
            _ if upgrade.is_some() => RequestWriteState::Done,
            BodyLength::None => RequestWriteState::Done,
            BodyLength::Exact(length) => RequestWriteState::Length(length),
            BodyLength::Unknown => RequestWriteState::Chunked,
        };
        Self {
            wire,
            check_in,
            reused,
            input: ReadAhead::default(),
            output,
            method,
            accept,
            upgrade: upgrade.map(Into::into),
            sending,
            receiving: ResponseReadState::Head,
            data: 0,
            keep_alive: false,
            tunnel: false,
            half_closes: false,
            answered: false,
            trailers: Fields::new(),
            limits,
            keeps: None,
            repaired: false,
        }
    }

    /// Returns the error for a broken connection: `Stale` if it was reused and nothing of a response has arrived, else
    /// `Broken` with this cause.
    fn broken(&self, cause: Cause) -> UpstreamError {
        if self.reused && !self.answered { UpstreamError::Stale } else { UpstreamError::Broken(cause) }
    }

    /// Writes the buffered output, and then shuts down the sending direction of a tunnel that is to be half-closed. An
    /// error of writing only ends the request, since the upstream may have responded before; reading finds that out.
    ///
    /// # Errors
    /// [`UpstreamError::Broken`] if a tunnel cannot be written to, and its other direction has ended.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        match self.output.poll_write(&mut self.wire, cx) {
            Poll::Ready(Ok(())) if self.half_closes => {
                // If this fails the other direction ends soon too.
                let _ = ready!(Pin::new(&mut self.wire).poll_shutdown(cx));
                self.half_closes = false;
                Poll::Ready(Ok(()))
            }
            // Neither direction of the tunnel is left.
            Poll::Ready(Err(_)) if self.tunnel && matches!(self.receiving, ResponseReadState::Done) => {
                Poll::Ready(Err(UpstreamError::Broken(Cause::Reset)))
            }
            Poll::Ready(Err(_)) => {
                // The service may have said something before it closed; reading finds out.
                self.output.release();
                self.sending = RequestWriteState::Done;
                self.half_closes = false;
                self.keep_alive = false;
                Poll::Ready(Ok(()))
            }
            other => other.map_err(|why| self.broken(Cause::of(&why))),
        }
    }

    /// Completes with the number of content bytes that the buffer accepts, at least one. A buffer that is half full is
    /// written first.
    ///
    /// # Errors
    /// As [`poll_flush`](Self::poll_flush).
    pub(crate) fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, UpstreamError>> {
        if self.output.len() >= SIZE / 2 {
            ready!(self.poll_flush(cx))?;
        }
        Poll::Ready(Ok(SIZE - self.output.len().min(SIZE - 1)))
    }

    /// Buffers or writes request content with its framing. Ignored once the request has ended. Errors of writing are
    /// found later.
    pub(crate) fn send_data(&mut self, data: &[u8]) {
        match &mut self.sending {
            RequestWriteState::Length(left) => {
                *left = left.saturating_sub(data.len() as u64);
                self.output.append_or_write(&mut self.wire, [data, b"", b""]);
            }
            RequestWriteState::Chunked if !data.is_empty() => {
                write_chunk_head(self.output.push(), data.len());
                self.output.append_or_write(&mut self.wire, [data, b"\r\n", b""]);
            }
            RequestWriteState::Raw => self.output.append_or_write(&mut self.wire, [data, b"", b""]),
            RequestWriteState::Chunked | RequestWriteState::Done => {}
        }
    }

    /// Ends the request, with trailers if its content is chunked. For a tunnel, its sending direction is shut down
    /// after the output. A request that is shorter than declared prevents the reuse of the connection.
    pub(crate) fn send_end(&mut self, trailers: Option<&Fields>) {
        match self.sending {
            RequestWriteState::Chunked => write_last_chunk(self.output.push(), trailers),
            // Behind what is still to be written.
            RequestWriteState::Raw => self.half_closes = true,
            // Fewer bytes than announced cannot be completed; the connection is not used again.
            RequestWriteState::Length(1..) => self.keep_alive = false,
            RequestWriteState::Length(0) | RequestWriteState::Done => {}
        }
        self.sending = RequestWriteState::Done;
    }

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

    /// Returns the trailers of the response. Empty before its content is complete.
    pub(crate) const fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Returns the protocol that the response switched to. `None` before the response head, and for any other
    /// response.
    pub(crate) fn tunnel(&self) -> Option<&str> {
        self.upgrade.as_deref().filter(|_| self.tunnel)
    }

    /// Ends the exchange. The connection is returned to the pool if both messages are complete, all output is written,
    /// no input is left over, and the connection can be kept alive; else it is closed.
    pub(crate) fn finish(self) {
        let complete = matches!(self.receiving, ResponseReadState::Done)
            && matches!(self.sending, RequestWriteState::Done | RequestWriteState::Length(0))
            && self.output.len() == 0
            && self.input.is_empty();
        if complete && self.keep_alive && !self.tunnel {
            self.check_in.keep(self.wire, self.keeps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_http::Version;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    /// Returns a response whose head and first chunk end `before` bytes before a buffer would be full, with eight
    /// chunks after it, each as long as a buffer with its framing.
    fn chunked_response(before: usize) -> (Vec<u8>, Vec<u8>) {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let first = SIZE - wire.len() - before;
        let mut content = Vec::new();
        for (at, length) in [first, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE, SIZE].into_iter().enumerate() {
            // Four digits and two line ends.
            let data = vec![b'a' + at as u8; length - 8];
            wire.extend_from_slice(format!("{:04x}\r\n", data.len()).as_bytes());
            wire.extend_from_slice(&data);
            wire.extend_from_slice(b"\r\n");
            content.extend_from_slice(&data);
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        (wire, content)
    }

    /// Sends the bytes of a response at once over a connection that stays open, and returns the content that is read.
    async fn exchange(response: &[u8]) -> Result<Vec<u8>, UpstreamError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        socket2::SockRef::from(&theirs).set_send_buffer_size(2 * response.len()).unwrap();
        theirs.write_all(response).await.unwrap();
        let (wire, limits) = (
            UpstreamTransport::Plain(Socket::Unix(ours)),
            HeadLimits { bytes: 4096, fields: 16, target: 1024 },
        );
        let request = RequestHead::new(Version::Http11);
        let check_in = CheckIn::new(None, None);
        let mut exchange = Http1Request::begin(wire, check_in, false, &request, "localhost", None, limits);
        let (mut head, mut content) = (ResponseHead::default(), Vec::new());
        poll_fn(|cx| exchange.poll_head(cx, &mut head)).await?;
        while poll_fn(|cx| exchange.poll_body(cx)).await? == BodyPart::Data {
            let n = exchange.chunk().len();
            content.extend_from_slice(&exchange.take(n));
        }
        Ok(content)
    }

    #[test]
    fn a_chunk_may_end_at_any_byte_of_a_buffer() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for before in 0..=10 {
            let (wire, sent) = chunked_response(before);
            let received = runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(10), exchange(&wire)).await });
            let received =
                received.unwrap_or_else(|_| panic!("{before}: the content was not read to its end"));
            assert!(received.as_ref() == Ok(&sent), "{before}: {:?}", received.map(|content| content.len()));
        }
    }
}
