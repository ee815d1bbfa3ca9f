//! Connections to upstreams: opened, reused, and used for one exchange at a time (HTTP/1.1) or for many (HTTP/2).

mod buffer_budget;
mod cause;
mod check;
mod connect;
mod error;
mod fields;
mod h1;
mod h2;
mod h2_connection;
mod names;
mod pem;
mod pin;
mod pool;
mod race;
mod read;
mod read_ahead;
mod target;
mod target_event;
mod target_pool;
mod tls;
mod window_growth;
mod wire;

pub(crate) use buffer_budget::set_budget;
pub use cause::Cause;
pub(crate) use check::Checks;
pub(crate) use error::UpstreamError;
pub use pem::UpstreamTlsError;
pub(crate) use pool::{ConnectOptions, Pool, Pools, TRIM_INTERVAL};
pub(crate) use read::read_whole;
pub use target::TargetStatus;
pub(crate) use target::{SharedTarget, Targets};
pub use target_event::{TargetChange, TargetEvent};
pub(crate) use tls::ClientTls;
pub use tls::check_upstream_tls;
pub(crate) use wire::UpstreamTransport;

use crate::body::BodyPart;
use crate::socket::Socket;
use bytes::Bytes;
use edge_http::{Fields, ResponseHead};
use std::task::{Context, Poll};

/// The highest number of interim responses (1xx) to one request. More are an error.
pub(crate) const INTERIM: u32 = 16;

/// An exchange with an upstream.
#[allow(clippy::large_enum_variant)] // So that an exchange over HTTP/1.1, of which there are the most, allocates nothing.
pub(crate) enum UpstreamExchange {
    /// An exchange over HTTP/1.1.
    H1(h1::Http1Request),
    /// An exchange over HTTP/2.
    H2(Box<h2::Http2Request>),
}

macro_rules! each {
    ($self:ident, $exchange:ident => $call:expr) => {
        match $self {
            UpstreamExchange::H1($exchange) => $call,
            UpstreamExchange::H2($exchange) => $call,
        }
    };
}

impl UpstreamExchange {
    /// Returns the HTTP version in the notation of OpenTelemetry: `1.1` or `2`.
    pub(crate) const fn version(&self) -> &'static str {
        match self {
            Self::H1(_) => "1.1",
            Self::H2(_) => "2",
        }
    }

    /// Completes with the number of bytes of the request's content that are accepted now, at least one. `wanted` is
    /// the number of bytes that are available: over HTTP/2, waits briefly for room for a larger part of them.
    ///
    /// # Errors
    /// The failure of the exchange.
    pub(crate) fn poll_capacity(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<usize, UpstreamError>> {
        match self {
            Self::H1(exchange) => exchange.poll_capacity(cx),
            Self::H2(exchange) => exchange.poll_capacity(cx, wanted),
        }
    }

    /// Returns whether content is best passed as reference-counted bytes: true for HTTP/2, which stores it until the
    /// window opens; HTTP/1.1 copies it.
    pub(crate) const fn takes_bytes(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Sends request content: without a copy over HTTP/2, buffered or written over HTTP/1.1. At most as many bytes as
    /// `poll_capacity` returned.
    pub(crate) fn send_bytes(&mut self, data: Bytes) {
        match self {
            Self::H1(exchange) => exchange.send_data(&data),
            Self::H2(exchange) => exchange.send_bytes(data),
        }
    }

    /// Sends request content, at most as many bytes as `poll_capacity` returned.
    pub(crate) fn send_data(&mut self, data: &[u8]) {
        each!(self, exchange => exchange.send_data(data));
    }

    /// Ends the request, with trailers if they are given and the framing permits them.
    pub(crate) fn send_end(&mut self, trailers: Option<&Fields>) {
        each!(self, exchange => exchange.send_end(trailers));
    }

    /// Writes buffered output of HTTP/1.1. Completes at once for HTTP/2, whose connection writes by itself.
    ///
    /// # Errors
    /// The failure of the exchange.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        each!(self, exchange => exchange.poll_flush(cx))
    }

    /// Reads the next response head, interim or final, into `head`.
    ///
    /// # Errors
    /// The failure of the exchange.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        each!(self, exchange => exchange.poll_head(cx, head))
    }

    /// Polls for the next part of the response content. Returns `BodyPart::Data` until all of `chunk()` is consumed.
    ///
    /// # Errors
    /// The failure of the exchange.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, UpstreamError>> {
        each!(self, exchange => exchange.poll_body(cx))
    }

    /// Returns whether the content of the response has ended, as far as the bytes that were received already show.
    /// Does not begin to read from an HTTP/1.1 connection, so that a client that does not read costs no further
    /// buffer.
    pub(crate) fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let known = match self {
            Self::H1(exchange) => exchange.may_have_ended(),
            Self::H2(_) => true,
        };
        known && self.poll_body(cx) == Poll::Ready(Ok(BodyPart::End))
    }

    /// Returns the available content. Empty unless `poll_body` returned `BodyPart::Data`.
    pub(crate) fn chunk(&self) -> &[u8] {
        each!(self, exchange => exchange.chunk())
    }

    /// Consumes the first `n` bytes of `chunk()`.
    pub(crate) fn consume(&mut self, n: usize) {
        each!(self, exchange => exchange.consume(n));
    }

    /// Consumes the first `n` bytes of `chunk()` and returns them, without a copy where possible.
    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        each!(self, exchange => exchange.take(n))
    }

    /// Returns the socket, and the highest number of content bytes that follow on it and can be spliced. `None` unless
    /// the next bytes of an unencrypted socket are content without framing. Always `None` for HTTP/2.
    pub(crate) fn splice_source(&self) -> Option<(&Socket, u64)> {
        match self {
            Self::H1(exchange) => exchange.splice_source(),
            Self::H2(_) => None,
        }
    }

    /// Counts `n` content bytes that were spliced from the socket of [`Self::splice_source`]. 0 is the end of the
    /// stream.
    ///
    /// # Errors
    /// `Broken` if the stream ended before the declared content, and always for HTTP/2.
    pub(crate) fn count_spliced(&mut self, n: usize) -> Result<(), UpstreamError> {
        match self {
            Self::H1(exchange) => exchange.count_spliced(n),
            Self::H2(_) => Err(UpstreamError::Broken(Cause::Http2)),
        }
    }

    /// Returns the response's trailers. Complete after `BodyPart::End`; empty before, and if there are none.
    pub(crate) fn trailers(&self) -> &Fields {
        each!(self, exchange => exchange.trailers())
    }

    /// Returns the protocol that the response switched to, after which content is raw. `None` if it did not switch,
    /// and always for HTTP/2.
    pub(crate) fn tunnel(&self) -> Option<&str> {
        each!(self, exchange => exchange.tunnel())
    }

    /// Returns whether the response is given up because its client reads nothing. If not, the task is woken when it is.
    /// Always false for HTTP/1.1.
    pub(crate) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        match self {
            Self::H1(_) => false,
            Self::H2(exchange) => exchange.is_given_up(cx),
        }
    }

    /// Ends the exchange. An HTTP/1.1 connection is returned to its pool if both messages are complete and it can be
    /// reused, else closed. An HTTP/2 stream is reset if the request is incomplete.
    pub(crate) fn finish(self) {
        match self {
            Self::H1(exchange) => exchange.finish(),
            Self::H2(_) => {}
        }
    }
}
