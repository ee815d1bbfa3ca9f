//! A client's HTTP/2 connection: concurrent streams, each served by its own task.

mod conn;
mod exchange;
mod slot;
mod unsent;

use crate::buffer::ReadBuffer;
use crate::deadline::{Deadline, FIRST_REQUEST_GRACE};
use crate::downstream::wire::{ClientTransport, LINGER_PAUSE, linger};
use crate::exchange::{Connection, serve};
use crate::observe::ConnectionRejected;
use crate::worker::Worker;
use conn::{Http2Connection, Http2Limits, PendingRequest};
use edge_http::flood::FloodMeter;
use edge_http::h2::{Code, frame};
use edge_http::section;
use edge_policy::Reason;
use edge_policy::config::{Config, Reject, Timeouts};
use edge_policy::decide::Transport;
use exchange::Http2Exchange;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use unsent::UnsentLimit;

/// The number of successive reads after which the other tasks of the worker run.
const MAX_READS: usize = 8;

/// The time without a request after which output is no longer held back from a client: clients of gRPC send no request
/// before they receive SETTINGS.
const SETTINGS_DELAY: Duration = Duration::from_secs(1);

/// Serves an HTTP/2 connection until it ends, and closes it. `input` was read from the socket before. `guards` are dropped at the end. Without TLS,
/// and if the configured rejection is silent, output is held back until a request is accepted.
pub(crate) fn run<G>(
    worker: &Rc<Worker>,
    connection: Connection,
    wire: ClientTransport,
    input: ReadBuffer,
    guards: G,
) -> impl Future<Output = ()> + use<G> {
    let view = worker.view();
    let mut driver = Driver::new(worker, connection, wire, view.runtime.snapshot().config());
    let silent = view.runtime.snapshot().config().reject == Reject::Silent;
    drop(view);
    if silent && driver.connection.transport == Transport::Plain {
        driver.conn.borrow_mut().begin_silence();
    }
    driver.input = input;
    // Not an `async fn`: its future would have room for the arguments as well.
    async move {
        let already = driver.input.bytes().len();
        if already > 0 {
            driver.take(already);
        }
        poll_fn(|cx| driver.poll(cx)).await;
        driver.end().await;
        drop(guards);
    }
}

/// The future that drives a connection: reads frames, starts requests, wakes streams, writes output and enforces
/// deadlines.
struct Driver {
    /// The worker of the connection.
    worker: Rc<Worker>,
    /// The properties of the connection that all its requests share.
    connection: Rc<Connection>,
    /// The state of the connection.
    conn: Rc<RefCell<Http2Connection>>,
    /// The transport of the connection.
    wire: ClientTransport,
    /// The limit of unsent bytes in the send queue of the transport's socket.
    unsent: UnsentLimit,
    /// The bytes that were read and are not processed, because a frame is incomplete.
    input: ReadBuffer,
    /// The token bucket that limits frames without useful work.
    meter: FloodMeter,
    /// The time at which the connection began, from which `meter` counts.
    start: Instant,
    /// The deadline of the connection: of its handshake, of an idle connection, or of its shutdown.
    deadline: Deadline,
    /// The deadline of an incomplete field section, valid while `unfinished` is true.
    section: Deadline,
    /// The deadline for a request, after which output is no longer held back. `None` if no request is awaited.
    settings: Option<Deadline>,
    /// True if a field section, or a frame that may belong to one, has begun and is incomplete.
    unfinished: bool,
    /// True if the connection was closed because a field section was not completed within the header timeout.
    slow: bool,
    /// The timeouts of the configuration.
    timeouts: Timeouts,
    /// The requests that were received and are not started yet.
    arrived: Vec<PendingRequest>,
    /// The task that ends once the I/O driver was polled, before less urgent streams get their turn. `None` if none
    /// waits.
    poll: Option<JoinHandle<()>>,
    /// The time until which the first request is awaited while the worker drains. `None` if the wait has not begun.
    last_call: Option<Instant>,
    /// True if nothing more can be written to the client, so that the transport is dropped without a shutdown.
    gone: bool,
}

impl Driver {
    /// Creates the driver of a new connection with the limits and timeouts of the configuration. The handshake timeout
    /// applies until the client's SETTINGS arrive.
    fn new(worker: &Rc<Worker>, connection: Connection, wire: ClientTransport, config: &Config) -> Self {
        let limits = Http2Limits {
            streams: config.limits.streams,
            resets: config.limits.resets,
            section: section::SectionLimits {
                section: config.limits.header_bytes + config.limits.target_bytes,
                fields: config.limits.header_fields,
            },
        };
        let deadline = worker.sweep().deadline();
        deadline.set(config.timeouts.handshake);
        let start = Instant::now();
        let unsent = UnsentLimit::begin(wire.socket(), start);
        Self {
            worker: worker.clone(),
            connection: Rc::new(connection),
            conn: Rc::new(RefCell::new(Http2Connection::new(limits, start))),
            wire,
            unsent,
            input: ReadBuffer::default(),
            meter: FloodMeter::new(config.limits.control_frames, 0),
            start,
            deadline,
            section: worker.sweep().deadline(),
            settings: None,
            unfinished: false,
            slow: false,
            timeouts: config.timeouts,
            arrived: Vec::new(),
            poll: None,
            last_call: None,
            gone: false,
        }
    }

