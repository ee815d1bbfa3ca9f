//! Causes of upstream failures.

use edge_http::h1::HeadError;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use std::fmt;
use std::io;

/// The cause of a failure at a target. [`Display`](fmt::Display) formats it, for most causes with a hint for the
/// operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The target closed the connection before its response or the TLS handshake was complete.
    Closed,
    /// The connection was not established in time.
    ConnectTimedOut,
    /// The process lacks the permission for an operation on the connection, usually to connect to the Unix socket
    /// (`EACCES`, `EPERM`).
    Denied,
    /// This system forbids the TCP connection: its packet filter, a route of the type `prohibit`, or the sandbox
    /// (`EACCES`, `EPERM`). Not counted as a failure of the target.
    Forbidden,
    /// The target sent no head, or no further content, within
    /// [`Timeouts::response`](crate::config::Timeouts::response), or did not respond to a health check in time.
    Silent,
    /// An HTTP/2 protocol error, a stream reset by the target, or a request that cannot be sent over HTTP/2.
    Http2,
    /// An error of the operating system for which there is no other variant. Contains its kind.
    Io(io::ErrorKind),
    /// The response head is malformed. Contains the error and the line number in the head, counted from 1 and at most
    /// 65,535.
    MalformedHead(HeadError, u16),
    /// The framing of the response content is malformed.
    MalformedContent,
    /// The host name of the target has no address.
    NoAddress,
    /// The interface that the zone of the target's address names does not exist in this system. Not counted as a
    /// failure of the target.
    NoInterface,
    /// This system has no route to the target. Not counted as a failure of the target.
    NoRoute,
    /// The Unix socket of the target does not exist.
    NoSocket,
    /// The target does not speak TLS.
    NotTls,
    /// The connection was refused: nothing listens on the port.
    Refused,
    /// This system is out of file descriptors, memory or local ports. Not counted as a failure of the target.
    Resources,
    /// The target reset the connection, or had closed it when data was sent to it.
    Reset,
    /// The response has this status, which `retry.statuses` or the health check treats as a failure.
    Status(u16),
    /// The target switched to a protocol that was not requested, or did not confirm the WebSocket handshake.
    Switched,
    /// The target ended the TLS handshake with this alert.
    TlsAlert(AlertDescription),
    /// The target's certificate is that of an authority (CA:TRUE), not of a server.
    TlsAuthority,
    /// The target requires a client certificate, or rejects the one that was sent (the alerts `certificate_required`
    /// and `bad_certificate`).
    TlsClientCertificate,
    /// The target's certificate has expired.
    TlsExpired,
    /// The TLS handshake or a TLS record failed for another reason.
    TlsFailed,
    /// The target's certificate is for another name.
    TlsName,
    /// The target's certificate is not valid yet.
    TlsNotYetValid,
    /// The target's certificate and its key match none of the configured pins.
    TlsPin,
    /// The issuer of the target's certificate is not trusted, or its signature does not match.
    TlsUnknownIssuer,
    /// The target supports neither TLS 1.2 nor TLS 1.3, or no version in common.
    TlsVersion,
    /// The host or network of the target is unreachable, as another system reports.
    Unreachable,
}

