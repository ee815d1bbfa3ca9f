//! The event loop of the engine: receive datagrams, drive connections, run tasks, send datagrams.

mod admit;
mod confirm;
mod shutdown;
mod transmit;

use super::amplification::AmplificationLimit;
use super::cid::Router;
use super::conn::{QuicConnectionCell, QuicRequest};
use super::engine_state::EngineState;
use super::first_flight::{FirstFlightFilter, Flow};
use super::paths::ClientPaths;
use super::pending_handshakes::PendingHandshakes;
use super::socket::{Datagram, QuicSocket};
use super::stream::H3Stream;
use super::timers::Timers;
use super::{
    AcceptedConnection, CloseReason, ControlReceiver, EngineConfig, Handover, QuicServerConfig,
    RejectedHeads, Service,
};
use edge_http::h3::{Code, initial};
use quinn_proto as quic;
use quinn_proto::{ConnectionHandle, EndpointConfig};
use shutdown::Shutdown;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// The number of successive batches of datagrams that are received before other work is done.
const MAX_RECEIVE_BATCHES: usize = 4;

/// The interval at which the deadlines of handshakes, heads and first flights are checked.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Opens an engine. The returned future runs it until it is shut down; it must be polled on a thread with a
/// `LocalSet`. The future fails with an error of the socket, after which the engine cannot be used.
///
/// # Errors
/// The error of configuring the socket.
pub(crate) fn open<S: Service>(
    config: EngineConfig,
    service: Rc<S>,
    control: ControlReceiver,
) -> io::Result<impl Future<Output = io::Result<()>> + use<S>> {
    let mut engine = Engine::new(config, service, control)?;
    Ok(std::future::poll_fn(move |cx| engine.poll(cx)))
}

/// A connection of the engine.
struct Entry<C, P> {
    /// The connection, shared with the tasks of its requests.
    cell: Rc<QuicConnectionCell>,
    /// The service's state for the connection. `None` until the ClientHello was processed.
    user: Option<Rc<C>>,
    /// The permit that counts the connection for its client. `None` before the client's address is validated and after
    /// the connection's end was reported to the service.
    permit: Option<P>,
    /// The anti-amplification limit. `None` once the client's address is validated and no datagram is held back.
    amplification: Option<AmplificationLimit>,
    /// The limits for further addresses of the client, which apply after its first address was validated.
    paths: ClientPaths,
    /// The index of the interface that all datagrams of the connection arrived on. `None` if they arrived on several,
    /// or if it is not recorded.
    interface: Option<u32>,
    /// The source address and the connection ID of the first flight that opened the connection.
    flow: Flow,
    /// The time of this connection's valid entry in the timer heap. `None` if it has none; other entries of it are
    /// ignored.
    armed: Option<Instant>,
    /// The key of the client in the count of pending handshakes. `None` once the handshake is complete, or if the
    /// address was validated by a token.
    handshake_client: Option<IpAddr>,
    /// True if the connection was created before its server name was known, and the name is not decided about yet.
    unconfirmed: bool,
    /// True if the service was notified that the handshake is complete.
    completed: bool,
    /// True if the connection is in the list of those that may have something to send.
    queued: bool,
    /// True if the service was notified of the connection's end.
    end_reported: bool,
}

