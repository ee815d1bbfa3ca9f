//! Errors of the machine's actions.

use std::time::Duration;

/// Error of an action: a kind, which decides what the machine does next, and a human-readable reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("{reason}")]
pub struct AcmeError {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Human-readable description: the request, the response and the fix.
    pub reason: String,
    /// Delay before the next request, from the Retry-After of a CA or DNS provider. `None` without one, but an hour for
    /// a rate limit of a CA without one.
    pub retry_after: Option<Duration>,
}

/// Kind of an error. It decides how the machine continues: retry, pause, another authority, or a new order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorKind {
    /// A network error, a timeout, a server error (5xx, except 503 with Retry-After, or 408), the ACME errors
    /// `serverInternal`, `orderNotReady` and `badNonce`, a response without a problem document, an error of the DNS, or
    /// a transient error of a store or provider. A retry may succeed.
    Transient,
    /// The CA refused the request by any other error, the order or an authorization became invalid, or CAA forbids
    /// issuance. The attempt fails, except for two requests: an order that replaces a certificate is placed once more
    /// without `replaces`, and the authorization of a challenge that cannot be triggered is polled.
    Refused,
    /// The CA's rate limit is exceeded (`rateLimited` or status 429), or the CA asks to wait (503 with Retry-After);
    /// see [`AcmeError::retry_after`].
    RateLimited,
    /// Another order has already replaced the certificate (`alreadyReplaced`, RFC 9773 §5, or status 409).
    AlreadyReplaced,
    /// The account does not exist at the CA (`accountDoesNotExist`).
    AccountUnknown,
    /// The order, or another object of it, does not exist at the CA any more, or cannot be continued, for example since
    /// its key is lost. A new order is needed. For renewal information: the CA does not know the certificate.
    OrderGone,
    /// The CA refused the key, or the certificate signing request (`badPublicKey`, `badCSR`). The attempt fails, and
    /// the next one has another key.
    KeyRefused,
    /// An error of the DNS provider, the store or the configuration. A retry without a change is not expected to
    /// succeed.
    Local,
}

impl ErrorKind {
    /// Returns the stable, machine-readable name: the variant in snake case, such as `rate_limited`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::AlreadyReplaced => "already_replaced",
            Self::AccountUnknown => "account_unknown",
            Self::OrderGone => "order_gone",
            Self::KeyRefused => "key_refused",
            Self::Local => "local",
        }
    }
}

impl AcmeError {
    /// Creates an error without Retry-After.
    #[must_use]
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None }
    }

    /// Sets the Retry-After, or removes it with `None`.
    #[must_use]
    pub const fn after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Returns `true` if a retry may succeed: for transient errors and rate limits.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Transient | ErrorKind::RateLimited)
    }

    /// Returns the delay before the next request, the field [`retry_after`](Self::retry_after). `None` without one.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
