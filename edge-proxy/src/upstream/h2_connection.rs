//! An HTTP/2 connection to an upstream, shared by many exchanges.
//!
//! No client can slow down another: the connection's window is far above the sum of its streams' windows, so a stream
//! whose client does not read blocks no other. The buffered bytes are limited for the whole worker
//! ([`buffer_budget`](super::buffer_budget)). A silent connection is checked by a PING, and closed if there is no
//! response.

use super::Cause;
use super::UpstreamError;
use super::buffer_budget;
use super::window_growth::{INITIAL_WINDOW, WindowGrowth};
use super::wire::UpstreamTransport;
use bytes::Bytes;
use h2::Ping;
use h2::client::{Connection, SendRequest};
use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// The number of streams that are opened before the service's SETTINGS, which may allow fewer than the 100 that RFC
/// 9113 §6.5.2 recommends. Those in excess would wait behind slow ones, or be refused.
const STREAMS_BEFORE_SETTINGS: usize = 1;
/// The length of a frame header in bytes (RFC 9113 §4.1).
const FRAME_HEADER: u64 = 9;
/// The receive window of a connection in bytes: more than the windows of all its streams together.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// The interval at which it is checked whether bytes arrive on a connection.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The time without received bytes after which a connection with open streams is checked by a PING.
const PING_AFTER: Duration = Duration::from_secs(2);
/// The time limit for the response to that PING, after which the connection is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// The least age of a request that ends without a response, while nothing was received, for the connection to be taken
/// for dead.
const SUSPECT_AFTER: Duration = Duration::from_millis(500);

/// The state that the users of a connection and its task share.
struct ConnectionState {
    /// The number of open streams.
    streams: Cell<usize>,
    /// The time at which bytes were last received.
    last_read: Cell<Instant>,
    /// The time at which the last stream ended, or the connection was opened.
    last_used: Cell<Instant>,
    /// The number of bytes received since the connection was opened.
    received: Cell<u64>,
    /// The payload length of the first received frame, as far as it has been received. It is SETTINGS (RFC 9113 §3.4).
    first_length: Cell<u32>,
    /// True once the service's SETTINGS were processed, or the connection has ended.
    settled: Cell<bool>,
    /// Notified when `settled` becomes true.
    settling: Notify,
    /// True if no further requests are sent on the connection.
    retired: Cell<bool>,
}

impl ConnectionState {
    /// Records received bytes.
    fn receive(&self, bytes: &[u8]) {
        let before = self.received.get();
        let rest = 3_usize.saturating_sub(before as usize);
        for byte in &bytes[..rest.min(bytes.len())] {
            self.first_length.set(self.first_length.get() << 8 | u32::from(*byte));
        }
        self.last_read.set(Instant::now());
        self.received.set(before + bytes.len() as u64);
    }

    /// Returns whether the first frame was received completely.
    fn has_first_frame(&self) -> bool {
        let received = self.received.get();
        received >= FRAME_HEADER && received >= FRAME_HEADER + u64::from(self.first_length.get())
    }

    /// Records that the service's SETTINGS were processed, or that none will be.
    fn settle(&self) {
        if !self.settled.replace(true) {
            self.settling.notify_waiters();
        }
    }
}

/// A handle of an HTTP/2 connection to an upstream, by which streams are opened.
#[derive(Clone)]
pub(super) struct MultiplexedConnection {
    /// The handle of the h2 crate, by which streams are opened.
    send: SendRequest<Bytes>,
    /// The state of the connection, shared with its task.
    state: Rc<ConnectionState>,
}

/// A permit that counts a stream of a connection as open until it is dropped.
pub(super) struct StreamPermit {
    /// The state of the connection.
    state: Rc<ConnectionState>,
    /// The time at which the stream was opened.
    began: Instant,
}

