//! The connections of one worker to one target. As many idle ones are kept as were in use at the same time recently;
//! the one that became idle last is reused first.

use super::h2_connection::MultiplexedConnection;
use super::names::zone_index;
use super::target::SharedTarget;
use super::wire::UpstreamTransport;
use super::{Cause, UpstreamError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The time by which a connection is given up before the idle timeout that its upstream announced ends, since the
/// upstream's timer started earlier.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(1);

/// A connection that is not in use and can be reused.
struct IdleConnection {
    /// The transport of the connection.
    wire: UpstreamTransport,
    /// The time until which the connection may be used.
    until: Instant,
    /// The server name that was verified if the upstream verifies the name of each request. `None` otherwise.
    name: Option<Box<str>>,
}

/// The number of connections in use, and its highest value in each of the last four periods.
#[derive(Clone, Copy, Debug, Default)]
struct ConnectionPeak {
    /// The number of connections in use.
    in_use: usize,
    /// The highest numbers of connections in use in the last four periods, the present one first.
    peaks: [usize; 4],
}

impl ConnectionPeak {
    /// Counts a connection as in use.
    fn begin(&mut self) {
        self.in_use += 1;
        self.peaks[0] = self.peaks[0].max(self.in_use);
    }

    /// Counts a connection as no longer in use. No effect if none is.
    const fn end(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// Returns the highest number of connections in use in the four periods.
    fn peak(&self) -> usize {
        self.peaks.into_iter().max().unwrap_or(0)
    }

    /// Returns the number of connections that may be idle: the peak less the number in use, at most `limit`.
    fn spare(&self, limit: usize) -> usize {
        self.peak().saturating_sub(self.in_use).min(limit)
    }

    /// Begins the next period, whose peak so far is the number in use; the oldest period is dropped.
    fn begin_period(&mut self) {
        self.peaks.rotate_right(1);
        self.peaks[0] = self.in_use;
    }
}

/// The idle HTTP/1.1 connections and the HTTP/2 connections of one worker to one target.
pub(super) struct TargetPool {
    /// The state of the target, shared by all workers.
    pub(super) shared: Arc<SharedTarget>,
    /// The idle HTTP/1.1 connections, the one that became idle last at the end.
    idle: RefCell<Vec<IdleConnection>>,
    /// The HTTP/2 connections, each with the server name that was verified if the upstream verifies the name of each
    /// request. The first one of a name is used while it has room.
    multiplexed: RefCell<Vec<(Option<Box<str>>, MultiplexedConnection)>>,
    /// True while an HTTP/2 connection is being established. Exchanges that wait for it are notified by `dialled`.
    pub(super) dialling: Cell<bool>,
    /// Notified when an attempt to establish a shared HTTP/2 connection ends.
    pub(super) dialled: Notify,
    /// The error of the last attempt to establish a shared HTTP/2 connection, also if its SETTINGS did not arrive in
    /// time. `None` if it succeeded, was cancelled, or is not complete.
    pub(super) dial_failed: Cell<Option<UpstreamError>>,
    /// The number of HTTP/1.1 connections in use, by which the number of idle ones is limited.
    demand: Cell<ConnectionPeak>,
    /// The highest number of idle HTTP/1.1 connections.
    limit: usize,
    /// The time after which an idle connection is closed.
    keep: Duration,
    /// The index of the interface that the zone of the target's address denoted last. `None` without a zone, and while
    /// the interface does not exist.
    zone: Cell<Option<u32>>,
}

impl TargetPool {
    /// Creates an empty pool for a target with at most `limit` idle connections, which are closed after the duration
    /// `keep`.
    pub(super) fn new(shared: Arc<SharedTarget>, limit: usize, keep: Duration) -> Rc<Self> {
        Rc::new(Self {
            shared,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            demand: Cell::default(),
            dialling: Cell::new(false),
            dialled: Notify::new(),
            dial_failed: Cell::new(None),
            limit,
            keep,
            zone: Cell::new(None),
        })
    }

    /// Discards all connections if the zone of the target's address denotes another interface than at the last call, or
    /// none: a socket stays bound to the interface that it was connected over, and nothing is received over one that
    /// was created anew. No effect without a zone.
    pub(super) fn check_zone(&self) {
        let Some(zone) = self.shared.target.zone() else { return };
        let index = zone_index(zone);
        if self.zone.replace(index) != index {
            self.idle.borrow_mut().clear();
            self.multiplexed.borrow_mut().clear();
        }
    }

    /// Discards the HTTP/2 connections that are retired or were idle for too long, and returns the first one with this
    /// verified server name that has room. `None` if there is none.
    pub(super) fn multiplexed(&self, name: Option<&str>) -> Option<MultiplexedConnection> {
        self.discard_multiplexed();
        let known = self.multiplexed.borrow();
        let usable = known.iter().find(|(of, client)| of.as_deref() == name && client.has_room());
        usable.map(|(_, client)| client.clone())
    }

    /// Discards the HTTP/2 connections that are retired, and those that were idle for too long. Streams that are still
    /// open on them continue.
    fn discard_multiplexed(&self) {
        let usable = |client: &MultiplexedConnection| {
            !client.is_retired() && client.idle().is_none_or(|idle| idle < self.keep)
        };
        self.multiplexed.borrow_mut().retain(|(_, client)| usable(client));
    }

    /// Removes and returns the idle connection with this verified server name that became idle last and is still
    /// usable; `name` is `None` if any may be used. Connections found before it that have expired or were closed by
    /// the upstream are closed. `None` if there is none.
    pub(super) fn take(&self, name: Option<&str>) -> Option<UpstreamTransport> {
        loop {
            let mut all = self.idle.borrow_mut();
            let mut idle = match name {
                None => all.pop()?,
                Some(_) => {
                    let at = all.iter().rposition(|idle| idle.name.as_deref() == name)?;
                    all.remove(at)
                }
            };
            drop(all);
            if Instant::now() < idle.until && idle.wire.is_quiet() {
                return Some(idle.wire);
            }
        }
    }

    /// Applies a change to the count of connections in use.
    fn change(&self, change: impl FnOnce(&mut ConnectionPeak)) {
        let mut demand = self.demand.get();
        change(&mut demand);
        self.demand.set(demand);
    }

    /// Ends a period, and closes idle connections that have expired, were closed by the upstream, or exceed the number
    /// that the last periods' demand justifies, those that became idle first. Discards unusable HTTP/2 connections.
    pub(super) fn trim(&self) {
        self.change(ConnectionPeak::begin_period);
        self.discard_multiplexed();
        let mut idle = self.idle.borrow_mut();
        if idle.is_empty() {
            return;
        }
        let now = Instant::now();
        idle.retain_mut(|idle| now < idle.until && idle.wire.is_quiet());
        // Those that became idle first go first.
        let excess = idle.len().saturating_sub(self.demand.get().spare(self.limit));
        idle.drain(..excess);
        if idle.capacity() > 64 && idle.capacity() > 4 * idle.len() {
            idle.shrink_to_fit();
        }
    }
}

/// The establishment of a shared HTTP/2 connection to a target. Dropping the guard notifies the exchanges that wait
/// for the connection: they use it after [`DialGuard::succeeded`], get the error of [`DialGuard::failed`], and
/// otherwise one of them establishes another.
pub(super) struct DialGuard {
    /// The pool of the target.
    pool: Rc<TargetPool>,
    /// The index of the zone's interface at the beginning, as in [`TargetPool::zone`].
    zone: Option<u32>,
}

impl DialGuard {
    /// Begins the establishment of a connection to the target.
    pub(super) fn begin(target: Rc<TargetPool>) -> Self {
        target.dialling.set(true);
        target.dial_failed.set(None);
        Self { zone: target.zone.get(), pool: target }
    }

    /// Adds the established connection to the pool once the number of its streams is known, at most after `patience`.
    /// Then notifies the exchanges that wait for it: they get `ConnectTimedOut` if the number is not known by then.
    /// Returns at once.
    pub(super) fn succeeded(self, name: Option<&str>, connection: MultiplexedConnection, patience: Duration) {
        let name = name.map(Into::into);
        tokio::task::spawn_local(async move {
            // A service that says nothing has the one stream that it was given. To the others it is one that cannot
            // be reached: each would wait as long for a connection of its own.
            if tokio::time::timeout(patience, connection.settled()).await.is_err() {
                self.pool.dial_failed.set(Some(UpstreamError::Connect(Cause::ConnectTimedOut)));
            }
            if self.zone == self.pool.zone.get() {
                self.pool.multiplexed.borrow_mut().push((name, connection));
            }
        });
    }

    /// Passes the error on to the exchanges that wait, notifies them, and returns it.
    pub(super) fn failed(self, why: UpstreamError) -> UpstreamError {
        self.pool.dial_failed.set(Some(why));
        why
    }
}

impl Drop for DialGuard {
    fn drop(&mut self) {
        self.pool.dialling.set(false);
        self.pool.dialled.notify_waiters();
    }
}

/// A connection in use, with the pool to return it to. Dropping it counts the connection as no longer in use.
pub(crate) struct CheckIn {
    /// The pool to return the connection to. `None` if the connection cannot be reused.
    pool: Option<Rc<TargetPool>>,
    /// The server name that was verified if the upstream verifies the name of each request. `None` otherwise.
    name: Option<Box<str>>,
    /// The index of the interface that the connection uses, as in [`TargetPool::zone`].
    zone: Option<u32>,
}

impl CheckIn {
    /// Counts a connection as in use in this pool; `None` for one that cannot be reused. `name` is the server name
    /// that was verified, `None` unless the upstream verifies the name of each request.
    pub(super) fn new(pool: Option<Rc<TargetPool>>, name: Option<&str>) -> Self {
        if let Some(pool) = &pool {
            pool.change(ConnectionPeak::begin);
        }
        let zone = pool.as_ref().and_then(|pool| pool.zone.get());
        Self { pool, name: name.map(Into::into), zone }
    }

    /// Counts the connection as no longer in use and returns it to the pool. Closes it if enough are idle, its interface
    /// was created anew, or it cannot be reused. It stays idle for the pool's time, or for that of `timeout`, the idle
    /// timeout that the upstream announced, if that is shorter.
    pub(super) fn keep(mut self, wire: UpstreamTransport, timeout: Option<Duration>) {
        let Some(pool) = self.pool.take() else { return };
        pool.change(ConnectionPeak::end);
        if self.zone != pool.zone.get() {
            return;
        }
        let keep = timeout.map_or(pool.keep, |timeout| pool.keep.min(usable(timeout)));
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < pool.demand.get().spare(pool.limit) && !keep.is_zero() {
            idle.push(IdleConnection { wire, until: Instant::now() + keep, name: self.name.take() });
        }
    }
}

/// Returns the duration for which a connection may be reused, given the announced idle timeout: [`TIMEOUT_MARGIN`]
/// less, but at least half of it.
fn usable(timeout: Duration) -> Duration {
    timeout.saturating_sub(TIMEOUT_MARGIN).max(timeout / 2)
}

impl Drop for CheckIn {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.change(ConnectionPeak::end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_connection_is_given_up_before_the_service_closes_it() {
        for (timeout, expected) in [(0, 0), (1000, 500), (2000, 1000), (5000, 4000)] {
            let (timeout, expected) = (Duration::from_millis(timeout), Duration::from_millis(expected));
            assert_eq!(usable(timeout), expected);
        }
    }

    proptest! {
        /// Work that returns within three periods finds as many connections as it had before, up to the limit; without
        /// work none are kept after four.
        #[test]
        fn as_many_are_kept_as_were_in_use(
            most in 1usize..5000,
            limit in 0usize..5000,
            quiet in 0usize..4,
            busy in 0usize..10,
        ) {
            let mut demand = ConnectionPeak::default();
            (0..most).for_each(|_| demand.begin());
            let mut idle = 0;
            for _ in 0..most {
                demand.end();
                idle += usize::from(idle < demand.spare(limit));
            }
            (0..quiet).for_each(|_| demand.begin_period());
            prop_assert_eq!(idle.min(demand.spare(limit)), most.min(limit));
            (0..4).for_each(|_| demand.begin_period());
            prop_assert_eq!(demand.spare(limit), 0);
            // Never more beside those in use than were in use at once.
            (0..busy).for_each(|_| demand.begin());
            prop_assert!(demand.spare(limit) + demand.in_use <= demand.peak().max(busy));
        }
    }
}
