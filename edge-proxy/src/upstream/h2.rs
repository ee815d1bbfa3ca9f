//! An exchange with an upstream over a stream of an HTTP/2 connection.

use super::buffer_budget::BufferedShare;
use super::fields::{copy_fields, to_header_map};
use super::h2_connection::{MultiplexedConnection, StreamPermit};
use super::{Cause, UpstreamError};
use crate::body::BodyPart;
use bytes::Bytes;
use edge_http::{BodyLength, Fields, Method, RequestHead, ResponseHead};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// The number of bytes of request content that wait together for room in the upstream's window, so that they are not
/// sent in smaller parts.
///
/// Without this, an upstream that reads slowly and reopens its window by the bytes that it has read would soon get
/// frames of a few bytes, and take them for an attack (the silly window syndrome, RFC 1122 §4.2.3.4).
const MIN_PART: usize = 8 * 1024;
/// The longest time for which content waits for more room. The window of the upstream may be smaller than [`MIN_PART`],
/// or shared by many streams.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// An exchange on a stream of an HTTP/2 upstream connection. Dropping it before the request is complete resets the
/// stream with CANCEL.
pub(crate) struct Http2Request {
    /// The future of the final response head. `None` once it has arrived.
    response: Option<ResponseFuture>,
    /// The sending side of the stream.
    send: SendStream<Bytes>,
    /// The receiving side of the stream. `None` before the final response head.
    receive: Option<RecvStream>,
    /// The content that was received and is not consumed.
    chunk: Bytes,
    /// The trailers of the response. Empty until its content is complete.
    trailers: Fields,
    /// True if another exchange used the connection before, so that a failure may have nothing to do with this request.
    reused: bool,
    /// True if the final response head has arrived.
    answered: bool,
    /// True if the request is complete, so that nothing more of it is sent.
    sent_end: bool,
    /// The timer of the wait for more room in the upstream's window. `None` if there is no wait.
    wait: Option<Pin<Box<Sleep>>>,
    /// The response in the worker's budget of buffered bytes. `None` before the final response head and after the
    /// content.
    share: Option<BufferedShare>,
    /// The permit that counts the stream as open.
    stream: StreamPermit,
}

impl Http2Request {
    /// Opens a stream with the request's head, and waits until the connection permits that. `host` is the authority,
    /// `reused` is true if the connection was used before, `secure` is true for the scheme `https`. A gRPC request
    /// gets `TE: trailers`.
    ///
    /// # Errors
    /// `Stale` if a reused connection accepts no stream, `Connect` if a new one does not, `Malformed` if the head
    /// cannot be sent over HTTP/2.
    pub(super) async fn begin(
        client: &MultiplexedConnection,
        head: &RequestHead,
        host: &str,
        reused: bool,
        secure: bool,
    ) -> Result<Self, UpstreamError> {
        let failed = if reused { UpstreamError::Stale } else { UpstreamError::Connect(Cause::Http2) };
        let stream = client.acquire_stream();
        let mut client = client.ready().await.map_err(|_| failed)?;
        let scheme = if secure { "https" } else { "http" };
        let target = if head.target == "*" { "/" } else { &head.target };
        let uri = http::Uri::builder()
            .scheme(scheme)
            .authority(host)
            .path_and_query(target)
            .build()
            .map_err(|_| UpstreamError::Malformed(Cause::Http2))?;
        let method = http::Method::from_bytes(head.method.as_str().as_bytes())
            .map_err(|_| UpstreamError::Malformed(Cause::Http2))?;
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = to_header_map(&head.fields);
        // gRPC's servers refuse a call whose client cannot take trailers; there are clients that do not say that they
        // can.
        let grpc =
            head.fields.get_named(b"content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        if grpc {
            request.headers_mut().insert(http::header::TE, http::HeaderValue::from_static("trailers"));
        }
        match head.body {
            BodyLength::Exact(length) => {
                request.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
            }
            BodyLength::None if matches!(head.method, Method::Post | Method::Put | Method::Patch) => {
                request.headers_mut().insert(http::header::CONTENT_LENGTH, 0.into());
            }
            _ => {}
        }
        let end = head.body == BodyLength::None;
        let (response, send) = client.send_request(request, end).map_err(|_| failed)?;
        Ok(Self {
            response: Some(response),
            send,
            receive: None,
            chunk: Bytes::new(),
            trailers: Fields::new(),
            reused,
            answered: false,
            sent_end: end,
            wait: None,
            share: None,
            stream,
        })
    }

