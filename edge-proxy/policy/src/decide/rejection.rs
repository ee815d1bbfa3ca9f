//! Rejections of connections before HTTP is spoken on them.

use crate::Reason;
use crate::config::Reject;

/// The decision to reject a connection before HTTP is spoken on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The form of the rejection: silent or by an alert.
    pub how: Reject,
    /// The reason for the rejection.
    pub why: Reason,
}