impl MultiplexedConnection {
    /// Opens an HTTP/2 connection on a transport and spawns the task that drives it. The connection is open as long as
    /// a clone of the handle or a stream exists. `head` is the largest header list in bytes that is accepted.
    ///
    /// # Errors
    /// `Connect` if the HTTP/2 preface cannot be exchanged.
    pub(super) async fn connect(wire: UpstreamTransport, head: usize) -> Result<Self, UpstreamError> {
        let now = Instant::now();
        let state = Rc::new(ConnectionState {
            streams: Cell::new(0),
            last_read: Cell::new(now),
            last_used: Cell::new(now),
            received: Cell::new(0),
            first_length: Cell::new(0),
            settled: Cell::new(false),
            settling: Notify::new(),
            retired: Cell::new(false),
        });
        let window = buffer_budget::window(INITIAL_WINDOW);
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_max_send_streams(STREAMS_BEFORE_SETTINGS)
            .initial_window_size(window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(head as u32)
            .max_send_buffer_size(256 * 1024);
        let metered = MeteredTransport { wire, state: state.clone() };
        let (send, connection) =
            builder.handshake(metered).await.map_err(|_| UpstreamError::Connect(Cause::Http2))?;
        tokio::task::spawn_local(drive(connection, state.clone(), window));
        Ok(Self { send, state })
    }

    /// Waits until the service's SETTINGS were processed, or the connection has ended.
    pub(super) async fn settled(&self) {
        while !self.state.settled.get() {
            self.state.settling.notified().await;
        }
    }

    /// Returns whether a stream can probably be opened at once: the connection is not retired, and the number of open
    /// streams is below the upstream's limit as known.
    pub(super) fn has_room(&self) -> bool {
        !self.state.retired.get() && self.state.streams.get() < self.send.current_max_send_streams()
    }

    /// Returns whether no further requests are sent on the connection, because it ended, failed or was retired.
    pub(super) fn is_retired(&self) -> bool {
        self.state.retired.get()
    }

    /// Returns the time since the last stream ended, or since the connection was opened. `None` while streams are open.
    pub(super) fn idle(&self) -> Option<Duration> {
        (self.state.streams.get() == 0).then(|| self.state.last_used.get().elapsed())
    }

    /// Retires the connection: no further requests are sent on it. Open streams continue.
    pub(super) fn retire(&self) {
        self.state.retired.set(true);
    }

    /// Counts a stream as open until the permit is dropped.
    pub(super) fn acquire_stream(&self) -> StreamPermit {
        self.state.streams.set(self.state.streams.get() + 1);
        buffer_budget::stream_opened();
        StreamPermit { state: self.state.clone(), began: Instant::now() }
    }

    /// Waits until a stream can be opened, and returns the handle to open it with.
    ///
    /// # Errors
    /// The error that ended the connection.
    pub(super) async fn ready(&self) -> Result<SendRequest<Bytes>, h2::Error> {
        self.send.clone().ready().await
    }
}

impl StreamPermit {
    /// Records that a request ends without a response. If nothing was received on the connection since the stream was
    /// opened, and that was at least [`SUSPECT_AFTER`] ago, the connection is retired.
    pub(super) fn abandon(&self) {
        if self.state.last_read.get() < self.began && self.began.elapsed() >= SUSPECT_AFTER {
            self.state.retired.set(true);
        }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.state.streams.set(self.state.streams.get() - 1);
        buffer_budget::stream_closed();
        self.state.last_used.set(Instant::now());
    }
}

/// Drives a connection until it ends, or until a PING on a connection with open streams is not answered in
/// [`PING_TIMEOUT`], and then retires it. Adjusts the window of streams to the worker's budget. Errors are reported by
/// the streams.
async fn drive(
    mut connection: Connection<MeteredTransport, Bytes>,
    state: Rc<ConnectionState>,
    mut window: u32,
) {
    let mut pings = connection.ping_pong();
    let mut asked: Option<Instant> = None;
    let mut growth = WindowGrowth::new();
    let mut look = tokio::time::interval(CHECK_INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    poll_fn(|cx| {
        while look.poll_tick(cx).is_ready() {
            let quiet = state.streams.get() > 0 && state.last_read.get().elapsed() >= PING_AFTER;
            match (asked, &mut pings) {
                (Some(at), _) if quiet && at.elapsed() >= PING_TIMEOUT => {
                    state.retired.set(true);
                    return Poll::Ready(());
                }
                (None, Some(pings)) if quiet => {
                    let sent = pings.send_ping(Ping::opaque()).is_ok();
                    asked = sent.then(Instant::now);
                }
                _ => {}
            }
        }
        if let (Some(_), Some(pings)) = (asked, &mut pings)
            && pings.poll_pong(cx).is_ready()
        {
            asked = None;
        }
        // This fails while the upstream has not acknowledged the previous setting, and is then repeated.
        let largest = growth.window(state.received.get(), state.streams.get(), buffer_budget::buffered);
        let wanted = buffer_budget::window(largest);
        if wanted != window && connection.set_initial_window_size(wanted).is_ok() {
            window = wanted;
        }
        let polled = Pin::new(&mut connection).poll(cx);
        if !state.settled.get() && state.has_first_frame() {
            state.settle();
        }
        polled.map(|_| ())
    })
    .await;
    state.retired.set(true);
    state.settle();
}

/// A transport that records the time of the last read, and counts received bytes for the connection and for the
/// worker's budget of buffers.
struct MeteredTransport {
    /// The transport below.
    wire: UpstreamTransport,
    /// The state of the connection.
    state: Rc<ConnectionState>,
}

impl AsyncRead for MeteredTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.wire).poll_read(cx, buf);
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            self.state.receive(received);
            buffer_budget::received(received.len());
        }
        read
    }
}

impl AsyncWrite for MeteredTransport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
