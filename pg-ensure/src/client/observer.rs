//! Observation of a run.

use super::error::Error;
use crate::plan::{Plan, Step};

/// Event of a run ([`Server::apply`](super::Server::apply)), which an [`Observer`] receives.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The server cannot be reached yet, and the connection will be retried; the error. Reported once in each attempt
    /// of the run.
    Connecting(&'a tokio_postgres::Error),
    /// The server is in archive recovery, whose end is awaited. Reported once in each attempt of the run.
    Recovering,
    /// Another run holds the lock, which is awaited. Reported once in each attempt of the run.
    Waiting,
    /// The first plan of the run was made under the lock; its steps will be executed. Reported once.
    Planned {
        /// The plan, including blocked changes.
        plan: &'a Plan,
    },
    /// A step is about to be executed.
    Step {
        /// Number of the step in its plan, from 1.
        number: usize,
        /// Number of steps of the plan.
        of: usize,
        /// The step that is about to be executed.
        step: &'a Step,
    },
    /// A transaction is about to be committed. Not reported for passwords that are set over several connections.
    Commit,
    /// The transaction of the last [`Commit`](Self::Commit) was committed.
    Committed,
    /// An attempt of the run failed with this transient error, and the next one follows after a pause.
    Retrying(&'a Error),
    /// A plan was executed, and the cluster is about to be inspected again to verify the result.
    Verify,
}

/// Observer of a run. Called synchronously, so it should not block.
pub trait Observer: Send {
    /// Receives each event. An event that announces an action is received before the action.
    fn event(&mut self, event: &Event<'_>);
}

/// Observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn event(&mut self, _: &Event<'_>) {}
}
