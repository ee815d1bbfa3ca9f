//! The interface of a client's connection to an exchange.

use crate::body::{BodyError, BodyPart};
use crate::splice::SplicePipe;
use bytes::Bytes;
use edge_http::{Fields, ResponseHead};
use std::task::{Context, Poll};

/// An error for a client whose connection or stream is closed. Nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientGone;

/// The reason an exchange is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// The response of the upstream is truncated. The client must be able to detect that: HTTP/1.1 closes without the last chunk,
    /// HTTP/2 sends RST_STREAM INTERNAL_ERROR, HTTP/3 H3_INTERNAL_ERROR.
    Truncated,
    /// The request is malformed: HTTP/2 PROTOCOL_ERROR, HTTP/3 H3_MESSAGE_ERROR.
    Malformed,
    /// The request is refused without a response: HTTP/2 REFUSED_STREAM, HTTP/3 H3_REQUEST_REJECTED; HTTP/1.1 closes.
    Refused,
    /// A deadline passed (HTTP/2 CANCEL, HTTP/3 H3_REQUEST_CANCELLED).
    TimedOut,
}

/// One exchange on a client's connection. Methods with `poll_` register the task's waker when they are pending; the
/// others only change state and buffers, and `poll_flush` or `poll_capacity` moves bytes.
///
/// Order of calls for the response: any number of `send_interim`, one `send_head` (or `send_tunnel`), any number of
/// `send_data`, one `send_end`; `abort` instead of what is left.
pub(crate) trait Downstream {
    /// Returns whether the request arrived in early data and the handshake is incomplete.
    fn is_early(&self) -> bool;

    /// Completes when the handshake is complete.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Polls for the next part of the request's content. Returns `BodyPart::Data` until `chunk()` is consumed.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>>;

    /// Returns the available content, after `BodyPart::Data`.
    fn chunk(&self) -> &[u8];

    /// Consumes the first `n` bytes of `chunk()`.
    fn consume(&mut self, n: usize);

    /// Consumes the first `n` bytes of `chunk()` and returns them, without a copy where the transport allows.
    fn take(&mut self, n: usize) -> Bytes {
        let bytes = Bytes::copy_from_slice(&self.chunk()[..n]);
        self.consume(n);
        bytes
    }

    /// Returns the trailers, after `BodyPart::End`, without fields that are not allowed in trailers.
    fn trailers(&self) -> &Fields;

    /// Polls for the number of content bytes that are accepted without exceeding the transport's buffer limit. Ready with at
    /// least one.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ClientGone>>;

    /// Returns the number of bytes that the client's connection has accepted so far, if this exchange only waits for its turn
    /// among others. `None` if the client itself blocks it, or if there are no others.
    fn progress(&self) -> Option<u64> {
        None
    }

    /// Sends an interim response. Omitted for HTTP/1.0 clients.
    fn send_interim(&mut self, head: &ResponseHead);

    /// Sends the response's head. `head.body` says what follows; the transport chooses the framing. With `end` no
    /// content and no trailers follow, and `send_end` is not called.
    fn send_head(&mut self, head: &ResponseHead, end: bool);

    /// Accepts the switch to this protocol: 101 on HTTP/1.1, 200 on HTTP/2 and 3. From now on content is raw in both
    /// directions, and its end is a half-close.
    fn send_tunnel(&mut self, head: &ResponseHead, protocol: &str);

    /// Sends content, at most as much as `poll_capacity` returned.
    fn send_data(&mut self, data: &[u8]);

    /// Returns whether content is best passed as reference-counted bytes: HTTP/3 keeps it until it is acknowledged.
    fn takes_bytes(&self) -> bool {
        false
    }

    /// Sends content without a copy where the transport allows.
    fn send_bytes(&mut self, data: Bytes) {
        self.send_data(&data);
    }

    /// Ends the response, with trailers if given.
    fn send_end(&mut self, trailers: Option<&Fields>);

    /// Completes when all output is with the transport: written over HTTP/1.1, queued within flow control over HTTP/2
    /// and HTTP/3.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Returns whether content can be spliced from now on ([`Downstream::poll_splice`]), unchanged, after everything
    /// sent before. With `want`, the transport prepares for it and returns true in a later call.
    fn poll_splice_ready(&mut self, _cx: &mut Context<'_>, _want: bool) -> Poll<Result<bool, ClientGone>> {
        Poll::Ready(Ok(false))
    }

    /// Sends content from a pipe without copying it, and returns the number of bytes. Only after
    /// [`Downstream::poll_splice_ready`] returned `true`.
    fn poll_splice(
        &mut self,
        _cx: &mut Context<'_>,
        _pipe: &mut SplicePipe,
    ) -> Poll<Result<usize, ClientGone>> {
        Poll::Ready(Err(ClientGone))
    }

    /// Returns whether a reset can discard content that was sent before it (RFC 9000 §3.2).
    fn reset_overtakes(&self) -> bool {
        false
    }

    /// Completes when the client is gone, so that waiting for an upstream can end. Polled only after `BodyPart::End`.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone>;

    /// Aborts the exchange.
    fn abort(&mut self, why: Abort);
}
