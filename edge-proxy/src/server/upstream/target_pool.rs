//! Idle connections of one worker to one target, last in first out.

use super::h2;
use super::target::SharedTarget;
use super::wire::UpstreamTransport;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Idle connections older than this are not used: services close theirs after a minute or more.
const IDLE: Duration = Duration::from_secs(50);

struct IdleConnection {
    wire: UpstreamTransport,
    since: Instant,
}

/// The connections of one worker to one target.
pub(super) struct TargetPool {
    pub(super) shared: Arc<SharedTarget>,
    idle: RefCell<Vec<IdleConnection>>,
    pub(super) multiplexed: RefCell<Option<h2::RequestSender>>,
    limit: usize,
}

impl TargetPool {
    pub(super) fn new(shared: Arc<SharedTarget>, limit: usize) -> Rc<Self> {
        Rc::new(Self { shared, idle: RefCell::default(), multiplexed: RefCell::default(), limit })
    }

    /// Takes out the connection that became idle last and is still usable.
    pub(super) fn take(&self) -> Option<UpstreamTransport> {
        loop {
            let mut idle = self.idle.borrow_mut().pop()?;
            if idle.since.elapsed() < IDLE && idle.wire.is_quiet() {
                return Some(idle.wire);
            }
        }
    }
}

/// The pool that a connection is checked in to after its exchange, if it may be reused.
pub(crate) struct CheckIn(Option<Rc<TargetPool>>);

impl CheckIn {
    pub(super) const fn new(pool: Option<Rc<TargetPool>>) -> Self {
        Self(pool)
    }

    pub(super) fn keep(self, wire: UpstreamTransport) {
        if let Some(pool) = self.0 {
            let mut idle = pool.idle.borrow_mut();
            if idle.len() < pool.limit {
                idle.push(IdleConnection { wire, since: Instant::now() });
            }
        }
    }
}
