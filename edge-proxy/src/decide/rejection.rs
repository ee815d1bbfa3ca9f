//! Connections that are refused before HTTP is spoken on them.

use crate::Reason;
use crate::config::Reject;

/// A connection that is refused before HTTP is spoken on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// How it ends.
    pub how: Reject,
    /// The reason.
    pub why: Reason,
}
