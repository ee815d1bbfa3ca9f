//! An HTTP/1 connection of a client: one request after another.

mod exchange;
mod stranger;

use crate::buffer::{ReadBuffer, SIZE, WriteBuffer};
use crate::date;
use crate::deadline::{Deadline, FIRST_REQUEST_GRACE};
use crate::downstream::wire::{ClientTransport, LINGER_PAUSE, linger};
use crate::exchange::{Connection, serve};
use crate::heads;
use crate::observe::ConnectionRejected;
use crate::worker::Worker;
use edge_http::h1::{HeadLimits, request};
use edge_http::{BodyLength, RequestHead, ResponseHead, Version, error_body, h1};
use edge_policy::Reason;
use edge_policy::config::Config;
use edge_policy::decide::Transport;
use exchange::Http1Exchange;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use stranger::is_met_with_silence;
use tokio::io::AsyncWriteExt;

/// A client's connection between requests, with the buffered input and output.
struct HttpConnection {
    /// The transport, with or without TLS.
    wire: ClientTransport,
    /// The bytes that were read and are not consumed.
    input: ReadBuffer,
    /// The bytes that are not written yet.
    output: WriteBuffer,
}

/// The time after the second or a later request of a connection for which the state of exchanges is kept for the next one.
const BUSY_TIME: Duration = Duration::from_millis(250);

/// What a complete request head says about its connection.
#[derive(Clone, Copy)]
struct RequestTerms {
    /// True if the connection persists after the request.
    keep_alive: bool,
    /// True if the client waits for a 100 (Continue) response.
    expects_continue: bool,
}

/// The time for which the first byte of a request is awaited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdleWait {
    /// The idle timeout, for the first request of a connection.
    First,
    /// The idle timeout, after the first request.
    Whole,
    /// The idle timeout or [`BUSY_TIME`], whichever is shorter.
    Busy,
    /// The rest of the idle timeout after [`BUSY_TIME`].
    Rest,
}

impl IdleWait {
    /// Returns the time for which the first byte is awaited, given the idle timeout.
    fn limit(self, idle: Duration) -> Duration {
        match self {
            Self::First | Self::Whole => idle,
            Self::Busy => idle.min(BUSY_TIME),
            Self::Rest => idle.saturating_sub(BUSY_TIME),
        }
    }
}

/// The result of waiting for the next request of a connection.
enum NextRequest {
    /// The head of the request is complete.
    Request(RequestTerms),
    /// No byte of it is there yet. It is awaited for this time, without the state of exchanges.
    Idle(IdleWait),
    /// The head is malformed or too large.
    Bad(h1::HeadError),
    /// The header timeout passed before the head that had begun was complete.
    Slow,
    /// The client closed the connection before a head was complete, reading failed, the client sent nothing for the
    /// idle timeout, or the worker drains.
    End,
}

