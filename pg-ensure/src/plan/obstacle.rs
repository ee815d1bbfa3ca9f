//! Changes that are needed and cannot be made.

use crate::subject::Destroyed;
use std::fmt;

/// A change that is needed and cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The change in words.
    pub what: String,
    /// The underlying cause.
    pub why: Obstacle,
}

/// The reason for a blocked change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// It destroys something, and was not named in this run.
    NotNamed(Destroyed),
    /// The session may not.
    NotPermitted(String),
    /// Something that it needs is not there.
    Missing(String),
    /// PostgreSQL cannot change it.
    Immutable(String),
    /// Something else stands in its way.
    InUse(String),
    /// The server's version has no such thing.
    Unsupported(String),
    /// The server refuses the value.
    Refused(String),
    /// It came to light while the plan was applied, and may take something away: it needs a plan of its own.
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

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}
