//! The outcome of an exchange.

use crate::upstream::UpstreamError;
use edge_policy::Reason;

/// The outcome of an exchange, for logging and counting.
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) upstream: Option<usize>,
    pub(super) reason: Option<Reason>,
    /// The number of content bytes that were spliced and encrypted by the kernel.
    pub(super) spliced: u64,
    /// The failure of the upstream as text. `None` without a failure.
    pub(super) error: Option<String>,
}

impl Outcome {
    /// Creates the outcome of a response with this status.
    pub(super) const fn with_status(status: u16) -> Self {
        Self {
            status: Some(status),
            received: 0,
            sent: 0,
            upstream: None,
            reason: None,
            spliced: 0,
            error: None,
        }
    }

    /// Sets the reason.
    pub(super) fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// A failure while content was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client closed the connection or reset the stream.
    ClientLost,
    /// The client's request is malformed.
    ClientMalformed,
    /// The request content exceeds the limit.
    TooLarge,
    /// The client took too long to send or to receive.
    ClientSlow,
    /// The upstream failed.
    Upstream(UpstreamError),
}

impl Failure {
    /// Returns the reason to log, count and trace.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::ClientLost => Reason::ClientLost,
            Self::ClientMalformed => Reason::RequestMalformed,
            Self::ClientSlow => Reason::ClientSlow,
            Self::TooLarge => Reason::ContentTooLarge,
            Self::Upstream(error) => error.reason(),
        }
    }
}