/// The event loop of one listener on one worker.
struct Engine<S: Service> {
    /// The service that decides about connections and serves requests.
    service: Rc<S>,
    /// The receiver of commands to the engine.
    control: ControlReceiver,
    /// The membership in the group of engines that share the address.
    handover: Handover,
    /// The other engines at the same address whose connections have not ended. Datagrams of these are passed to them.
    predecessors: Vec<Router>,
    /// The engines that serve new clients at the same address instead of this one. `None` if this one does.
    successor: Option<Router>,
    /// The UDP socket.
    socket: QuicSocket,
    /// The QUIC endpoint, which assigns datagrams to connections.
    endpoint: quic::Endpoint,
    /// The QUIC configurations of accepted connections.
    server: Arc<QuicServerConfig>,
    /// The filter of first flights.
    filter: FirstFlightFilter,
    /// The state that connections and their tasks share.
    shared: Rc<EngineState>,
    /// The connections by the index that the endpoint gave them.
    conns: Vec<Option<Entry<S::Conn, S::Permit>>>,
    /// The number of connections that the endpoint has not released yet.
    live: usize,
    /// The count of handshakes with clients whose addresses are not validated.
    pending_handshakes: PendingHandshakes,
    /// The timers of the connections.
    timers: Timers,
    /// The timer that wakes the engine's task.
    sleep: Pin<Box<Sleep>>,
    /// The time that `sleep` is set to. `None` after it has elapsed.
    sleeping_until: Option<Instant>,
    /// The time of the next check of the deadlines of handshakes, heads and first flights.
    next_sweep: Instant,
    /// The datagrams of one batch while they are processed. The vector is empty otherwise, and its memory is reused.
    received: Vec<Datagram>,
    /// The requests of one connection that were received and are not started yet. The vector is empty otherwise, and
    /// its memory is reused.
    arrived: Vec<QuicRequest>,
    /// An empty vector whose memory is reused for the indexes of changed connections.
    driving: Vec<usize>,
    /// The indexes of the connections that may have something to send.
    sending: Vec<usize>,
    /// The highest number of datagrams that one system call sends. Large datagrams are fewer: see [`batch`].
    segments: usize,
    /// The content of the datagrams that are being sent.
    out: Vec<u8>,
    /// The datagrams in `out` that the socket did not accept. `None` if it accepted all.
    blocked: Option<quic::Transmit>,
    /// True if sending was put off once, so that the tasks of requests run before it. They add to the same datagrams.
    deferred: bool,
    /// The progress of a shutdown. `None` before it.
    shutdown: Option<Shutdown>,
}

impl<S: Service> Engine<S> {
    /// Creates an engine without connections, whose UDP socket and limits are those of the configuration.
    ///
    /// # Errors
    /// The error of configuring the socket.
    fn new(config: EngineConfig, service: Rc<S>, control: ControlReceiver) -> io::Result<Self> {
        let socket = QuicSocket::new(config.socket)?;
        let mut endpoint = EndpointConfig::default();
        endpoint.supported_versions(vec![initial::VERSION_1]).cid_generator(config.handover.generator());
        let now = Instant::now();
        Ok(Self {
            service,
            control,
            handover: config.handover,
            predecessors: Vec::new(),
            successor: None,
            endpoint: quic::Endpoint::new(
                Arc::new(endpoint),
                Some(config.server.network.clone()),
                !socket.may_fragment(),
                None,
            ),
            server: config.server,
            filter: FirstFlightFilter::new(config.limits.clone()),
            shared: EngineState::new(config.limits),
            conns: Vec::new(),
            live: 0,
            pending_handshakes: PendingHandshakes::default(),
            timers: Timers::default(),
            sleep: Box::pin(tokio::time::sleep_until((now + SWEEP_INTERVAL).into())),
            sleeping_until: None,
            next_sweep: now + SWEEP_INTERVAL,
            received: Vec::new(),
            arrived: Vec::new(),
            driving: Vec::new(),
            sending: Vec::new(),
            segments: socket.segments(),
            out: Vec::new(),
            blocked: None,
            deferred: false,
            shutdown: None,
            socket,
        })
    }

    /// Runs the engine once: receives datagrams, executes commands, handles timers, drives changed connections, and
    /// sends. If tasks were woken, returns before sending, so that they run first. Completes after a shutdown.
    ///
    /// # Errors
    /// An error of the socket.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Everything that the tasks and the calls below touch is handled before this returns.
        self.shared.awake.set(true);
        super::requests::remember(&mut self.shared.waker.borrow_mut(), cx.waker());
        let now = Instant::now();
        self.shared.now.set(now);

        let mut again = self.receive(cx)?;
        again |= self.take_handed_over(cx);
        self.take_commands(cx);
        self.expire(now);
        self.pass_overdue(now);
        self.drive();

