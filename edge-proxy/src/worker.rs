//! A worker: a thread with its own runtime, sockets and connections. Serving a request takes no lock.

use super::deadline::DeadlineSweeper;
use super::metrics::counters::Shard;
use super::observe::{AcceptEvent, AccessRecord, ConnectionRejected, ForwardRecord, Observer, WorkerFailure};
use super::traces::Tracer;
use super::view::View;
use edge_http::Version;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// The state of a worker.
pub(crate) struct Worker {
    view: RefCell<Rc<View>>,
    sweep: Rc<DeadlineSweeper>,
    observer: Arc<dyn Observer>,
    connections: Cell<usize>,
    number: usize,
    tracer: Tracer,
}

impl Worker {
    pub(crate) fn new(number: usize, view: Rc<View>, observer: Arc<dyn Observer>, tracer: Tracer) -> Self {
        let (view, connections) = (RefCell::new(view), Cell::new(0));
        Self { view, sweep: DeadlineSweeper::new(), observer, connections, number, tracer }
    }

    /// Serves further requests by this view.
    pub(crate) fn set_view(&self, view: Rc<View>) {
        *self.view.borrow_mut() = view;
    }

    /// Returns whether no client's TCP connection is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.connections.get() == 0
    }

    pub(crate) fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    pub(crate) const fn sweep(&self) -> &Rc<DeadlineSweeper> {
        &self.sweep
    }

    /// Returns the tracer of this worker.
    pub(crate) const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Calls a function with the counters of this worker.
    pub(crate) fn with_counts<T>(&self, use_them: impl FnOnce(&Shard) -> T) -> T {
        use_them(self.view.borrow().runtime.counts.of(self.number))
    }

    /// Reports that accepting on a listener paused or continued.
    pub(crate) fn accepting(&self, event: &AcceptEvent<'_>) {
        self.observer.accepting(event);
    }

    /// Counts and reports a rejected connection.
    pub(crate) fn turned_away(&self, record: &ConnectionRejected<'_>) {
        self.with_counts(|counts| counts.turned_away(record.reason));
        self.observer.turned_away(record);
    }

    /// Reports the failure of a listener's QUIC engine.
    pub(crate) fn quic_failed(&self, listener: SocketAddr, error: &io::Error) {
        self.observer.worker_failed(&WorkerFailure { worker: self.number, quic: Some(listener), error });
    }

    /// Reports the end of a forwarded TCP connection.
    pub(crate) fn forwarded(&self, record: &ForwardRecord<'_>) {
        if let Some(reason) = record.reason {
            self.with_counts(|counts| counts.refused(reason));
        }
        self.observer.forwarded(record);
    }

    /// Counts and reports a completed request. `site` is its index in the view's configuration.
    pub(crate) fn access(&self, view: &View, site: Option<usize>, record: &AccessRecord<'_>) {
        let shards = site.map_or(&view.runtime.nowhere, |site| &view.runtime.guards[site].counts);
        let version = match record.version {
            Version::Http10 => 0,
            Version::Http11 => 1,
            Version::Http2 => 2,
            Version::Http3 => 3,
        };
        let bytes = (record.received, record.sent);
        shards.of(self.number).request(record.status, version, record.early, bytes, record.duration);
        if let Some(reason) = record.reason {
            view.runtime.counts.of(self.number).refused(reason);
        }
        self.observer.access(record);
    }

    /// Counts a connection until the guard is dropped. `None` if the limit is reached.
    pub(crate) fn admit(self: &Rc<Self>) -> Option<ConnectionGuard> {
        let limit = self.view.borrow().runtime.snapshot().config().limits.connections;
        if self.connections.get() >= limit {
            return None;
        }
        self.connections.set(self.connections.get() + 1);
        self.with_counts(|counts| {
            counts.tcp.add(1);
            counts.tcp_open.add(1);
        });
        Some(ConnectionGuard(self.clone()))
    }
}

/// A connection that counts towards the worker's limit.
pub(crate) struct ConnectionGuard(Rc<Worker>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.with_counts(|counts| counts.tcp_open.subtract(1));
    }
}
