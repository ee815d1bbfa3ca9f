//! Failures of upstreams.

/// Why an upstream did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// No connection could be made. Nothing was sent.
    Connect,
    /// A kept connection was closed before it answered a byte: the request may or may not have been seen.
    Stale,
    /// The connection broke, or the stream was reset.
    Broken,
    /// What came was not HTTP, or broke its own framing.
    Malformed,
    /// No target may be used: all are down.
    NoTarget,
    /// The answer has a status that is taken for a failure, and was not passed on.
    Status(u16),
    /// Nothing came in time.
    TimedOut,
}

impl UpstreamError {
    /// The reason that is logged, counted and traced.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Broken | Self::Stale => "upstream-broke-off",
            Self::Connect => "upstream-unreachable",
            Self::Malformed => "upstream-malformed",
            Self::NoTarget => "upstream-down",
            Self::Status(_) => "upstream-failed",
            Self::TimedOut => "upstream-timed-out",
        }
    }
}