    /// Drives the connection once: reads, starts requests, writes, and enforces deadlines. Completes when the
    /// connection has ended and its output is written or cannot be. A connection without streams for the idle timeout
    /// is shut down by GOAWAY, and ends within the handshake timeout. A field section that takes longer than the
    /// header timeout closes the connection with ENHANCE_YOUR_CALM.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.conn.borrow_mut().register_waker(cx.waker());
        let more = self.read(cx);
        self.go_away_when_draining();
        if self.unfinished && self.section.poll_due(cx).is_ready() {
            (self.unfinished, self.slow) = (false, true);
            self.conn.borrow_mut().fail(Code::ENHANCE_YOUR_CALM);
            self.deadline.set(self.timeouts.handshake);
        }
        self.send_settings_when_due(cx);
        let written = self.write(cx);
        let mut conn = self.conn.borrow_mut();
        if written.is_err() {
            conn.lose();
            self.gone = true;
        }
        if conn.is_over() && (self.gone || matches!(written, Ok(true))) {
            return Poll::Ready(());
        }
        let polled = self.poll.as_mut().is_some_and(|poll| Pin::new(poll).poll(cx).is_ready());
        if polled {
            self.poll = None;
        }
        if conn.wake_streams(polled) {
            // The runtime polls its I/O driver before a task that yielded.
            let poll = self.poll.get_or_insert_with(|| tokio::task::spawn_local(tokio::task::yield_now()));
            if Pin::new(poll).poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        if more && conn.has_output_room() {
            cx.waker().wake_by_ref();
        }
        match self.deadline.poll_due(cx) {
            Poll::Pending => Poll::Pending,
            // The connection ends by an error, or is leaving, or never began, and does not accept the remaining output.
            Poll::Ready(())
                if conn.is_over() || (conn.slots.is_empty() && (conn.is_leaving() || !conn.is_begun())) =>
            {
                self.gone = true;
                conn.lose();
                Poll::Ready(())
            }
            Poll::Ready(()) => {
                if conn.slots.is_empty() {
                    // No request for the idle timeout: GOAWAY is sent, and the connection ends within the handshake
                    // timeout.
                    conn.go_away();
                    self.deadline.set(self.timeouts.handshake);
                    cx.waker().wake_by_ref();
                } else {
                    self.deadline.set(self.timeouts.idle);
                }
                let _ = self.deadline.poll_due(cx);
                Poll::Pending
            }
        }
    }

    /// Begins a graceful shutdown once the worker drains, unless one has begun. A connection without streams then ends
    /// within the handshake timeout. One that has had no request yet gets [`FIRST_REQUEST_GRACE`] for it first, since
    /// a client sends none after GOAWAY.
    fn go_away_when_draining(&mut self) {
        let mut conn = self.conn.borrow_mut();
        if !self.worker.sweep().draining() || conn.is_leaving() || conn.is_over() {
            return;
        }
        if !conn.had_request() {
            let now = Instant::now();
            let left = self.last_call.get_or_insert(now + FIRST_REQUEST_GRACE).saturating_duration_since(now);
            if !left.is_zero() {
                return self.deadline.sooner(left);
            }
        }
        conn.go_away();
        if conn.slots.is_empty() {
            self.deadline.set(self.timeouts.handshake);
        }
    }

    /// Stops holding back output from a client that has sent its SETTINGS but no request for [`SETTINGS_DELAY`].
    fn send_settings_when_due(&mut self, cx: &mut Context<'_>) {
        let mut conn = self.conn.borrow_mut();
        if !conn.awaits_settings() {
            self.settings = None;
            return;
        }
        let settings = self.settings.get_or_insert_with(|| {
            let deadline = self.worker.sweep().deadline();
            deadline.set(SETTINGS_DELAY);
            deadline
        });
        if settings.poll_due(cx).is_ready() {
            conn.end_silence();
        }
    }

