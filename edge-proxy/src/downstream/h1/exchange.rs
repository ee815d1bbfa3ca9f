//! One exchange on a client's HTTP/1 connection.

use super::HttpConnection;
use crate::body::{BodyError, BodyPart};
use crate::buffer::SIZE;
use crate::deadline::Deadline;
use crate::downstream::wire::{ACK_TIMEOUT, LINGER_PAUSE, MAX_DRAIN};
use crate::exchange::{Abort, ClientGone, Downstream};
use crate::splice::SplicePipe;
use edge_http::h1::{
    ChunkedDecoder, Persistence, ResponseFraming, write_chunk_head, write_last_chunk, write_response,
};
use edge_http::{BodyLength, Fields, Method, RequestHead, ResponseHead, Version};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;

/// The time after which a client that has closed its side, and gets no response, is taken to have closed the connection.
/// A closed connection looks like one whose client only sends no more until something is sent to it.
const HALF_CLOSE_TIME: Duration = Duration::from_secs(5);

/// The state of the request's content: how its end is found, or that it has ended or failed.
enum RequestContent {
    /// The content has a declared length, of which this many bytes have not been consumed.
    Length(u64),
    /// The chunked coding determines the end.
    Chunked(ChunkedDecoder),
    /// All bytes until the end of the connection: a tunnel.
    Raw,
    /// The content is complete, or the request has none.
    Done,
    /// The chunked coding is malformed, so that no more content can be read.
    Failed,
}

/// The state of the response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ResponseContent {
    /// The final response head is not sent yet.
    Head,
    /// Content with this framing is being sent.
    Framed(ResponseFraming),
    /// A tunnel: bytes are sent without framing.
    Raw,
    /// The response is complete.
    Done,
}

/// One request with its response on a client's HTTP/1 connection.
pub(super) struct Http1Exchange<'c> {
    /// The client's connection.
    client: &'c mut HttpConnection,
    /// The method of the request.
    method: Method,
    /// The HTTP version of the request.
    version: Version,
    /// True if a further request may follow on the connection after this exchange.
    keep_alive: bool,
    /// True if the client waits for a 100 (Continue) response before it sends content, and has not received one.
    waits: bool,
    /// The state of the request's content.
    receiving: RequestContent,
    /// The state of the response.
    sending: ResponseContent,
    /// The number of content bytes at the beginning of the input that can be consumed.
    data: usize,
    /// The trailers of the request. Empty before its content is complete.
    trailers: Fields,
    /// True if the response was aborted before it was complete.
    aborted: bool,
    /// True if the response side of a tunnel has ended, so that the sending side of the connection is shut down.
    half_closed: bool,
    /// True if the connection failed, or the client closed it before the content was complete.
    lost: bool,
    /// The time for which a client that has closed its side is still taken to wait for the response. `None` until then.
    leaving: Option<Pin<Box<Sleep>>>,
}

impl<'c> Http1Exchange<'c> {
    /// Creates the exchange of a request whose head was read. `expects_continue` is true if the client expects a 100
    /// (Continue) response; it has no effect on a request without content.
    pub(super) fn new(
        client: &'c mut HttpConnection,
        head: &RequestHead,
        keep_alive: bool,
        expects_continue: bool,
    ) -> Self {
        let receiving = match head.body {
            BodyLength::None => RequestContent::Done,
            BodyLength::Exact(length) => RequestContent::Length(length),
            BodyLength::Unknown => RequestContent::Chunked(ChunkedDecoder::new()),
        };
        let waits = expects_continue && head.body != BodyLength::None;
        Self {
            client,
            method: head.method.clone(),
            version: head.version,
            keep_alive,
            waits,
            receiving,
            sending: ResponseContent::Head,
            data: 0,
            trailers: Fields::new(),
            aborted: false,
            half_closed: false,
            lost: false,
            leaving: None,
        }
    }

    /// Returns whether both messages are complete and the connection persists, so that the next request may follow at
    /// once. If not, [`Self::end`] must be called.
    pub(super) fn is_complete(&self) -> bool {
        self.sending == ResponseContent::Done
            && matches!(self.receiving, RequestContent::Done)
            && self.data == 0
            && self.keep_alive
            && !(self.aborted || self.lost || self.waits)
    }

