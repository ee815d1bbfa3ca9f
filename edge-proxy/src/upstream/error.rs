//! The errors of an exchange with an upstream.

use super::Cause;
use edge_policy::Reason;

/// The failure of an exchange with an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// No connection could be established. No part of the request was sent.
    Connect(Cause),
    /// A reused connection was closed before a byte of the response, or accepted no further stream. The request may or
    /// may not have been processed.
    Stale,
    /// The handler of the route panicked. Not a failure of the upstream.
    Handler,
    /// The connection broke, ended before the response was complete, or the stream was reset.
    Broken(Cause),
    /// The response was not HTTP, violated its own framing or the protocol, or the request cannot be sent.
    Malformed(Cause),
    /// No target is available: all are down, ejected or were tried before.
    NoTarget,
    /// The response has this status, which counts as a failure, and was not forwarded.
    Status(u16),
    /// The upstream did not respond in time.
    TimedOut,
    /// The upstream did not process the request and refused it by REFUSED_STREAM (RFC 9113 §8.7), as an overloaded one
    /// does. Any method can be repeated.
    Refused,
    /// The upstream announced by a GOAWAY that it did not process the request (RFC 9113 §8.7). Any method can be
    /// repeated.
    Unprocessed,
}

impl UpstreamError {
    /// Returns the reason that is logged, counted and traced for this error.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Broken(_) | Self::Stale | Self::Refused | Self::Unprocessed => Reason::UpstreamBrokeOff,
            Self::Connect(Cause::Resources) => Reason::EdgeOutOfResources,
            Self::Connect(Cause::Forbidden | Cause::NoInterface | Cause::NoRoute) => {
                Reason::EdgeCannotConnect
            }
            Self::Connect(_) => Reason::UpstreamUnreachable,
            Self::Handler => Reason::HandlerFailed,
            Self::Malformed(_) => Reason::UpstreamMalformed,
            Self::NoTarget => Reason::UpstreamDown,
            Self::Status(_) => Reason::UpstreamFailed,
            Self::TimedOut => Reason::UpstreamTimedOut,
        }
    }

    /// Returns whether the cause lies in this system, so that the failure says nothing about the target. Only errors
    /// of connecting can be of that kind.
    pub(crate) const fn is_local(self) -> bool {
        matches!(self, Self::Connect(cause) if cause.is_local())
    }

    /// Returns the detailed cause of the failure at the target. `None` for `Handler` and `NoTarget`, which no target
    /// caused.
    pub(crate) const fn cause(self) -> Option<Cause> {
        match self {
            Self::Connect(cause) | Self::Broken(cause) | Self::Malformed(cause) => Some(cause),
            Self::Stale => Some(Cause::Closed),
            Self::Status(status) => Some(Cause::Status(status)),
            Self::TimedOut => Some(Cause::Silent),
            Self::Refused | Self::Unprocessed => Some(Cause::Http2),
            Self::Handler | Self::NoTarget => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_system_lacks_has_reasons_of_its_own() {
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
        for code in exhausted {
            let cause = Cause::of_tcp(&std::io::Error::from_raw_os_error(code), true);
            let why = UpstreamError::Connect(cause);
            assert!(why.is_local() && why.reason() == Reason::EdgeOutOfResources, "{code}");
        }
        for code in [libc::ENETUNREACH, libc::EPERM, libc::ENODEV] {
            let cause = Cause::of_tcp(&std::io::Error::from_raw_os_error(code), true);
            let why = UpstreamError::Connect(cause);
            assert!(why.is_local() && why.reason() == Reason::EdgeCannotConnect, "{code}");
        }
        let refused = Cause::of_tcp(&std::io::Error::from_raw_os_error(libc::ECONNREFUSED), true);
        let why = UpstreamError::Connect(refused);
        assert!(!why.is_local() && why.reason() == Reason::UpstreamUnreachable);
    }
}
