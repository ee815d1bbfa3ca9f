//! Why something is refused.

use crate::config::Reject;
use std::fmt;

/// Why a connection or a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The address lists of the site or the route keep the client out.
    AccessDenied,
    /// The path can be read in two ways, on a site where the path decides access.
    AmbiguousPath,
    /// The authority is not covered by the site that the SNI chose.
    AuthorityNotCovered,
    /// The authority is no host and port.
    BadAuthority,
    /// The target is no path, or `*` with another method than OPTIONS.
    BadTarget,
    /// A request to make a tunnel to elsewhere.
    Connect,
    /// The content is longer than the limit.
    ContentTooLarge,
    /// The request names no host.
    NoHost,
    /// No route of the site is for the path.
    NoRoute,
    /// The ClientHello names no host.
    NoSni,
    /// The site does not exist over plain HTTP.
    PlainRefused,
    /// A `Proxy` field, which CGI programs take for the variable HTTP_PROXY.
    ProxyField,
    /// The request is for a raw address that no site has.
    RawAddress,
    /// The route drops its requests.
    RouteDrops,
    /// The target is longer than the limit.
    TargetTooLong,
    /// TRACE sends back what others may not see.
    Trace,
    /// No site has the name.
    UnknownName,
    /// An extended CONNECT for another protocol than WebSocket.
    UnknownProtocol,
}

impl Refusal {
    /// The stable name, for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AccessDenied => "access-denied",
            Self::AmbiguousPath => "ambiguous-path",
            Self::AuthorityNotCovered => "authority-not-covered",
            Self::BadAuthority => "bad-authority",
            Self::BadTarget => "bad-target",
            Self::Connect => "connect",
            Self::ContentTooLarge => "content-too-large",
            Self::NoHost => "no-host",
            Self::NoRoute => "no-route",
            Self::NoSni => "no-sni",
            Self::PlainRefused => "plain-refused",
            Self::ProxyField => "proxy-field",
            Self::RawAddress => "raw-address",
            Self::RouteDrops => "route-drops",
            Self::TargetTooLong => "target-too-long",
            Self::Trace => "trace",
            Self::UnknownName => "unknown-name",
            Self::UnknownProtocol => "unknown-protocol",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessDenied => "the address lists keep the client out",
            Self::AmbiguousPath => {
                "the path can be read in two ways, and on this site the path decides access"
            }
            Self::AuthorityNotCovered => "the host is not of the site that the SNI chose (RFC 9110 §15.5.20)",
            Self::BadAuthority => "the authority is no host and port",
            Self::BadTarget => "the target is neither a path nor the * of OPTIONS",
            Self::Connect => "CONNECT is not offered",
            Self::ContentTooLarge => "the content is longer than the limit",
            Self::NoHost => "the request names no host",
            Self::NoRoute => "no route of the site is for this path",
            Self::NoSni => "the ClientHello names no host",
            Self::PlainRefused => "the site does not exist over plain HTTP",
            Self::ProxyField => "a Proxy field, which CGI programs take for HTTP_PROXY",
            Self::RawAddress => "the request is for a raw address that no site has",
            Self::RouteDrops => "the route drops its requests",
            Self::TargetTooLong => "the target is longer than the limit",
            Self::Trace => "TRACE is not offered",
            Self::UnknownName => "no site has this name",
            Self::UnknownProtocol => "an extended CONNECT for another protocol than WebSocket",
        })
    }
}

/// A connection that is refused before HTTP is spoken on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// How it ends.
    pub how: Reject,
    /// The reason.
    pub why: Refusal,
}
