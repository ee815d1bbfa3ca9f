//! Observation of a run.

use super::error::Error;
use crate::plan::{Plan, Step};

/// Event of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The server cannot be reached yet, and the connection will be retried; the error.
    Connecting(&'a tokio_postgres::Error),
    /// The server is in archive recovery, and its end is awaited.
    Recovering,
    /// Another run holds the lock, which is awaited.
    Waiting,
    /// A plan was made, and will be applied.
    Planned {
        /// The plan, including blocked changes.
        plan: &'a Plan,
    },
    /// A step is about to be executed.
    Step {
        /// Number of the step, from 1.
        number: usize,
        /// Total number of steps.
        of: usize,
        /// The step that is about to be made.
        step: &'a Step,
    },
    /// A transaction is about to be committed.
    Commit,
    /// The transaction was committed.
    Committed,
    /// The run is repeated after a transient error.
    Retrying(&'a Error),
    /// The cluster is inspected again to verify the result.
    Verify,
}

/// Observer of a run. Called synchronously, so it should not block.
pub trait Observer: Send {
    /// Receives each event, before the event's action where it announces one.
    fn event(&mut self, event: &Event<'_>);
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn event(&mut self, _: &Event<'_>) {}
}