    /// Ends the exchange. Returns true if the connection is ready for the next request. False if the connection was
    /// closed or is to be dropped: the response is incomplete, the connection does not persist, or the rest of the
    /// request content is longer than [`MAX_DRAIN`] or takes longer than [`LINGER_PAUSE`]; a shorter rest is discarded.
    /// An aborted response ends so that the client recognizes the truncation: by its framing, or by a reset.
    pub(super) async fn end(mut self, deadline: &Deadline) -> bool {
        // A connection that the kernel encrypts is reset at once: the kernel may not have sent all that it accepted.
        if self.aborted && !self.lost && !self.client.wire.may_enter_kernel(false) {
            match self.sending {
                ResponseContent::Head => {}
                // The framing shows that the rest is missing, and a reset could take away what is still on its way.
                ResponseContent::Framed(ResponseFraming::Length | ResponseFraming::Chunked) => {
                    let _ = deadline
                        .within(LINGER_PAUSE, poll_fn(|cx| self.client.wire.poll_end_socket(cx)))
                        .await;
                    self.client.linger(deadline).await;
                }
                // Only a reset shows the truncation. It is sent after the client's system has acknowledged the output.
                _ => {
                    deadline.within(ACK_TIMEOUT, self.client.wire.socket().wait_acknowledged()).await;
                    self.client.wire.socket().reset_on_close();
                }
            }
            return false;
        }
        if self.aborted || self.lost {
            if self.sending != ResponseContent::Head {
                self.client.wire.socket().reset_on_close();
            }
            return false;
        }
        if self.sending == ResponseContent::Done && self.keep_alive && !self.waits && !self.leaves_much() {
            let drained = deadline.within(LINGER_PAUSE, poll_fn(|cx| self.poll_drain(cx))).await;
            if drained == Some(true) {
                deadline.clear();
                return true;
            }
        }
        let _ = deadline.within(LINGER_PAUSE, self.client.wire.shutdown()).await;
        self.client.linger(deadline).await;
        false
    }

    /// Returns whether the unread rest of a declared request content is longer than [`MAX_DRAIN`], so that it is not
    /// discarded. False for content without a declared length.
    const fn leaves_much(&self) -> bool {
        matches!(self.receiving, RequestContent::Length(left) if left > MAX_DRAIN as u64)
    }

    /// Discards request content. Completes with true when all of it has arrived, or with false if reading fails, the
    /// content is malformed, or more than [`MAX_DRAIN`] bytes were discarded.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut thrown = 0;
        loop {
            match ready!(self.poll_body(cx)) {
                Ok(BodyPart::Data) => {
                    let n = self.data;
                    thrown += n;
                    self.consume(n);
                    if thrown > MAX_DRAIN {
                        return Poll::Ready(false);
                    }
                }
                Ok(BodyPart::End) => return Poll::Ready(true),
                Err(_) => return Poll::Ready(false),
            }
        }
    }
}

