//! The commands to an engine: a new configuration, or a shutdown.

use super::super::Service;
use super::super::conn::QuicConnection;
use super::super::control::EngineCommand;
use super::super::engine_state::EngineState;
use super::Engine;
use edge_http::h3::Code;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The progress of a shutdown: GOAWAY is sent at once, new requests are refused from `last_call` on, and the remaining
/// connections are closed at `deadline`.
pub(super) struct Shutdown {
    /// The time from which new requests are refused.
    pub(super) last_call: Instant,
    /// The time at which the remaining connections are closed.
    pub(super) deadline: Instant,
    /// True if new requests are refused.
    pub(super) called: bool,
}

impl<S: Service> Engine<S> {
    /// Executes the pending commands.
    pub(super) fn take_commands(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(command)) = self.control.0.poll_recv(cx) {
            match command {
                EngineCommand::Reload(server, limits) => {
                    self.endpoint.set_server_config(Some(server));
                    self.shared.set_limits(*limits);
                }
                EngineCommand::Shutdown(within) => {
                    let now = self.shared.now.get();
                    // A client hears that this ends before it learns which requests were too late, so that what it
                    // sends meanwhile is still served (RFC 9114 §5.2).
                    let last_call = now + (within / 4).min(Duration::from_millis(500));
                    self.shutdown = Some(Shutdown { last_call, deadline: now + within, called: false });
                    self.for_all(|conn, _| conn.go_away(false));
                }
            }
        }
    }

    /// Calls `f` for every connection, which is then driven again.
    fn for_all(&self, f: impl Fn(&mut QuicConnection, &EngineState)) {
        for entry in self.conns.iter().flatten() {
            f(&mut entry.cell.state.borrow_mut(), &self.shared);
            entry.cell.touch();
        }
    }

    /// Advances a shutdown, and closes the connections that are idle. Returns true when it is complete, false also if
    /// none has begun.
    pub(super) fn advance_shutdown(&mut self) -> bool {
        let now = self.shared.now.get();
        let Some(shutdown) = &mut self.shutdown else { return false };
        if now >= shutdown.last_call && !std::mem::replace(&mut shutdown.called, true) {
            self.for_all(|conn, _| conn.go_away(true));
        }
        let Some(shutdown) = &self.shutdown else { return false };
        if !shutdown.called {
            return false;
        }
        let over = now >= shutdown.deadline;
        let mut open = 0;
        for entry in self.conns.iter().flatten() {
            let mut state = entry.cell.state.borrow_mut();
            if !state.lost && (over || state.is_idle()) {
                state.close(&self.shared, Code::H3_NO_ERROR);
                drop(state);
                entry.cell.touch();
                open += 1;
            } else if !state.lost {
                open += 1;
            }
        }
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
