//! The interface of a client's connection to an exchange.

use crate::body::{BodyError, BodyPart};
use crate::splice::SplicePipe;
use bytes::Bytes;
use edge_http::{Fields, ResponseHead};
use std::task::{Context, Poll};

/// The client's connection or stream is gone. Nothing more can be sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientGone;

/// The reason why an exchange is aborted after its head was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    /// The upstream cut its response short: the client must see that it is not whole (HTTP/1.1 closes without the last
    /// chunk, HTTP/2 RST_STREAM INTERNAL_ERROR, HTTP/3 H3_INTERNAL_ERROR).
    Truncated,
    /// The request was malformed (HTTP/2 PROTOCOL_ERROR, HTTP/3 H3_MESSAGE_ERROR).
    Malformed,
    /// Refused without a word: the stream is reset (HTTP/2 REFUSED_STREAM, HTTP/3 H3_REQUEST_REJECTED); HTTP/1.1
    /// closes.
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

    /// Until the handshake is complete.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Returns the next part of the request's content, `BodyPart::Data` as long as `chunk()` is not consumed.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>>;

    /// The bytes at hand, after `BodyPart::Data`.
    fn chunk(&self) -> &[u8];

    /// These many bytes of `chunk()` are done with.
    fn consume(&mut self, n: usize);

    /// The first `n` bytes of `chunk()`, consumed; without a copy where the transport has them as such.
    fn take(&mut self, n: usize) -> Bytes {
        let bytes = Bytes::copy_from_slice(&self.chunk()[..n]);
        self.consume(n);
        bytes
    }

    /// The trailers, after `BodyPart::End`. Already without fields that may not be trailers.
    fn trailers(&self) -> &Fields;

    /// Returns how many bytes of content are accepted now without buffering more than the transport's limit. Ready with
    /// at least one, or an error.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ClientGone>>;

    /// Bytes that the client's connection has taken so far, if this exchange only waits for its turn among others on the
    /// connection. `None` if it is the client that keeps this exchange from sending, or if there are no others.
    fn progress(&self) -> Option<u64> {
        None
    }

    /// Sends a 1xx head. Left out where the client cannot understand it (HTTP/1.0).
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

    /// The same without a copy where the transport can.
    fn send_bytes(&mut self, data: Bytes) {
        self.send_data(&data);
    }

    /// The response is complete.
    fn send_end(&mut self, trailers: Option<&Fields>);

    /// Until everything sent so far is with the transport (HTTP/1.1: written; HTTP/2 and 3: queued within its flow
    /// control).
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>>;

    /// Returns whether content can be spliced from now on ([`Downstream::poll_splice`]), unchanged, after everything
    /// sent before. With `want` the transport prepares for that, and returns `true` when it is asked again after the
    /// next content.
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

    /// Ready when the client has gone away, so that waiting for an upstream ends. Only polled after `BodyPart::End`.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone>;

    /// Breaks the exchange off.
    fn abort(&mut self, why: Abort);
}
