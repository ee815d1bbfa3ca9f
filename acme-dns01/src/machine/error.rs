//! Errors of actions.

use std::time::Duration;

/// Error of an action: a kind that decides what follows, and a reason for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{reason}")]
pub struct AcmeError {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// The request, the answer and the fix, for people.
    pub reason: String,
    /// Retry-After of the answer.
    pub retry_after: Option<Duration>,
}

/// Kind of an error; decides what the machine does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorKind {
    /// The network, a time-out or a server error: a retry may succeed.
    Transient,
    /// The CA refused the request.
    Refused,
    /// Too many requests; see [`AcmeError::retry_after`].
    RateLimited,
    /// The certificate was replaced already (RFC 9773 §5).
    AlreadyReplaced,
    /// The CA does not know the account.
    AccountUnknown,
    /// The CA does not know the order any more, or its result cannot be used.
    OrderGone,
    /// The DNS provider, the disk or the configuration.
    Local,
}

impl ErrorKind {
    /// Returns the name for programs: `transient`, `refused`, …
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::AlreadyReplaced => "already_replaced",
            Self::AccountUnknown => "account_unknown",
            Self::OrderGone => "order_gone",
            Self::Local => "local",
        }
    }
}

impl AcmeError {
    /// An error without Retry-After.
    #[must_use]
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None }
    }

    /// Sets the Retry-After.
    #[must_use]
    pub const fn after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Returns `true` if a retry may succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Transient | ErrorKind::RateLimited)
    }

    /// Returns how long the server asked to wait.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
