//! The result of a verification.

use std::time::Duration;

/// The result of the verification of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordVerdict {
    /// The user exists, and the password is right.
    Right,
    /// The password is wrong, or there is no such user.
    Wrong,
    /// Nothing was verified: too many passwords wait, no thread runs, or the verification did not end in time.
    Busy,
    /// Nothing was verified, because the client or its user name has failed too often. Contains the time until the next
    /// attempt is allowed.
    TooOften(Duration),
}
