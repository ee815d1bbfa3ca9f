//! Failures of upstreams.

use crate::Reason;
use std::io;

/// The cause of a connection to a target that could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The name of the target could not be resolved.
    Dns,
    /// The connection broke while it was set up, or the system could not make it.
    Io,
    /// This system is out of descriptors, memory or ports, which is not a failure of the target.
    Resources,
    /// The target refused the connection, or the socket does not exist.
    Refused,
    /// The connection was not made in time.
    TimedOut,
    /// The TLS handshake failed, or the certificate is not valid for the name.
    Tls,
}

impl ConnectError {
    /// The cause behind an error of the socket.
    pub(super) fn of(error: &io::Error) -> Self {
        // Out of descriptors (of the process, of the system), of memory, of buffers, of local ports.
        let resources = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
        if error.raw_os_error().is_some_and(|code| resources.contains(&code)) {
            return Self::Resources;
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Io,
        }
    }

    /// The reason that is logged, counted and traced.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Resources => Reason::EdgeOutOfResources,
            Self::Dns | Self::Io | Self::Refused | Self::TimedOut | Self::Tls => Reason::UpstreamUnreachable,
        }
    }
}

impl From<ConnectError> for UpstreamError {
    fn from(cause: ConnectError) -> Self {
        Self::Connect(cause)
    }
}

/// The failure of an upstream to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// No connection could be made. Nothing was sent.
    Connect(ConnectError),
    /// An idle connection was closed before a byte of the response: the request may or may not have been processed.
    Stale,
    /// The handler of the route panicked at the response, which is no fault of the upstream.
    Handler,
    /// The connection broke, or the stream was reset.
    Broken,
    /// The response was not HTTP, or violated its own framing.
    Malformed,
    /// No target may be used: all are down.
    NoTarget,
    /// The response has a status that counts as a failure, and was not forwarded.
    Status(u16),
    /// Nothing came in time.
    TimedOut,
}

impl UpstreamError {
    /// The reason that is logged, counted and traced.
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Broken | Self::Stale => Reason::UpstreamBrokeOff,
            Self::Connect(cause) => cause.reason(),
            Self::Handler => Reason::HandlerFailed,
            Self::Malformed => Reason::UpstreamMalformed,
            Self::NoTarget => Reason::UpstreamDown,
            Self::Status(_) => Reason::UpstreamFailed,
            Self::TimedOut => Reason::UpstreamTimedOut,
        }
    }
}
