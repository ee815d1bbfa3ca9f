//! The outcome of an exchange.

use crate::upstream::UpstreamError;
use edge_policy::Reason;

/// The outcome of an exchange, for logging and counting.
pub(super) struct Outcome {
    /// The status sent to the client. `None` if it received no response head.
    pub(super) status: Option<u16>,
    /// The number of content bytes received from the client.
    pub(super) received: u64,
    /// The number of content bytes sent to the client.
    pub(super) sent: u64,
    /// The index of the upstream in the configuration. `None` if the request was not forwarded.
    pub(super) upstream: Option<usize>,
    /// The reason of a refusal or failure. `None` for a request that was served completely.
    pub(super) reason: Option<Reason>,
    /// The number of content bytes that were spliced to a socket, without a copy in this process.
    pub(super) spliced: u64,
    /// The upstream failure that ended the exchange, as text: the target, if known, and the cause. `None` if none did,
    /// also if only an earlier attempt failed.
    pub(super) error: Option<String>,
}

impl Outcome {
    /// Creates the outcome of a response with this status, without content, upstream, and reason.
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

    /// Returns the outcome with this reason, which replaces an earlier one.
    pub(super) fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// The reason an exchange was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client closed the connection or reset the stream.
    ClientLost,
    /// The client's request is malformed.
    ClientMalformed,
    /// The request content exceeds the limit.
    TooLarge,
    /// The client took too long to send or to receive content.
    ClientSlow,
    /// The content of the response could not be compressed for lack of memory.
    Compression,
    /// The upstream failed.
    Upstream(UpstreamError),
}

impl Failure {
    /// Returns the reason that is logged, counted and traced for this failure.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::ClientLost => Reason::ClientLost,
            Self::ClientMalformed => Reason::RequestMalformed,
            Self::ClientSlow => Reason::ClientSlow,
            Self::Compression => Reason::EdgeOutOfResources,
            Self::TooLarge => Reason::ContentTooLarge,
            Self::Upstream(error) => error.reason(),
        }
    }
}