        if self.shared.tasks.take() && !self.deferred {
            // The tasks run before this is polled again, and what they answer goes out together with what QUIC has to
            // say by itself.
            self.deferred = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.deferred = false;

        again |= self.transmit(cx)?;
        self.drive();
        if self.advance_shutdown() {
            return Poll::Ready(Ok(()));
        }
        self.shared.awake.set(false);
        let blocked = self.blocked.is_some();
        if again || self.sleep(cx) || (!self.sending.is_empty() && !blocked) {
            self.shared.awake.set(true);
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Receives and processes at most [`MAX_RECEIVE_BATCHES`] batches of datagrams. Returns true if there may be more.
    /// During a shutdown, no further first flights are accepted once all received datagrams were processed.
    ///
    /// # Errors
    /// An error of the socket.
    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut received = std::mem::take(&mut self.received);
        let mut more = true;
        let interfaces = self.shared.limits().interfaces;
        for _ in 0..MAX_RECEIVE_BATCHES {
            match self.socket.poll_recv(cx, interfaces, &mut received) {
                Poll::Pending => {
                    more = false;
                    if self.shutdown.is_some() {
                        self.filter.close();
                    }
                    break;
                }
                Poll::Ready(result) => result?,
            }
            for datagram in received.drain(..) {
                self.datagram(datagram, true);
            }
        }
        self.received = received;
        Ok(more)
    }

    /// Handles the timers that have elapsed. At most once per [`SWEEP_INTERVAL`], also checks the deadlines of first
    /// flights, handshakes and request heads, and forgets predecessors that have ended.
    fn expire(&mut self, now: Instant) {
        while let Some((at, index)) = self.timers.pop(now) {
            let Some(Some(entry)) = self.conns.get_mut(index) else { continue };
            if entry.armed != Some(at) {
                continue;
            }
            entry.armed = None;
            let mut state = entry.cell.state.borrow_mut();
            match state.quic.poll_timeout() {
                Some(next) if next > now => {
                    entry.armed = Some(next);
                    self.timers.push(next, index);
                }
                Some(_) => {
                    state.quic.handle_timeout(now);
                    // Without a response to its challenge, QUIC goes back to the earlier address.
                    entry.paths.set_current(state.quic.remote_address());
                    drop(state);
                    entry.cell.touch();
                }
                None => {}
            }
        }
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_INTERVAL;
            self.filter.sweep(now);
            self.predecessors.retain(|engines| !engines.is_closed());
            for entry in self.conns.iter().flatten() {
                let mut state = entry.cell.state.borrow_mut();
                if !state.slots.is_empty() || state.quic.is_handshaking() {
                    state.sweep(&self.shared);
                    drop(state);
                    entry.cell.touch();
                }
            }
        }
    }

    /// Drives every connection that has changed, until none has.
    fn drive(&mut self) {
        loop {
            let mut dirty = std::mem::take(&mut self.driving);
            dirty.append(&mut self.shared.dirty.borrow_mut());
            if dirty.is_empty() {
                self.driving = dirty;
                return;
            }
            for index in dirty.drain(..) {
                self.drive_one(index);
            }
            self.driving = dirty;
        }
    }