/// Serves HTTP/1 requests on the connection one after another until it ends, and closes it. `input` was read from
/// the socket before. `guards` are dropped at the end. A malformed head is answered with an error, unless it is not HTTP at all, and ends the
/// connection; if it is the first on a plain connection, [`is_met_with_silence`] decides whether it gets no response. A
/// head that takes longer than the header timeout ends the connection without a response.
pub(crate) fn run(
    worker: Rc<Worker>,
    connection: Connection,
    wire: ClientTransport,
    input: ReadBuffer,
    guards: impl Sized,
) -> impl Future<Output = ()> {
    let deadline = worker.sweep().deadline();
    let mut client = HttpConnection { wire, input, output: WriteBuffer::default() };
    // Not an `async fn`: its future would have room for the arguments twice, in every idle connection.
    async move {
        let mut head = RequestHead::new(Version::Http11);
        let mut first = true;
        let mut next = client.next(&worker, &mut head, &deadline, IdleWait::First).await;
        loop {
            match next {
                NextRequest::Request(terms) => {
                    // The state of exchanges is on the heap, so that an idle connection is small. It stays there while one
                    // request follows another, so that none of them allocates or moves it. Many clients send only one.
                    let once = std::mem::replace(&mut first, false);
                    let busy =
                        client.serve_while_busy(&worker, &connection, &mut head, terms, once, &deadline);
                    match Box::pin(busy).await {
                        Some(other) => next = other,
                        None => return,
                    }
                }
                NextRequest::Idle(wait) => next = client.next(&worker, &mut head, &deadline, wait).await,
                NextRequest::Bad(why) => {
                    rejected(&worker, &connection, reason(why));
                    let view = worker.view();
                    let (snapshot, listener) = (view.runtime.snapshot(), connection.listener.as_deref());
                    let plain = connection.transport == Transport::Plain;
                    if first && plain && is_met_with_silence(snapshot, listener, client.input.bytes()) {
                        return;
                    }
                    if let Some(status) = why.status() {
                        // Rare and large: on the heap, so that the connection's task is small.
                        Box::pin(refuse(client, status, &deadline)).await;
                    }
                    return;
                }
                NextRequest::Slow => {
                    rejected(&worker, &connection, Reason::HeadTooSlow);
                    break;
                }
                NextRequest::End => break,
            }
        }
        let _ = deadline.within(Duration::from_secs(1), client.wire.shutdown()).await;
        drop(guards);
    }
}

/// Counts a request or connection that was rejected for a request head, and reports it to the observer.
fn rejected(worker: &Worker, connection: &Connection, reason: Reason) {
    worker.rejected(&ConnectionRejected {
        peer: connection.peer,
        local: connection.local,
        sni: connection.sni.as_deref(),
        quic: connection.transport == Transport::Quic,
        reason,
    });
}

/// Returns the reason that is reported for a malformed head: `NotHttp`, `TargetTooLong` or `HeadTooLarge` for the
/// errors of these names, `MalformedHead` for every other one.
const fn reason(why: h1::HeadError) -> Reason {
    match why {
        h1::HeadError::NotHttp => Reason::NotHttp,
        h1::HeadError::TargetTooLong => Reason::TargetTooLong,
        h1::HeadError::TooLarge => Reason::HeadTooLarge,
        h1::HeadError::LineEnd
        | h1::HeadError::FirstLine
        | h1::HeadError::Version
        | h1::HeadError::Target
        | h1::HeadError::Field
        | h1::HeadError::Host
        | h1::HeadError::ContentLength
        | h1::HeadError::TransferEncoding
        | h1::HeadError::BothLengths => Reason::MalformedHead,
    }
}

/// Responds to a malformed request with this status and an error page, and closes the connection. Writing is limited
/// to [`LINGER_PAUSE`]; if it succeeds, input is then discarded as by [`linger`].
async fn refuse(mut client: HttpConnection, status: u16, deadline: &Deadline) {
    let (media, body) = error_body::of(status, &edge_http::Fields::new());
    let mut head = ResponseHead { body: BodyLength::Exact(body.len() as u64), ..ResponseHead::new(status) };
    head.fields.push(b"Content-Type", media.as_bytes());
    date::add(&mut head.fields);
    h1::write_response(
        client.output.push(),
        &head,
        &edge_http::Method::Get,
        h1::ResponseFraming::Length,
        h1::Persistence::Close,
    );
    client.output.push().extend_from_slice(body.as_bytes());
    let said = async {
        let written = poll_fn(|cx| client.output.poll_write(&mut client.wire, cx)).await;
        written.is_ok() && client.wire.shutdown().await.is_ok()
    };
    if deadline.within(LINGER_PAUSE, said).await == Some(true) {
        client.linger(deadline).await;
    }
}

/// Returns the limits of request heads in the configuration, lowered so that a head fits into one buffer.
pub(super) fn head_limits(config: &Config) -> HeadLimits {
    // A head is read when it is whole in one buffer.
    let target = config.limits.target_bytes.min(SIZE - SIZE / 8);
    HeadLimits {
        bytes: config.limits.header_bytes.min(SIZE - SIZE / 64 - target),
        fields: config.limits.header_fields,
        target,
    }
}

