//! The interface between a client's connection and an exchange.

use crate::body::{BodyError, BodyPart};
use crate::splice::SplicePipe;
use bytes::Bytes;
use edge_http::{Fields, ResponseHead};
use std::task::{Context, Poll};

/// The error for a client whose connection or stream is closed, so that nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientGone;

/// The reason an exchange is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// The response cannot be completed. The client must be able to detect that: HTTP/1.1 closes without the last
    /// chunk or resets the connection, HTTP/2 sends RST_STREAM with INTERNAL_ERROR, HTTP/3 with H3_INTERNAL_ERROR.
    Truncated,
    /// The request is malformed: HTTP/2 PROTOCOL_ERROR, HTTP/3 H3_MESSAGE_ERROR, HTTP/1.1 closes.
    Malformed,
    /// The request is refused without a response: HTTP/2 REFUSED_STREAM, HTTP/3 H3_REQUEST_REJECTED; HTTP/1.1 closes.
    Refused,
    /// A time limit has passed: HTTP/2 CANCEL, HTTP/3 H3_REQUEST_CANCELLED, HTTP/1.1 closes.
    TimedOut,
}

/// One exchange on a client's connection. Methods with `poll_` register the task's waker when they are pending; the
/// others only change state and buffers, and `poll_flush` or `poll_capacity` writes them.
///
/// Order of calls for the response: any number of `send_interim`, one `send_head` or `send_tunnel`, any number of
/// `send_data` or `send_bytes`, one `send_end`; or `abort` in place of the remaining ones.
pub(crate) trait Downstream {
    /// Returns whether the request arrived in early data and the handshake is incomplete. Always false for HTTP/2 and
    /// without TLS.
    fn is_early(&self) -> bool;

    /// Records that the request is not dropped. A connection whose output is held back from clients that name no site
    /// sends its output from now on. Does nothing for other connections.
    fn accept(&mut self) {}

    /// Completes when the TLS handshake is complete; at once if it is already or without TLS.
    ///
    /// # Errors
    /// [`ClientGone`] if the handshake fails or the connection is lost.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Polls for the next part of the request's content. Completes with `BodyPart::Data` until all of `chunk()` is
    /// consumed, and with `BodyPart::End` at the end, also when repeated.
    ///
    /// # Errors
    /// [`BodyError`] if the content is malformed or the client is gone.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>>;

    /// Returns the available content. Empty unless `poll_body` returned `BodyPart::Data`.
    fn chunk(&self) -> &[u8];

    /// Consumes the first `n` bytes of `chunk()`.
    fn consume(&mut self, n: usize);

    /// Consumes the first `n` bytes of `chunk()` and returns them, without a copy where the transport allows.
    fn take(&mut self, n: usize) -> Bytes {
        let bytes = Bytes::copy_from_slice(&self.chunk()[..n]);
        self.consume(n);
        bytes
    }

    /// Returns the request's trailers, without fields that are not allowed in trailers. Complete after
    /// `BodyPart::End`; empty before, and if there are none.
    fn trailers(&self) -> &Fields;

    /// Completes with the number of content bytes that are accepted without exceeding the transport's buffer limit, at
    /// least one.
    ///
    /// # Errors
    /// [`ClientGone`] if the client accepts no more.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ClientGone>>;

    /// Returns the number of bytes that the client's connection has accepted so far if this exchange only waits for
    /// its turn among others. `None` if the exchange is blocked by its own flow-control window or has ended, and
    /// always over HTTP/1.1.
    fn progress(&self) -> Option<u64> {
        None
    }

    /// Queues an interim response. Omitted for HTTP/1.0 clients; 101 is omitted over HTTP/2.
    fn send_interim(&mut self, head: &ResponseHead);

    /// Returns whether responses have priorities: true for HTTP/2 and HTTP/3.
    fn has_priorities(&self) -> bool {
        false
    }

    /// Sets the urgencies, from 0 to 7, that the service and the configuration state for the final response. Called
    /// before `send_head`. No effect over HTTP/1.1, where responses have an order.
    fn prioritize(&mut self, _service: Option<u8>, _configured: Option<u8>) {}

    /// Queues the head of the final response. `head.body` determines the length of the content; the transport chooses
    /// the framing. If `end` is true, no content and no trailers follow, and `send_end` must not be called.
    fn send_head(&mut self, head: &ResponseHead, end: bool);

    /// Queues the acceptance of a switch to `protocol`: 101 on HTTP/1.1, 200 on HTTP/2, 2xx on HTTP/3. From then on
    /// content is raw in both directions, and its end is a half-close.
    fn send_tunnel(&mut self, head: &ResponseHead, protocol: &str);

    /// Queues content, at most as many bytes as `poll_capacity` returned.
    fn send_data(&mut self, data: &[u8]);

    /// Returns whether content is best passed as reference-counted bytes to `send_bytes`: true for HTTP/3, which stores
    /// it until it is acknowledged.
    fn takes_bytes(&self) -> bool {
        false
    }

    /// Queues content as `send_data`, without a copy where the transport allows.
    fn send_bytes(&mut self, data: Bytes) {
        self.send_data(&data);
    }

    /// Ends the response, with trailers if they are given and the framing permits them.
    fn send_end(&mut self, trailers: Option<&Fields>);

    /// Completes when the transport has accepted all output: over HTTP/1.1 it is written to the socket, over HTTP/3
    /// passed to QUIC. Completes at once over HTTP/2, where output is in the connection's buffer.
    ///
    /// # Errors
    /// [`ClientGone`] if the client accepts no more.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Completes with true if content can be spliced from now on ([`Downstream::poll_splice`]), after all earlier
    /// output was written. Completes with false if it must be copied. If `want` is true, the transport may prepare for
    /// splicing. Always false unless it is implemented.
    ///
    /// # Errors
    /// [`ClientGone`] if the client accepts no more.
    fn poll_splice_ready(&mut self, _cx: &mut Context<'_>, _want: bool) -> Poll<Result<bool, ClientGone>> {
        Poll::Ready(Ok(false))
    }

    /// Sends content from a pipe without copying it into this process, and returns the number of bytes. Must be called
    /// only after [`Downstream::poll_splice_ready`] returned true.
    ///
    /// # Errors
    /// [`ClientGone`] if the client accepts no more, or the transport cannot splice.
    fn poll_splice(
        &mut self,
        _cx: &mut Context<'_>,
        _pipe: &mut SplicePipe,
    ) -> Poll<Result<usize, ClientGone>> {
        Poll::Ready(Err(ClientGone))
    }

    /// Returns whether a reset can discard content that was sent before it, so that it must be delayed: true for HTTP/3
    /// (RFC 9000 §3.2).
    fn reset_overtakes(&self) -> bool {
        false
    }

    /// Completes when the client's connection or stream is closed, so that waiting for an upstream can end. Polled only
    /// after `BodyPart::End`.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone>;

    /// Completes when the client has reset the stream of this exchange, or its connection is closed. Reads nothing,
    /// and is always pending over HTTP/1.1, where only reading shows the end.
    fn poll_reset(&mut self, _cx: &mut Context<'_>) -> Poll<ClientGone> {
        Poll::Pending
    }

    /// Aborts the exchange for this reason, as [`Abort`] describes for each version of HTTP. No effect once the
    /// response is complete.
    fn abort(&mut self, why: Abort);
}
