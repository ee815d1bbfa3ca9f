//! The state of a running proxy, shared by its handle, its workers and the interface watch.

use super::bound_sockets::RetainedSockets;
use super::lifecycle::REMOVED_LISTENER_TIMEOUT;
use super::runtime::Runtime;
use edge_policy::config::Listener;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time after which the sockets of a closed listener are closed in each worker: its QUIC connections have
/// [`REMOVED_LISTENER_TIMEOUT`] to finish, and workers may be late.
const CLOSING_TIME: Duration = REMOVED_LISTENER_TIMEOUT.saturating_mul(2);

/// The state of a proxy that changes at run time: by a reload, by the interface watch, and when a worker fails.
pub(super) struct ProxyState {
    /// The listeners of the configuration in effect, in its order.
    pub(super) listeners: Vec<Listener>,
    /// The address of each listener, in the same order. A configured port 0 is replaced by the port that was chosen,
    /// once there are sockets.
    pub(super) addresses: Vec<SocketAddr>,
    /// The configuration in effect.
    pub(super) runtime: Arc<Runtime>,
    /// The sockets of all listeners and workers, retained so that they can be handed to a successor.
    pub(super) held: Vec<RetainedSockets>,
    /// The index of each worker that has failed, with its error as text.
    pub(super) failures: Vec<(usize, String)>,
    /// The addresses at which sockets of listeners that are not served any more may still be open, each with the time at
    /// which the listener was closed. Those of the last [`CLOSING_TIME`] at least.
    pub(super) closing: Vec<(SocketAddr, Instant)>,
}

impl ProxyState {
    /// Records that the sockets of a listener at this address will be closed, and forgets those recorded longer than
    /// [`CLOSING_TIME`] ago.
    pub(super) fn record_closing(&mut self, address: SocketAddr) {
        self.closing.retain(|(known, since)| *known != address && since.elapsed() < CLOSING_TIME);
        self.closing.push((address, Instant::now()));
    }

    /// Returns the addresses at which sockets of closed listeners may still be open.
    pub(super) fn closing_addresses(&self) -> Vec<SocketAddr> {
        let recent = self.closing.iter().filter(|(_, since)| since.elapsed() < CLOSING_TIME);
        recent.map(|(address, _)| *address).collect()
    }

    /// Records the failure of the worker with this index and closes its retained sockets.
    pub(super) fn fail(&mut self, worker: usize, error: &io::Error) {
        self.failures.push((worker, error.to_string()));
        self.held.iter_mut().for_each(|held| held.release(worker));
    }

    /// Returns the recorded error of the worker with this index, or the error "the worker has ended" if none is
    /// recorded.
    pub(super) fn failure_of(&self, worker: usize) -> io::Error {
        let found = self.failures.iter().find(|(number, _)| *number == worker);
        io::Error::other(found.map_or("the worker has ended", |(_, error)| error.as_str()).to_owned())
    }
}
