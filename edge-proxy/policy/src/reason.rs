//! The reasons for which connections and requests are refused, dropped, aborted or failed.

use std::fmt;
use std::str::FromStr;

/// The kind of events that a reason applies to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Connections that the proxy rejects or ends, and requests that it rejects for their heads.
    Connection,
    /// Requests that have an access record.
    Request,
    /// Both connections and requests.
    Both,
}

macro_rules! scope {
    (connection) => {
        Scope::Connection
    };
    (request) => {
        Scope::Request
    };
    (both) => {
        Scope::Both
    };
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $scope:ident, $description:literal;)+) => {
        /// The reason why a connection or a request was refused, dropped, aborted or failed.
        ///
        /// Access records, metrics, traces and explanations share this set. [`Reason::as_str`] is stable; it is what
        /// logs and metrics contain. `REASONS.md` lists all of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = concat!("`", $code, "`: ", $description, ".")] $variant,)+
        }

        impl Reason {
            /// All reasons, sorted by their codes.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Returns the stable code in kebab case, such as `no-route`, for logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            /// Returns the explanation in English, as a clause without a full stop.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $description,)+
                }
            }

            /// Returns the kind of events that the reason applies to.
            const fn scope(self) -> Scope {
                match self {
                    $(Self::$variant => scope!($scope),)+
                }
            }
        }
    };
}

reasons! {
    AccessDenied = "access-denied", both, "the address lists of the site or the route exclude the client";
    AmbiguousPath = "ambiguous-path", request, "the path has a reading that would be decided differently, or too many readings";
    AuthenticationDenied = "authentication-denied", request, "the authentication service denied the request";
    AuthenticationUnreachable = "authentication-unreachable", request, "the authentication service did not answer";
    AuthorityNotCovered = "authority-not-covered", request, "the host does not belong to the site that the SNI chose (RFC 9110 §15.5.20)";
    BadAuthority = "bad-authority", request, "the authority is not a valid host and port";
    BadTarget = "bad-target", request, "the target is neither a path nor the `*` of OPTIONS";
    ClientCertificateMissing = "client-certificate-missing", request, "the route needs a client certificate, and the client has shown none";
    ClientCertificateNotAsked = "client-certificate-not-asked", both, "the site asks for client certificates, and the handshake of this connection did not, by the rules in force";
    ClientCertificateRejected = "client-certificate-rejected", connection, "the client has shown no certificate that the site accepts";
    ClientLost = "client-lost", request, "the client closed or reset the connection or the stream";
    ClientSlow = "client-slow", request, "the client took too long to send or to receive";
    Connect = "connect", request, "CONNECT is not supported";
    ContentTooLarge = "content-too-large", request, "the content is longer than the limit";
    EdgeCannotConnect = "edge-cannot-connect", request, "this system has no route to the target, or forbids the connection";
    EdgeOutOfResources = "edge-out-of-resources", request, "this system is out of descriptors, memory or ports";
    ForwardIdle = "forward-idle", connection, "a forwarded TCP connection had no byte in either direction for too long";
    HandlerFailed = "handler-failed", request, "the handler of the route panicked";
    HandshakeFailed = "handshake-failed", connection, "the TLS handshake failed";
    HandshakeNotCompleted = "handshake-not-completed", request, "the request came as early data, and the handshake was not completed";
    HandshakeTooSlow = "handshake-too-slow", connection, "the TLS handshake was not completed in time";
    HeadTooLarge = "head-too-large", connection, "the head or trailers of a request are larger than the limit";
    HeadTooSlow = "head-too-slow", connection, "the head of a request was not complete in time";
    HelloTooSlow = "hello-too-slow", connection, "the ClientHello was not complete in time";
    Http2Error = "http2-error", connection, "the client violated HTTP/2";
    Http2Flood = "http2-flood", connection, "the client sent too many HTTP/2 resets or control frames";
    Http3Error = "http3-error", connection, "the client violated HTTP/3";
    Http3Flood = "http3-flood", connection, "the client sent too many HTTP/3 resets or control frames";
    MalformedHead = "malformed-head", connection, "the head of a request is malformed";
    MethodNotAllowed = "method-not-allowed", request, "the route does not take this method";
    NoHost = "no-host", request, "the request does not name a host";
    NoRoute = "no-route", request, "no route of the site matches the path";
    NoSni = "no-sni", connection, "the ClientHello does not name a host";
    NotHttp = "not-http", connection, "the first bytes are not HTTP";
    NotTerminated = "not-terminated", both, "TLS for this name is passed through to another server, and this connection cannot be";
    NotTls = "not-tls", connection, "the first bytes are not a TLS ClientHello";
    PasswordAskedFor = "password-asked-for", request, "the request has no valid user name and password";
    PlainRefused = "plain-refused", request, "the site is not served over plain HTTP";
    ProxyHeader = "proxy-header", connection, "the PROXY header is missing, malformed or too slow";
    QuicGarbage = "quic-garbage", connection, "a datagram is not a QUIC packet that this server can use";
    QuicMalformedHello = "quic-malformed-hello", connection, "the ClientHello of a QUIC connection is malformed";
    QuicOverload = "quic-overload", connection, "too many incomplete QUIC handshakes, or one took too long";
    QuicVersion = "quic-version", connection, "the QUIC version is not supported";
    RateOfClient = "rate-of-client", both, "the client exceeds its rate of requests or of forwarded connections";
    RateOfSite = "rate-of-site", request, "all clients together exceed the request rate of the site";
    RawAddress = "raw-address", both, "the request is for an IP address that no site serves";
    RequestMalformed = "request-malformed", request, "the content of the request is malformed";
    RouteDrops = "route-drops", request, "the route drops all its requests";
    TargetTooLong = "target-too-long", both, "the target is longer than the limit";
    TooManyConnections = "too-many-connections", connection, "the limit of connections, or of those of a forward, is reached";
    TooManyConnectionsOfClient = "too-many-connections-of-client", connection, "the limit of connections of one client is reached";
    TooManyPasswords = "too-many-passwords", request, "too many passwords are being verified at the same time";
    TooManyRequests = "too-many-requests", request, "the limit of requests in flight to the site is reached";
    Trace = "trace", request, "TRACE is not supported";
    UnderMaintenance = "under-maintenance", request, "the site is switched to maintenance";
    UnknownName = "unknown-name", both, "no site has this name";
    UnknownProtocol = "unknown-protocol", request, "an extended CONNECT for a protocol that the site does not allow";
    UpgradeWithContent = "upgrade-with-content", request, "a request for a protocol switch has content";
    UpstreamBrokeOff = "upstream-broke-off", request, "the upstream closed the connection or reset the stream before its response was complete";
    UpstreamDown = "upstream-down", request, "all targets of the upstream are down";
    UpstreamFailed = "upstream-failed", request, "the upstream answered with a status that is configured as a failure";
    UpstreamMalformed = "upstream-malformed", request, "the response of the upstream is malformed";
    UpstreamTimedOut = "upstream-timed-out", request, "the upstream did not answer in time";
    UpstreamUnreachable = "upstream-unreachable", request, "no connection to the upstream could be made";
    WrongInterface = "wrong-interface", connection, "the connection arrived by another interface than the listener's";
    WrongPasswords = "wrong-passwords", request, "the client sent too many wrong passwords";
}

