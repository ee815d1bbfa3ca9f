//! Blocked changes, with their reasons.

use crate::subject::DestructibleObject;
use std::fmt;

/// A change that is needed but cannot be made.
///
/// Serialized as a map with the strings `code` (from [`Obstacle::code`]), `what`, and `why` (the message of the
/// obstacle).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(into = "super::report::serialized::BlockedReport")
)]
pub struct BlockedChange {
    /// Human-readable description of the change.
    pub what: String,
    /// Reason why the change cannot be made.
    pub why: Obstacle,
}

/// Reason why a change is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The change destroys an object for which the run has no consent.
    NotNamed(DestructibleObject),
    /// The session lacks a permission; a description.
    NotPermitted(String),
    /// An object that the change requires is missing, or the server would reject the change for another reason in the
    /// state that the preceding steps lead to; a description.
    Missing(String),
    /// PostgreSQL cannot change the property; a description.
    Immutable(String),
    /// Other objects depend on the object, it is in use, or its state prevents the change, as that of a database to
    /// which no connection is possible; a description.
    InUse(String),
    /// The server's version does not support the change; a description.
    Unsupported(String),
    /// The server rejects the value of a setting, or the name of a new object; its message, or a description.
    Refused(String),
    /// The change became necessary during the run and is not part of the plan that was agreed to, so that it requires a
    /// new plan.
    Unplanned,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNamed(what) => write!(f, "destructive: allow it with --destroy {what}"),
            Self::NotPermitted(why) => write!(f, "not permitted: {why}"),
            Self::Missing(what) => write!(f, "missing: {what}"),
            Self::Immutable(what) => write!(f, "cannot be changed: {what}"),
            Self::InUse(what) => write!(f, "in use: {what}"),
            Self::Unsupported(what) => write!(f, "not in this version of PostgreSQL: {what}"),
            Self::Refused(why) => write!(f, "the server refuses this value: {why}"),
            Self::Unplanned => write!(f, "not in the plan that was applied: make a new plan"),
        }
    }
}

impl fmt::Display for BlockedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}