    /// Reads and processes available bytes, at most [`MAX_READS`] times. Returns true if more may be available, also
    /// if too much output is pending to read on. Returns false if nothing more is available now or the connection has
    /// ended. The end or an error of the transport loses the connection.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..MAX_READS {
            let conn = self.conn.borrow();
            if conn.is_over() {
                return false;
            }
            if !conn.has_output_room() {
                return true;
            }
            drop(conn);
            match self.input.poll_fill(&mut self.wire, cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(n)) if n > 0 => self.take(n),
                Poll::Ready(_) => {
                    self.conn.borrow_mut().lose();
                    self.gone = true;
                    return false;
                }
            }
        }
        true
    }

    /// Processes input whose last `n` bytes are new: counts them against floods, handles complete frames, reports
    /// refused requests, and spawns a task for each request that has arrived. A flood closes the connection with
    /// ENHANCE_YOUR_CALM. Sets the deadlines of the connection and of an incomplete field section.
    fn take(&mut self, n: usize) {
        let bytes = self.input.bytes();
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.start).as_millis() as u64;
        self.meter.received(&bytes[bytes.len() - n..], elapsed);
        let mut conn = self.conn.borrow_mut();
        let began = conn.is_begun();
        let used = conn.receive(bytes, &mut self.arrived, now);
        if self.meter.is_flooded() {
            conn.fail(Code::ENHANCE_YOUR_CALM);
        }
        if conn.failure().is_some() {
            // It ends when that is written, or when it takes too long.
            self.deadline.set(self.timeouts.handshake);
        } else if !self.arrived.is_empty() || (conn.is_begun() && !began) {
            self.deadline.set(self.timeouts.idle);
        }
        let refused = std::mem::take(&mut conn.refused);
        let in_section = conn.is_in_section();
        drop(conn);
        self.input.consume(used);
        // An incomplete frame counts by its type, or as part of a field section if that has not arrived.
        let unfinished = match self.input.bytes() {
            [] => in_section,
            [_, _, _, kind, ..] => in_section || matches!(*kind, frame::HEADERS | frame::CONTINUATION),
            _ => true,
        };
        if unfinished && !self.unfinished {
            self.section.set(self.timeouts.header);
        }
        self.unfinished = unfinished;
        refused.into_iter().for_each(|reason| self.rejected(reason));
        for arrived in self.arrived.drain(..) {
            let (worker, connection) = (self.worker.clone(), self.connection.clone());
            let mut exchange = Http2Exchange::new(self.conn.clone(), arrived.id);
            tokio::task::spawn_local(async move {
                let deadline = worker.sweep().deadline();
                serve(&worker, &connection, arrived.head, &mut exchange, &deadline).await;
            });
        }
    }

    /// Writes pending output and then deferred resets. Returns true if all is written or output is held back, false if
    /// the socket does not accept all of it now.
    ///
    /// # Errors
    /// The error of the transport.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut conn = self.conn.borrow_mut();
        if conn.is_silent() {
            return Ok(true);
        }
        let waiting = conn.out.len();
        if waiting > 0 {
            conn.begin_to_write();
            let written = conn.out.poll_write(&mut self.wire, cx);
            let sent = waiting - conn.out.len();
            self.meter.sent(sent);
            conn.count_taken(sent);
            self.unsent.accepted(sent, self.wire.socket());
            if let Poll::Ready(written) = written {
                written?;
            } else {
                return Ok(false);
            }
        }
        match Pin::new(&mut self.wire).poll_flush(cx) {
            Poll::Ready(flushed) => flushed?,
            Poll::Pending => return Ok(false),
        }
        // Resets are written separately, so that a client processes the response before them.
        let late = conn.write_deferred_resets();
        drop(conn);
        if late { self.write(cx) } else { Ok(true) }
    }

    /// Reports the error by which this side closed the connection, if there was one, and shuts the transport down
    /// unless the client is gone. After an error, input is discarded as by [`linger`], so that the client can read the
    /// GOAWAY.
    async fn end(self) {
        let failure = self.conn.borrow().failure();
        if let Some(code) = failure {
            self.rejected(match code {
                _ if self.slow => Reason::HeadTooSlow,
                Code::ENHANCE_YOUR_CALM => Reason::Http2Flood,
                _ => Reason::Http2Error,
            });
        }
        if self.gone {
            return;
        }
        let Self { mut wire, mut input, deadline, .. } = self;
        let closed = async {
            // Further input matters only if it would hide the reason of the rejection.
            wire.shutdown().await.is_ok() && failure.is_some()
        };
        // The connection's own limit may be what ended it.
        deadline.clear();
        if deadline.within(LINGER_PAUSE, closed).await == Some(true) {
            linger(&mut input, &mut wire, &deadline).await;
        }
    }

    /// Counts a rejected connection or request and reports it to the observer.
    fn rejected(&self, reason: Reason) {
        self.worker.rejected(&ConnectionRejected {
            peer: self.connection.peer,
            local: self.connection.local,
            sni: self.connection.sni.as_deref(),
            quic: false,
            reason,
        });
    }
}