impl Reason {
    /// Returns whether the reason applies to connections that the proxy rejects or ends, or to requests that it rejects
    /// for their heads, which have no access record. A reason can also apply to other requests.
    pub const fn is_of_connections(self) -> bool {
        matches!(self.scope(), Scope::Connection | Scope::Both)
    }

    /// Returns whether the reason applies to requests that have an access record. A reason can also apply to
    /// connections.
    pub const fn is_of_requests(self) -> bool {
        matches!(self.scope(), Scope::Request | Scope::Both)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error for a text that is not the code of a [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason: REASONS.md lists all of them")]
pub struct UnknownReason(());

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(code: &str) -> Result<Self, UnknownReason> {
        let found = Self::ALL.binary_search_by(|reason| reason.as_str().cmp(code));
        found.map(|at| Self::ALL[at]).map_err(|_| UnknownReason(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_parse() {
        assert!(Reason::ALL.is_sorted_by_key(|reason| reason.as_str()));
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, at);
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        assert!("no-such-reason".parse::<Reason>().is_err());
    }

    /// The documentation has a row for each reason, and no other rows.
    #[test]
    fn the_documentation_lists_all_reasons() {
        let row = |reason: &Reason| {
            let ends = match reason.scope() {
                Scope::Connection => "connection",
                Scope::Request => "request",
                Scope::Both => "connection or request",
            };
            format!("| `{reason}` | {ends} | {} |", reason.description())
        };
        let expected: Vec<String> = Reason::ALL.iter().map(row).collect();
        let rows = include_str!("../REASONS.md").lines().filter(|line| line.starts_with("| `"));
        let found: Vec<&str> = rows.collect();
        assert_eq!(found, expected, "REASONS.md should have these rows:\n{}", expected.join("\n"));
    }
}
