//! Changes of targets that an observer is told of.

use super::Cause;
use edge_policy::config::Target;
use std::time::Duration;

/// A target of an upstream that is not used any more, or is used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetEvent<'a> {
    /// The upstream's name.
    pub upstream: &'a str,
    /// The target concerned.
    pub target: &'a Target,
    /// The change of the target.
    pub change: TargetChange,
    /// The failure that led to it, if one did.
    pub cause: Option<Cause>,
}

/// A change of a target's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetChange {
    /// It failed so often that it is not used for this time, unless no other is left.
    Ejected(Duration),
    /// Its checks failed: it is not used until they succeed.
    Down,
    /// It is used again.
    Back,
}
