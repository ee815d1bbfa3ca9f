//! The outcome of an exchange.

use crate::upstream::UpstreamError;
use edge_policy::Reason;

/// The outcome of an exchange, as it is logged and counted.
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) upstream: Option<usize>,
    pub(super) reason: Option<Reason>,
    /// Bytes of content that the kernel encrypted and passed on.
    pub(super) direct: u64,
    /// The failure of the upstream in words.
    pub(super) error: Option<String>,
}

impl Outcome {
    pub(super) const fn answered(status: u16) -> Self {
        Self {
            status: Some(status),
            received: 0,
            sent: 0,
            upstream: None,
            reason: None,
            direct: 0,
            error: None,
        }
    }

    pub(super) fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }
}

/// A failure while content was moved between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client went away.
    ClientLost,
    /// The client's request is malformed.
    ClientMalformed,
    /// The client sent more content than is allowed.
    TooLarge,
    /// The client took too long to send or to receive.
    ClientSlow,
    /// The upstream failed.
    Upstream(UpstreamError),
}

impl Failure {
    /// The reason that is logged, counted and traced.
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