impl Downstream for Http1Exchange<'_> {
    fn is_early(&self) -> bool {
        self.client.wire.is_early()
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        self.client.wire.poll_handshake(cx).map_err(|_| ClientGone)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>> {
        loop {
            if self.data > 0 {
                return Poll::Ready(Ok(BodyPart::Data));
            }
            let held = self.client.input.bytes();
            match &mut self.receiving {
                RequestContent::Done => return Poll::Ready(Ok(BodyPart::End)),
                RequestContent::Failed => return Poll::Ready(Err(BodyError::Malformed)),
                RequestContent::Length(left) => {
                    self.data = usize::try_from(*left).unwrap_or(usize::MAX).min(held.len());
                }
                RequestContent::Raw => self.data = held.len(),
                RequestContent::Chunked(chunks) => match chunks.decode(held) {
                    Ok(step) => {
                        self.data = step.data;
                        self.client.input.consume(step.framing);
                        if step.ended {
                            self.trailers = chunks.trailers().clone();
                            self.receiving = RequestContent::Done;
                        }
                    }
                    Err(_) => {
                        self.receiving = RequestContent::Failed;
                        self.keep_alive = false;
                    }
                },
            }
            if self.data == 0 && !matches!(self.receiving, RequestContent::Done | RequestContent::Failed) {
                match ready!(self.client.input.poll_fill(&mut self.client.wire, cx)) {
                    Ok(0) if matches!(self.receiving, RequestContent::Raw) => {
                        self.receiving = RequestContent::Done;
                    }
                    Ok(n) if n > 0 => {}
                    _ => {
                        self.lost = true;
                        return Poll::Ready(Err(BodyError::Lost));
                    }
                }
            }
        }
    }

    fn chunk(&self) -> &[u8] {
        &self.client.input.bytes()[..self.data]
    }

    fn consume(&mut self, n: usize) {
        self.client.input.consume(n);
        self.data -= n;
        self.waits = false;
        match &mut self.receiving {
            RequestContent::Length(left) => {
                *left -= n as u64;
                if *left == 0 {
                    self.receiving = RequestContent::Done;
                }
            }
            RequestContent::Chunked(chunks) => chunks.consume(n),
            _ => {}
        }
        if self.client.input.is_empty() {
            self.client.input.release();
        }
    }

    fn trailers(&self) -> &Fields {
        &self.trailers
    }

    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ClientGone>> {
        if self.client.output.len() + self.client.wire.waiting() >= SIZE / 2 {
            ready!(self.poll_flush(cx))?;
        }
        Poll::Ready(Ok(SIZE - self.client.output.len().min(SIZE - 1)))
    }

    fn send_interim(&mut self, head: &ResponseHead) {
        if self.version == Version::Http11 {
            write_response(
                self.client.output.push(),
                head,
                &self.method,
                ResponseFraming::Length,
                Persistence::KeepAlive,
            );
            self.waits &= head.status != 100;
        }
    }

    fn send_head(&mut self, head: &ResponseHead, end: bool) {
        let framing = ResponseFraming::choose(head, &self.method, self.version);
        // A client that still waits for 100 may or may not send its content now: the connection cannot go on.
        self.keep_alive &= framing != ResponseFraming::Close && !self.waits;
        // An error comes before much of the content: the client should know that its connection ends with it.
        self.keep_alive &= head.status < 400 || !self.leaves_much();
        let persistence = if self.keep_alive { Persistence::KeepAlive } else { Persistence::Close };
        let output = self.client.output.push();
        if self.keep_alive && self.version == Version::Http10 {
            // To a client of HTTP/1.0 only this says that the connection persists (RFC 9112 §C.2.2).
            let mut head = head.clone();
            head.fields.push(b"Connection", b"keep-alive");
            write_response(output, &head, &self.method, framing, persistence);
        } else {
            write_response(output, head, &self.method, framing, persistence);
        }
        self.sending = if end { ResponseContent::Done } else { ResponseContent::Framed(framing) };
    }

    fn send_tunnel(&mut self, head: &ResponseHead, protocol: &str) {
        let mut head = head.clone();
        head.status = 101;
        if !head.fields.contains(edge_http::Name::Upgrade) {
            head.fields.push(b"Upgrade", protocol.as_bytes());
        }
        write_response(
            self.client.output.push(),
            &head,
            &self.method,
            ResponseFraming::Length,
            Persistence::KeepAlive,
        );
        self.keep_alive = false;
        self.sending = ResponseContent::Raw;
        self.receiving = RequestContent::Raw;
    }

    fn send_data(&mut self, data: &[u8]) {
        let HttpConnection { wire, output, .. } = &mut *self.client;
        match self.sending {
            ResponseContent::Framed(ResponseFraming::Chunked) => {
                if !data.is_empty() {
                    write_chunk_head(output.push(), data.len());
                    output.append_or_write(wire, [data, b"\r\n", b""]);
                }
            }
            ResponseContent::Framed(_) | ResponseContent::Raw => {
                output.append_or_write(wire, [data, b"", b""]);
            }
            ResponseContent::Head | ResponseContent::Done => {}
        }
    }

    fn send_end(&mut self, trailers: Option<&Fields>) {
        match self.sending {
            ResponseContent::Framed(ResponseFraming::Chunked) => {
                write_last_chunk(self.client.output.push(), trailers);
            }
            ResponseContent::Raw => self.half_closed = true,
            _ => {}
        }
        self.sending = ResponseContent::Done;
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientGone>> {
        let client = &mut *self.client;
        if client.output.len() > 0 && ready!(client.output.poll_write(&mut client.wire, cx)).is_err() {
            self.lost = true;
            return Poll::Ready(Err(ClientGone));
        }
        if self.half_closed {
            let _ = ready!(Pin::new(&mut client.wire).poll_shutdown(cx));
        }
        let flushed = match self.sending {
            ResponseContent::Done => client.wire.poll_drained(cx),
            _ => Pin::new(&mut client.wire).poll_flush(cx),
        };
        match ready!(flushed) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_) => {
                self.lost = true;
                Poll::Ready(Err(ClientGone))
            }
        }
    }

    fn poll_splice_ready(&mut self, cx: &mut Context<'_>, want: bool) -> Poll<Result<bool, ClientGone>> {
        // Chunks have heads of their own.
        let plain = matches!(
            self.sending,
            ResponseContent::Framed(ResponseFraming::Length | ResponseFraming::Close) | ResponseContent::Raw
        );
        if !plain || !self.client.wire.may_enter_kernel(want) {
            return Poll::Ready(Ok(false));
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(self.client.wire.enter_kernel()))
    }

    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut SplicePipe,
    ) -> Poll<Result<usize, ClientGone>> {
        self.client.wire.poll_splice(cx, pipe).map_err(|_| ClientGone)
    }

    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<ClientGone> {
        if let Some(leaving) = &mut self.leaving {
            // What is sent since then reaches the client, or finds its connection closed.
            if self.sending != ResponseContent::Head {
                return Poll::Pending;
            }
            ready!(leaving.as_mut().poll(cx));
            self.lost = true;
            return Poll::Ready(ClientGone);
        }
        // Pipelined requests wait in the buffer, and once that is full nothing more is read.
        if self.client.input.is_full() || self.half_closed || matches!(self.receiving, RequestContent::Raw) {
            return Poll::Pending;
        }
        match self.client.input.poll_fill(&mut self.client.wire, cx) {
            Poll::Ready(Err(_)) => {
                self.lost = true;
                Poll::Ready(ClientGone)
            }
            Poll::Ready(Ok(0)) => {
                self.keep_alive = false;
                let leaving = self.leaving.insert(Box::pin(tokio::time::sleep(HALF_CLOSE_TIME)));
                // Registers the waker; the time has not passed yet.
                leaving.as_mut().poll(cx).map(|()| ClientGone)
            }
            _ => Poll::Pending,
        }
    }

    fn abort(&mut self, _why: Abort) {
        if self.half_closed {
            // A tunnel's end was sent.
            return;
        }
        self.aborted = true;
        self.client.output.release();
    }
}