    /// Drives one connection: processes its events, reports its beginning, its requests and its end to the service,
    /// and adds it to the list for sending. Once the handshake is complete, asks the service for a permit, and closes
    /// the connection if it grants none. No effect for an index without a connection.
    fn drive_one(&mut self, index: usize) {
        let Some(Some(entry)) = self.conns.get_mut(index) else { return };
        entry.cell.dirty.set(false);
        if !std::mem::replace(&mut entry.queued, true) {
            self.sending.push(index);
        }
        let cell = Rc::clone(&entry.cell);
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut state = cell.state.borrow_mut();
        state.drive(&self.shared, &mut arrived);
        state.follow_address(self.shared.now.get(), &entry.paths);
        if entry.unconfirmed {
            drop(state);
            if !self.confirm(index) {
                arrived.clear();
                self.arrived = arrived;
                return;
            }
            state = cell.state.borrow_mut();
        }
        let Some(Some(entry)) = self.conns.get_mut(index) else { return };
        if entry.user.is_none() && state.opened {
            let opened = AcceptedConnection {
                peer: state.peer(),
                local_ip: state.quic.local_ip(),
                sni: confirm::received_hello(&state.quic).and_then(|hello| hello.0.ok().flatten()),
                interface: entry.interface,
            };
            entry.user = Some(Rc::new(self.service.opened(opened)));
        }
        if !state.quic.is_handshaking()
            && let Some(client) = entry.handshake_client.take()
        {
            self.pending_handshakes.remove(client);
            entry.permit = self.service.admit(state.peer());
            if entry.permit.is_none() {
                state.close(&self.shared, Code::H3_NO_ERROR);
                arrived.clear();
            }
        }
        let (peer, closed) = (state.peer(), state.closed);
        if state.is_connected() && !std::mem::replace(&mut entry.completed, true) {
            self.service.completed(peer);
        }
        let refused = std::mem::take(&mut state.refused);
        drop(state);
        let by_one = entry.interface.is_some();
        if let Some(user) = entry.user.clone() {
            if refused != RejectedHeads::default() {
                self.service.refused(&user, refused);
            }
            for arrived in arrived.drain(..) {
                self.shared.tasks.set(true);
                let (head, stream) = H3Stream::new(Rc::clone(&cell), arrived);
                self.service.request(&user, (peer, by_one), head, stream);
            }
            if let Some(why) = closed
                && !std::mem::replace(&mut entry.end_reported, true)
            {
                entry.permit = None;
                self.service.closed(&user, why);
            }
        }
        arrived.clear();
        self.arrived = arrived;
        self.endpoint_events(index);
    }

    /// Passes the connection's events to the endpoint and those of the endpoint to the connection. Once the connection
    /// is drained, removes it with its flow and its pending handshake.
    fn endpoint_events(&mut self, index: usize) {
        let Some(Some(entry)) = self.conns.get(index) else { return };
        let mut state = entry.cell.state.borrow_mut();
        while let Some(event) = state.quic.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(event) = self.endpoint.handle_event(ConnectionHandle(index), event) {
                state.quic.handle_event(event);
                entry.cell.touch();
            }
            if drained {
                drop(state);
                self.filter.forget(&entry.flow);
                let client = entry.handshake_client;
                self.conns[index] = None;
                if let Some(client) = client {
                    self.pending_handshakes.remove(client);
                }
                self.live -= 1;
                return;
            }
        }
    }

    /// Sets the timer to the earliest deadline of a connection, of a first flight that waits, of the next sweep or of
    /// the shutdown. Returns true if that has passed already.
    fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let mut until = self.timers.next().map_or(self.next_sweep, |at| at.min(self.next_sweep));
        if let Some(wait) = self.filter.next_wait() {
            until = until.min(wait);
        }
        if let Some(shutdown) = &self.shutdown {
            until = until.min(shutdown.next_step(self.shared.now.get()));
        }
        if self.sleeping_until != Some(until) {
            self.sleeping_until = Some(until);
            self.sleep.as_mut().reset(until.into());
        }
        let due = self.sleep.as_mut().poll(cx).is_ready();
        if due {
            self.sleeping_until = None;
        }
        due
    }
}

impl<S: Service> Drop for Engine<S> {
    /// Closes all connections with H3_NO_ERROR and reports their end to the service.
    fn drop(&mut self) {
        for entry in self.conns.iter().flatten() {
            entry.cell.state.borrow_mut().close(&self.shared, Code::H3_NO_ERROR);
            if let Some(user) = &entry.user
                && !entry.end_reported
            {
                let why = entry.cell.state.borrow().closed;
                self.service.closed(user, why.unwrap_or(CloseReason::Local(Code::H3_NO_ERROR)));
            }
        }
    }
}
