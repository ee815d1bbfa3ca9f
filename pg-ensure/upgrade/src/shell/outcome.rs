//! The end of a run.

use crate::step::Step;

/// Result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upgrade is complete.
    Done,
    /// An earlier run completed the upgrade; nothing was changed.
    WasDone,
    /// The run stopped before this step, as requested or because the new server is started by somebody else.
    Waiting(Step),
}