impl Cause {
    /// Returns whether the cause lies in this system, so that it says nothing about the target.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Forbidden | Self::NoInterface | Self::NoRoute | Self::Resources)
    }

    /// Returns the cause of an error while a TCP connection is established. `at_once` is true if the system call
    /// itself failed, before anything could be received from the network: routing errors are then [`Cause::NoRoute`].
    /// A permission error is [`Cause::Forbidden`]. Other errors are as in [`Cause::of`].
    pub(super) fn of_tcp(why: &io::Error, at_once: bool) -> Self {
        // By its routes: none, of the type `unreachable` or `blackhole`, an interface that is down, a family that is
        // disabled.
        let routes =
            [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EINVAL, libc::ENETDOWN, libc::EAFNOSUPPORT];
        // The index of an interface that does not exist.
        if at_once && why.raw_os_error() == Some(libc::ENODEV) {
            return Self::NoInterface;
        }
        if at_once && why.raw_os_error().is_some_and(|code| routes.contains(&code)) {
            return Self::NoRoute;
        }
        match Self::of(why) {
            Self::Denied => Self::Forbidden,
            cause => cause,
        }
    }

    /// Returns the cause of a system error while a connection is established or used, or of the error of rustls that
    /// it contains. Errors without a cause of their own become [`Cause::Io`].
    pub(crate) fn of(why: &io::Error) -> Self {
        if let Some(tls) = why.get_ref().and_then(|why| why.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(tls);
        }
        // Out of descriptors (of the process, of the system), of memory, of buffers, of local ports.
        let resources = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EADDRNOTAVAIL];
        if why.raw_os_error().is_some_and(|code| resources.contains(&code)) {
            return Self::Resources;
        }
        match why.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
            io::ErrorKind::NotFound => Self::NoSocket,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::TimedOut => Self::ConnectTimedOut,
            io::ErrorKind::UnexpectedEof => Self::Closed,
            kind => Self::Io(kind),
        }
    }

    /// Returns the cause of an error of rustls. Errors without a cause of their own become [`Cause::TlsFailed`], and
    /// other alerts [`Cause::TlsAlert`].
    fn of_tls(why: &rustls::Error) -> Self {
        match why {
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::TlsExpired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::TlsNotYetValid
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::TlsName
                }
                // A bad signature is that of an authority with the name of a trusted one and another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::TlsUnknownIssuer,
                CertificateError::ApplicationVerificationFailure => Self::TlsPin,
                CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                    Self::TlsAuthority
                }
                _ => Self::TlsFailed,
            },
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => Self::TlsVersion,
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
            ) => Self::TlsClientCertificate,
            rustls::Error::AlertReceived(alert) => Self::TlsAlert(*alert),
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::TlsVersion,
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::TlsFailed,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "it closed the connection before its answer was complete",
            Self::ConnectTimedOut => "the connection timed out",
            Self::Denied => "permission denied: the user of this process may not connect there",
            Self::Forbidden => "this system forbids the connection: its packet filter, a route or the sandbox",
            Self::Silent => "no answer in time: timeouts.response",
            Self::Http2 => "HTTP/2 protocol error or stream reset",
            Self::Io(kind) => return write!(f, "{kind}"),
            Self::MalformedHead(why, line) => {
                return write!(f, "malformed answer: {why}, in line {line} of its head");
            }
            Self::MalformedContent => "malformed answer: the framing of its content",
            Self::NoAddress => "the name has no address",
            Self::NoInterface => "this system has no such interface: `ip link` lists them",
            Self::NoRoute => "this system has no route there",
            Self::NoSocket => "no such socket",
            Self::NotTls => "it does not speak TLS: write http:// if that is meant",
            Self::Refused => "connection refused",
            Self::Resources => "this system is out of descriptors, memory or ports",
            Self::Reset => "connection reset",
            Self::Status(status) => return write!(f, "it answered {status}"),
            Self::Switched => "it switched to a protocol that was not asked for",
            Self::TlsAlert(alert) => return write!(f, "TLS: it refused with the alert {alert:?}"),
            Self::TlsAuthority => {
                "TLS: its certificate is that of an authority (CA:TRUE): pin it by tls.pin, or make one for a server"
            }
            Self::TlsClientCertificate => "TLS: it wants a client certificate: tls.certificate and tls.key",
            Self::TlsExpired => "TLS: its certificate has expired",
            Self::TlsFailed => "TLS: the handshake failed",
            Self::TlsName => "TLS: its certificate is for another name: tls.server_name, or pin it by tls.pin",
            Self::TlsNotYetValid => "TLS: its certificate is not valid yet",
            Self::TlsPin => "TLS: its certificate is not the one that tls.pin names",
            Self::TlsUnknownIssuer => "TLS: the issuer of its certificate is unknown: tls.ca, or pin it by tls.pin",
            Self::TlsVersion => "TLS: no version in common: 1.2 and 1.3 are spoken here",
            Self::Unreachable => "the host or its network is unreachable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systems_and_tls_say() {
        for (kind, cause) in [
            (io::ErrorKind::ConnectionRefused, Cause::Refused),
            (io::ErrorKind::NotFound, Cause::NoSocket),
            (io::ErrorKind::PermissionDenied, Cause::Denied),
            (io::ErrorKind::NetworkUnreachable, Cause::Unreachable),
            (io::ErrorKind::UnexpectedEof, Cause::Closed),
            (io::ErrorKind::OutOfMemory, Cause::Io(io::ErrorKind::OutOfMemory)),
        ] {
            assert_eq!(Cause::of(&kind.into()), cause);
        }
        let tls = |why: CertificateError| {
            Cause::of(&io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(why)))
        };
        assert_eq!(tls(CertificateError::UnknownIssuer), Cause::TlsUnknownIssuer);
        assert_eq!(tls(CertificateError::NotValidForName), Cause::TlsName);
        assert_eq!(tls(CertificateError::Expired), Cause::TlsExpired);
        let version = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert_eq!(Cause::of(&io::Error::new(io::ErrorKind::InvalidData, version)), Cause::TlsVersion);
        assert!(Cause::MalformedHead(HeadError::LineEnd, 3).to_string().contains("line 3"));
    }

    #[test]
    fn the_routes_and_filters_of_this_system_are_not_the_target() {
        let of = |code, at_once| Cause::of_tcp(&io::Error::from_raw_os_error(code), at_once);
        for code in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::ENETDOWN, libc::EINVAL, libc::EAFNOSUPPORT]
        {
            assert_eq!(of(code, true), Cause::NoRoute);
        }
        for code in [libc::EPERM, libc::EACCES] {
            assert_eq!((of(code, true), of(code, false)), (Cause::Forbidden, Cause::Forbidden));
        }
        for code in [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL, libc::ENOBUFS, libc::ENOMEM] {
            assert!(of(code, true) == Cause::Resources && Cause::Resources.is_local());
        }
        // By ICMP from a router, or because the neighbour does not answer.
        for code in [libc::ENETUNREACH, libc::EHOSTUNREACH] {
            assert_eq!(of(code, false), Cause::Unreachable);
        }
        assert_eq!(of(libc::ECONNREFUSED, true), Cause::Refused);
        assert!(!Cause::Unreachable.is_local() && !Cause::Refused.is_local() && !Cause::Denied.is_local());
    }
}
