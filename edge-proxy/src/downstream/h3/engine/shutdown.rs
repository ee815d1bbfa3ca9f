//! The commands to an engine: a new configuration, or a shutdown.

use super::super::Service;
use super::super::conn::QuicConnection;
use super::super::control::EngineCommand;
use super::super::engine_state::EngineState;
use super::Engine;
use crate::deadline::FIRST_REQUEST_GRACE;
use edge_http::h3::Code;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The interval at which connections that have had no request are checked after the last call.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The progress of a shutdown: first GOAWAY is sent, from the last call on new requests are rejected, and at the
/// deadline the remaining connections are closed. Connections without a request have [`FIRST_REQUEST_GRACE`] for it,
/// counted from the end of their handshake.
pub(super) struct Shutdown {
    /// The time from which new requests are rejected.
    last_call: Instant,
    /// The time at which the remaining connections are closed.
    deadline: Instant,
    /// True once the time of `last_call` has passed and new requests are rejected.
    pub(super) called: bool,
    /// True if a connection may still send its first request.
    waits: bool,
}

impl Shutdown {
    /// Returns the time of the next step: the last call, the next check of connections without a request, or the
    /// deadline.
    pub(super) fn next_step(&self, now: Instant) -> Instant {
        match (self.called, self.waits) {
            (false, _) => self.last_call,
            (true, true) => self.deadline.min(now + CHECK_INTERVAL),
            (true, false) => self.deadline,
        }
    }
}

impl<S: Service> Engine<S> {
    /// Executes the pending commands. A repeated shutdown can only bring the deadline forward.
    pub(super) fn take_commands(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(command)) = self.control.0.poll_recv(cx) {
            match command {
                EngineCommand::Reload(server, limits) => {
                    self.endpoint.set_server_config(Some(server.network.clone()));
                    self.server = server;
                    self.shared.set_limits(*limits);
                }
                EngineCommand::Shutdown(within) => {
                    let now = self.shared.now.get();
                    // A client hears that this ends before it learns which requests were too late, so that what it
                    // sends meanwhile is still served (RFC 9114 §5.2).
                    let last_call = now + (within / 4).min(FIRST_REQUEST_GRACE);
                    let deadline = now + within;
                    match &mut self.shutdown {
                        Some(shutdown) => shutdown.deadline = shutdown.deadline.min(deadline),
                        None => {
                            self.shutdown =
                                Some(Shutdown { last_call, deadline, called: false, waits: false });
                            // A client sends no first request after GOAWAY.
                            self.for_all(|conn, _| _ = conn.had_request() && conn.go_away(false));
                        }
                    }
                }
                EngineCommand::Successor(engines) => {
                    // Datagrams of the connections of the former one may still arrive here.
                    self.predecessors.extend(self.successor.replace(engines));
                }
                EngineCommand::Predecessor(engines) => self.predecessors.push(engines),
            }
        }
    }

    /// Calls `f` for every connection, and marks each as changed so that it is driven again.
    fn for_all(&self, f: impl Fn(&mut QuicConnection, &EngineState)) {
        for entry in self.conns.iter().flatten() {
            f(&mut entry.cell.state.borrow_mut(), &self.shared);
            entry.cell.touch();
        }
    }

    /// Advances a shutdown: from the last call on, sends the final GOAWAY and closes the connections that are idle,
    /// and at the deadline closes all. Returns true when no connection is open and all output is sent, or cannot be
    /// after the deadline. Returns false before that, and if no shutdown has begun.
    pub(super) fn advance_shutdown(&mut self) -> bool {
        let now = self.shared.now.get();
        let Some(shutdown) = &mut self.shutdown else { return false };
        if now < shutdown.last_call {
            return false;
        }
        if !std::mem::replace(&mut shutdown.called, true) {
            self.filter.close();
        }
        let over = now >= shutdown.deadline;
        let (mut open, mut waits) = (0, false);
        for entry in self.conns.iter().flatten() {
            let mut state = entry.cell.state.borrow_mut();
            if state.lost {
                continue;
            }
            open += 1;
            if !over && state.awaits_first_request(now) {
                waits = true;
                continue;
            }
            let mut changed = state.go_away(true);
            if over || state.is_idle() {
                state.close(&self.shared, Code::H3_NO_ERROR);
                changed = true;
            }
            drop(state);
            if changed {
                entry.cell.touch();
            }
        }
        shutdown.waits = waits;
        if over && open == 0 && self.blocked.is_some() {
            // The socket accepts nothing any more, and no connection is open.
            return true;
        }
        if self.shared.dirty.borrow().is_empty() && self.sending.is_empty() && self.blocked.is_none() {
            return open == 0;
        }
        // The final packets are sent in the next turn.
        self.shared.awake.set(true);
        if let Some(waker) = &*self.shared.waker.borrow() {
            waker.wake_by_ref();
        }
        false
    }
}
