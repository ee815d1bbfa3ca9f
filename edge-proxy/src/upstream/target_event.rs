//! Events of targets for the observer.

use super::Cause;
use edge_policy::config::Target;
use std::time::Duration;

/// A change in the availability of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEvent<'a> {
    /// The name of the upstream.
    pub upstream: &'a str,
    /// The address of the target.
    pub target: &'a Target,
    /// The change of the target.
    pub change: TargetChange,
    /// The cause of the failure that led to the change. `None` without a failure.
    pub cause: Option<Cause>,
}

/// A change in the availability of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChange {
    /// The target is ejected for this duration after consecutive failures. It receives requests only if no other target is
    /// available.
    Ejected(Duration),
    /// The target is down after failed active health checks. It receives no requests until they succeed.
    Down,
    /// The target is in normal use again.
    Back,
}
