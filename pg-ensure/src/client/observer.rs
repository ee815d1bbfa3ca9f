//! Observation of a run while it runs.

use super::error::Error;
use crate::plan::{Plan, Step};

/// An event of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The server cannot be reached yet; the connection is tried again.
    Connecting(&'a tokio_postgres::Error),
    /// The server is recovering from an archive; its end is waited for.
    Recovering,
    /// Another run holds the lock.
    Waiting,
    /// The plan that is about to be applied.
    Planned {
        /// The plan, with what is blocked.
        plan: &'a Plan,
    },
    /// A step is about to be made.
    Step {
        /// Its number, from 1.
        number: usize,
        /// The number of steps.
        of: usize,
        /// The step that is about to be made.
        step: &'a Step,
    },
    /// A transaction is about to be committed.
    Commit,
    /// It was committed.
    Committed,
    /// The run begins again.
    Again(&'a Error),
    /// The cluster is inspected again to verify the result.
    Verify,
}

/// An observer of a run.
pub trait Observer: Send {
    /// Receives an event.
    fn event(&mut self, event: &Event<'_>);
}

/// Ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}
