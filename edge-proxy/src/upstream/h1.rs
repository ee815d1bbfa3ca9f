//! An exchange over an HTTP/1.1 upstream connection.

mod response;
#[cfg(test)]
mod tests;

use super::read_ahead::ReadAhead;
use super::target_pool::CheckIn;
use super::wire::UpstreamTransport;
use super::{Cause, UpstreamError};
use crate::buffer::{SIZE, WriteBuffer};
use edge_http::h1::{ChunkedDecoder, HeadLimits, write_chunk_head, write_last_chunk, write_request};
use edge_http::{BodyLength, Fields, Method, Name, RequestHead, websocket};
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
