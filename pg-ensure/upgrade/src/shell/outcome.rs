//! The end of a run.

use crate::step::Step;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is done.
    Done,
    /// It was done by an earlier run; nothing was touched.
    WasDone,
    /// It stopped before this step, as it was asked to, or because somebody else is to start the new server.
    Waiting(Step),
}
