//! The state of a worker: a thread with its own asynchronous runtime, sockets and connections. Serving a request takes
//! no lock.

use super::deadline::DeadlineSweeper;
use super::metrics::counters::Shard;
use super::observe::{AcceptEvent, AccessRecord, ConnectionRejected, ForwardRecord, Observer, WorkerFailure};
use super::shutdown::ShutdownReport;
use super::traces::Tracer;
use super::view::View;
use edge_http::Version;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The state that the connections of a worker share: the configuration in effect, the clock, the observer and the
/// counters.
pub(crate) struct Worker {
    /// The configuration in effect.
    view: RefCell<Rc<View>>,
    /// The clock of the worker, with its deadlines.
    sweep: Rc<DeadlineSweeper>,
    /// The receiver of events and access records.
    observer: Arc<dyn Observer>,
    /// The number of open TCP connections of clients.
    connections: Cell<usize>,
    /// The number of requests in flight, of every version.
    requests: Cell<usize>,
    /// The number of requests that were aborted after `drain_deadline`.
    aborted: Cell<usize>,
    /// The end of the drain. `None` before a drain.
    drain_deadline: Cell<Option<Instant>>,
    /// The index of the worker.
    number: usize,
    /// The tracer of requests.
    tracer: Tracer,
}

impl Worker {
    /// Creates the state of the worker with this index, without connections.
    pub(crate) fn new(number: usize, view: Rc<View>, observer: Arc<dyn Observer>, tracer: Tracer) -> Self {
        Self {
            view: RefCell::new(view),
            sweep: DeadlineSweeper::new(),
            observer,
            connections: Cell::new(0),
            requests: Cell::new(0),
            aborted: Cell::new(0),
            drain_deadline: Cell::new(None),
            number,
            tracer,
        }
    }

    /// Replaces the view that new requests and connections are served by.
    pub(crate) fn set_view(&self, view: Rc<View>) {
        *self.view.borrow_mut() = view;
    }

    /// Returns whether the worker has no TCP connection of a client. QUIC connections are not counted.
    pub(crate) fn is_idle(&self) -> bool {
        self.connections.get() == 0
    }

    /// Sets the end of the drain, after which requests that do not complete count as aborted.
    pub(crate) fn set_drain_deadline(&self, deadline: Instant) {
        self.drain_deadline.set(Some(deadline));
    }

    /// Returns what a drain that ends now does not complete: the requests in flight, with those that were aborted after
    /// its deadline, and the open TCP connections.
    pub(crate) fn unfinished(&self) -> ShutdownReport {
        ShutdownReport {
            aborted_requests: self.requests.get() + self.aborted.get(),
            closed_connections: self.connections.get(),
        }
    }

    /// Counts a request as in flight until the returned guard is dropped.
    pub(crate) fn begin_request(&self) -> RequestGuard<'_> {
        self.requests.set(self.requests.get() + 1);
        RequestGuard { worker: self, complete: false }
    }

    /// Returns the view of the configuration in effect, which stays the same for the caller after a reload.
    pub(crate) fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    /// Returns the clock of the worker.
    pub(crate) const fn sweep(&self) -> &Rc<DeadlineSweeper> {
        &self.sweep
    }

    /// Returns the tracer of this worker.
    pub(crate) const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Calls a function with this worker's counters that belong to no site, and returns its result.
    pub(crate) fn with_counts<T>(&self, use_them: impl FnOnce(&Shard) -> T) -> T {
        use_them(self.view.borrow().runtime.counts.of(self.number))
    }

    /// Reports to the observer that accepting on a listener has paused or continues.
    pub(crate) fn accepting(&self, event: &AcceptEvent<'_>) {
        self.observer.accepting(event);
    }

    /// Counts a rejected connection or request by its reason, and reports it to the observer.
    pub(crate) fn rejected(&self, record: &ConnectionRejected<'_>) {
        self.with_counts(|counts| counts.rejected(record.reason));
        self.observer.rejected(record);
    }

    /// Reports to the observer that the QUIC engine of the listener with this address has failed.
    pub(crate) fn quic_failed(&self, listener: SocketAddr, error: &io::Error) {
        self.observer.worker_failed(&WorkerFailure { worker: self.number, quic: Some(listener), error });
    }

    /// Reports the end of a forwarded TCP connection to the observer, and counts its reason if it has one.
    pub(crate) fn forwarded(&self, record: &ForwardRecord<'_>) {
        if let Some(reason) = record.reason {
            self.with_counts(|counts| counts.refused(reason));
        }
        self.observer.forwarded(record);
    }

    /// Counts a request that has ended for its site, and for its reason if it has one, and reports it to the observer.
    /// `site` is the site's index in the view's configuration; `None` counts the request as for no site.
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

    /// Counts a TCP connection until the returned guard is dropped. `None` if the worker has reached the configured
    /// limit of connections.
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

/// A guard that counts a request as in flight until it is dropped.
pub(crate) struct RequestGuard<'w> {
    /// The worker that serves the request.
    worker: &'w Worker,
    /// True if the request is complete.
    complete: bool,
}

impl RequestGuard<'_> {
    /// Ends a request that is complete.
    pub(crate) fn complete(mut self) {
        self.complete = true;
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let Worker { requests, aborted, drain_deadline, .. } = self.worker;
        requests.set(requests.get() - 1);
        // Before the deadline it was the client that ended it.
        if !self.complete && drain_deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            aborted.set(aborted.get() + 1);
        }
    }
}

/// A guard that counts an open TCP connection towards the worker's limit until it is dropped.
pub(crate) struct ConnectionGuard(Rc<Worker>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.with_counts(|counts| counts.tcp_open.subtract(1));
    }
}