impl HttpConnection {
    /// Reads and discards input as [`linger`] does, so that the client can read the response before the connection is
    /// closed.
    async fn linger(&mut self, deadline: &Deadline) {
        linger(&mut self.input, &mut self.wire, deadline).await;
    }

    /// Serves the request whose head was read into `head`, and those that follow it while none is awaited for
    /// [`BUSY_TIME`]; with `once`, only that request. Returns the reason that no further one was served; `None` if the
    /// connection was closed, or is to be dropped. `head` is left empty unless it is that of a request.
    async fn serve_while_busy(
        &mut self,
        worker: &Rc<Worker>,
        connection: &Connection,
        head: &mut RequestHead,
        mut terms: RequestTerms,
        once: bool,
        deadline: &Deadline,
    ) -> Option<NextRequest> {
        loop {
            let request = std::mem::replace(head, RequestHead::new(Version::Http11));
            let keep_alive = terms.keep_alive && !worker.sweep().draining();
            let mut exchange = Http1Exchange::new(self, &request, keep_alive, terms.expects_continue);
            serve(worker, connection, request, &mut exchange, deadline).await;
            if !exchange.is_complete() && !Box::pin(exchange.end(deadline)).await {
                return None;
            }
            if once {
                return Some(NextRequest::Idle(IdleWait::Whole));
            }
            match self.next(worker, head, deadline, IdleWait::Busy).await {
                NextRequest::Request(following) => terms = following,
                other => return Some(other),
            }
        }
    }

    /// Reads until a request head is complete, and stores it in `head`. The limit of `wait` applies until the first
    /// byte, then the header timeout until the head is complete. The configured limits of the head are lowered so that it
    /// fits into one buffer. Once the worker drains, no byte is awaited any more, except for the first request
    /// of the connection, for at most [`FIRST_REQUEST_GRACE`]; a head that has begun is still read.
    async fn next(
        &mut self,
        worker: &Rc<Worker>,
        head: &mut RequestHead,
        deadline: &Deadline,
        wait: IdleWait,
    ) -> NextRequest {
        let config = worker.view();
        let config = config.runtime.snapshot().config();
        let limits = head_limits(config);
        let timeouts = config.timeouts;
        let mut begun = !self.input.is_empty();
        let mut hurried = false;
        deadline.set(if begun { timeouts.header } else { wait.limit(timeouts.idle) });
        if self.input.is_empty() {
            self.input.release();
        }
        let next = loop {
            if !self.input.is_empty() {
                if head.target.capacity() == 0 {
                    *head = heads::request();
                }
                match request(self.input.bytes(), &limits, head) {
                    Ok(Some(found)) => {
                        self.input.consume(found.used);
                        break NextRequest::Request(RequestTerms {
                            keep_alive: found.keep_alive,
                            expects_continue: found.expects_continue,
                        });
                    }
                    Ok(None) => {}
                    Err(why) => break NextRequest::Bad(why),
                }
            }
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = self.input.poll_fill(&mut self.wire, cx) {
                    return Poll::Ready(Some(read));
                }
                if self.input.is_empty() && deadline.draining() {
                    if wait != IdleWait::First {
                        return Poll::Ready(None);
                    }
                    if !std::mem::replace(&mut hurried, true) {
                        deadline.sooner(FIRST_REQUEST_GRACE);
                    }
                }
                deadline.poll_due(cx).map(|()| None)
            })
            .await;
            match read {
                Some(Ok(n)) if n > 0 => {
                    if !begun {
                        begun = true;
                        deadline.set(timeouts.header);
                    }
                }
                None if begun => break NextRequest::Slow,
                None if wait == IdleWait::Busy && timeouts.idle > BUSY_TIME && !deadline.draining() => {
                    break NextRequest::Idle(IdleWait::Rest);
                }
                _ => break NextRequest::End,
            }
        };
        deadline.clear();
        next
    }
}
