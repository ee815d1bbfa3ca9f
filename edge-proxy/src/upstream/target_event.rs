//! The event of a target whose availability changes.

use super::Cause;
use edge_policy::config::Target;
use std::time::Duration;

/// The event that the availability of a target of an upstream has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEvent<'a> {
    /// The name of the upstream.
    pub upstream: &'a str,
    /// The address of the target.
    pub target: &'a Target,
    /// The change of the target.
    pub change: TargetChange,
    /// The cause of the failure that led to the change. `None` if it is not known or the target is healthy again.
    pub cause: Option<Cause>,
}

/// The kind of a change in the availability of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChange {
    /// The target is ejected for this duration after consecutive failures of requests. It receives requests only if no
    /// other target is available.
    Ejected(Duration),
    /// The target is down after failed active health checks. It receives no requests until checks succeed again.
    Down,
    /// The target is healthy again: a request succeeded after an ejection, or active health checks succeed again.
    Back,
}
