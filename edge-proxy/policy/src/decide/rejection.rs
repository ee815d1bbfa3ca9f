//! Connections that are refused before HTTP is spoken on them.

use crate::Reason;
use crate::config::Reject;

/// A connection that is refused before HTTP is spoken on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The way the connection is closed.
    pub how: Reject,
    /// The reason for the rejection.
    pub why: Reason,
}