    /// Returns the error for a failure of the stream. The first that applies: `Refused` or `Unprocessed` if the
    /// upstream did not process the request, by REFUSED_STREAM or by GOAWAY; `Stale` if a reused connection failed
    /// before the response; `Malformed` if the upstream violated the protocol; otherwise `Broken` with the cause.
    fn classify(&self, why: &h2::Error) -> UpstreamError {
        let refused = why.is_reset() && why.reason() == Some(h2::Reason::REFUSED_STREAM);
        if why.is_remote() && refused {
            UpstreamError::Refused
        } else if why.is_remote() && why.is_go_away() {
            UpstreamError::Unprocessed
        } else if self.reused && !self.answered {
            // The connection was about to end.
            UpstreamError::Stale
        } else if why.is_library() {
            UpstreamError::Malformed(Cause::Http2)
        } else if let Some(io) = why.get_io() {
            UpstreamError::Broken(Cause::of(io))
        } else {
            UpstreamError::Broken(Cause::Http2)
        }
    }

    /// Completes with the number of content bytes that the upstream's window accepts, at least one. `wanted` is the
    /// number of bytes that are available: if there is room for fewer than the lesser of that and [`MIN_PART`], waits
    /// at most [`ROOM_WAIT`] for more.
    ///
    /// # Errors
    /// The failure of the stream or the connection, also if the upstream accepts no more content.
    pub(crate) fn poll_capacity(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<usize, UpstreamError>> {
        let enough = wanted.clamp(1, MIN_PART);
        if self.send.capacity() < enough {
            self.send.reserve_capacity(64 * 1024);
        }
        while self.send.capacity() < enough {
            match self.send.poll_capacity(cx) {
                // Until the waker is registered.
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(why))) => return Poll::Ready(Err(self.classify(&why))),
                // The service wants no more; its answer says why.
                Poll::Ready(None) => return Poll::Ready(Err(UpstreamError::Broken(Cause::Http2))),
                Poll::Pending if self.send.capacity() == 0 => return Poll::Pending,
                Poll::Pending => {
                    let wait = self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(ROOM_WAIT)));
                    ready!(wait.as_mut().poll(cx));
                    break;
                }
            }
        }
        self.wait = None;
        Poll::Ready(Ok(self.send.capacity()))
    }

    /// Sends a copy of this request content. Errors are reported with the response.
    pub(crate) fn send_data(&mut self, data: &[u8]) {
        self.send_bytes(Bytes::copy_from_slice(data));
    }

    /// Sends this request content. Errors are reported with the response.
    pub(crate) fn send_bytes(&mut self, data: Bytes) {
        // An error here comes back from the response too.
        let _ = self.send.send_data(data, false);
    }

    /// Ends the request, with trailers if they are given and not empty. No effect when repeated. Errors are reported
    /// with the response.
    pub(crate) fn send_end(&mut self, trailers: Option<&Fields>) {
        if self.sent_end {
            return;
        }
        self.sent_end = true;
        let _ = match trailers {
            Some(trailers) if !trailers.is_empty() => self.send.send_trailers(to_header_map(trailers)),
            _ => self.send.send_data(Bytes::new(), true),
        };
    }

    /// Completes at once: the connection's task writes the output.
    pub(crate) fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    /// Reads the next response head, interim or final, into `head`. A final one begins to count in the worker's
    /// budget.
    ///
    /// # Errors
    /// The failure of the stream or the connection; `Broken` after the final head.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
    ) -> Poll<Result<(), UpstreamError>> {
        let Some(future) = &mut self.response else {
            return Poll::Ready(Err(UpstreamError::Broken(Cause::Closed)));
        };
        let interim = future.poll_informational(cx);
        if let Poll::Ready(Some(Ok(response))) = interim {
            head.clear();
            head.status = response.status().as_u16();
            copy_fields(response.headers(), &mut head.fields);
            return Poll::Ready(Ok(()));
        }
        let response = match ready!(Pin::new(future).poll(cx)) {
            Ok(response) => response,
            Err(why) => return Poll::Ready(Err(self.classify(&why))),
        };
        self.answered = true;
        self.response = None;
        let (parts, mut receive) = response.into_parts();
        self.share = Some(BufferedShare::new(receive.flow_control().clone()));
        head.clear();
        head.status = parts.status.as_u16();
        copy_fields(&parts.headers, &mut head.fields);
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| edge_http::grammar::decimal(value.as_bytes()));
        head.body = match length {
            Some(length) => BodyLength::Exact(length),
            None if receive.is_end_stream() => BodyLength::None,
            None => BodyLength::Unknown,
        };
        self.receive = Some(receive);
        Poll::Ready(Ok(()))
    }

    /// Polls for the next part of the response content. Returns `BodyPart::Data` until [`Self::chunk`] is consumed,
    /// and `BodyPart::End` also before the response head.
    ///
    /// # Errors
    /// The failure of the stream or the connection.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, UpstreamError>> {
        while self.chunk.is_empty() {
            let Some(receive) = &mut self.receive else { return Poll::Ready(Ok(BodyPart::End)) };
            match ready!(receive.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(why)) => return Poll::Ready(Err(self.classify(&why))),
                None => {
                    match ready!(receive.poll_trailers(cx)) {
                        Ok(Some(trailers)) => copy_fields(&trailers, &mut self.trailers),
                        Ok(None) => {}
                        Err(why) => return Poll::Ready(Err(self.classify(&why))),
                    }
                    self.receive = None;
                    self.share = None;
                }
            }
        }
        Poll::Ready(Ok(BodyPart::Data))
    }

    /// Returns the content that [`Self::poll_body`] took over last and that is not consumed. Empty unless that returned
    /// `BodyPart::Data`.
    pub(crate) fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Consumes the first `n` bytes of [`Self::chunk`], and gives the upstream as much flow-control credit.
    pub(crate) fn consume(&mut self, n: usize) {
        self.take(n);
    }

    /// Consumes the first `n` bytes of [`Self::chunk`] and returns them, and gives the upstream as much flow-control
    /// credit.
    pub(crate) fn take(&mut self, n: usize) -> Bytes {
        let bytes = self.chunk.split_to(n);
        if let Some(receive) = &mut self.receive {
            // This fails only if the stream has ended, which the next poll reports.
            let _ = receive.flow_control().release_capacity(n);
        }
        if let Some(share) = &self.share {
            share.taken();
        }
        bytes
    }

    /// Returns the trailers of the response. Empty before its content is complete.
    pub(crate) const fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Returns `None`: protocols are switched over HTTP/1.1 only.
    pub(crate) const fn tunnel(&self) -> Option<&str> {
        None
    }

    /// Returns whether the response is given up because its client reads nothing. If not, the task is woken when it
    /// is. False outside of the response content.
    pub(crate) fn is_given_up(&self, cx: &Context<'_>) -> bool {
        self.share.as_ref().is_some_and(|share| share.is_given_up(cx))
    }
}

impl Drop for Http2Request {
    fn drop(&mut self) {
        if !self.answered {
            self.stream.abandon();
        }
        if !self.sent_end {
            self.send.send_reset(h2::Reason::CANCEL);
        }
    }
}
