//! Early data: requests that may be processed before the TLS handshake is complete (RFC 8446 §8, RFC 8470).
//!
//! Early data can be replayed by anyone who recorded it. It is therefore disabled unless a site opts in, and only safe
//! requests are processed from it. All others wait for the handshake. They are not answered with 425, which browsers
//! display to the user.

use crate::config::{Config, Route, Site};
use edge_http::{BodyLength, Method, RequestHead};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// The handling of a request with regard to early data.
#[allow(clippy::enum_variant_names)] // `NotEarly` says it best
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EarlyDataVerdict {
    /// The request arrived in early data and may be processed at once; it is forwarded with `Early-Data: 1`.
    Allowed,
    /// The request did not arrive in early data.
    NotEarly,
    /// The request arrived in early data and must wait until the handshake is complete.
    Wait(WaitReason),
}

/// The reason a request waits for the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitReason {
    /// The site or the route has address lists ([`Access`](crate::config::Access)).
    AddressRule,
    /// The request has an Authorization field and arrived over QUIC, where the client's address is not validated yet.
    Authorization,
    /// The request has content.
    Content,
    /// The method is not GET, HEAD or OPTIONS.
    Method,
    /// No site or route matches.
    NoRoute,
    /// The site did not opt in to early data.
    SiteNotOptedIn,
    /// The decision depends on the client's address (trusted proxy, tailnet identity, rate limit, authentication
    /// service, handler), which QUIC has not validated yet (RFC 9000 §8).
    UnvalidatedAddress,
    /// The request asks for a protocol upgrade.
    Upgrade,
}

/// Decides whether a request in early data may be processed before the handshake is complete. `None` as the site or
/// route means that none matches. The first reason to wait that applies is returned. Does not consider whether the
/// client's address is validated over QUIC: see [`unvalidated_address`].
pub fn verdict(site: Option<&Site>, route: Option<&Route>, head: &RequestHead) -> EarlyDataVerdict {
    let (Some(site), Some(route)) = (site, route) else {
        return EarlyDataVerdict::Wait(WaitReason::NoRoute);
    };
    if !site.early_data {
        EarlyDataVerdict::Wait(WaitReason::SiteNotOptedIn)
    } else if !matches!(head.method, Method::Get | Method::Head | Method::Options) {
        EarlyDataVerdict::Wait(WaitReason::Method)
    } else if head.upgrade.is_some() {
        EarlyDataVerdict::Wait(WaitReason::Upgrade)
    } else if !matches!(head.body, BodyLength::None | BodyLength::Exact(0)) {
        EarlyDataVerdict::Wait(WaitReason::Content)
    } else if !site.access.is_open() || !route.access.is_open() {
        EarlyDataVerdict::Wait(WaitReason::AddressRule)
    } else {
        EarlyDataVerdict::Allowed
    }
}

/// The kind of program, if any, that receives the client's address and decides about a request in addition to the
/// policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressReader {
    /// No such program decides about the request.
    None,
    /// A program that decides about the request: an authentication service or a handler.
    Program,
}

/// Decides whether a request over QUIC may be processed before the client's address is validated (RFC 9000 §8). It
/// must wait if the address is in a range of trusted proxies or of the tailnet, the site limits the rate of clients, a
/// program decides about the request by its address, or the request has an Authorization field. Called for requests
/// that [`verdict`] allows; `source` is the peer address.
pub fn unvalidated_address(
    config: &Config,
    source: IpAddr,
    site: Option<&Site>,
    reader: AddressReader,
    head: &RequestHead,
) -> EarlyDataVerdict {
    let source = source.to_canonical();
    let among = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&source));
    let tailnet = config.tailnet.as_ref().is_some_and(|tailnet| among(&tailnet.ranges));
    let limited = site.is_some_and(|site| site.rate.client.is_some());
    if among(&config.trust.ranges) || tailnet || limited || reader == AddressReader::Program {
        EarlyDataVerdict::Wait(WaitReason::UnvalidatedAddress)
    } else if head.fields.get_named(b"authorization").is_some() {
        EarlyDataVerdict::Wait(WaitReason::Authorization)
    } else {
        EarlyDataVerdict::Allowed
    }
}

impl WaitReason {
    /// Returns the stable code in kebab case, for use by programs. That of [`WaitReason::UnvalidatedAddress`] is
    /// `unproved-address`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AddressRule => "address-rule",
            Self::Authorization => "authorization",
            Self::Content => "content",
            Self::Method => "method",
            Self::NoRoute => "no-route",
            Self::SiteNotOptedIn => "site-not-opted-in",
            Self::UnvalidatedAddress => "unproved-address",
            Self::Upgrade => "upgrade",
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressRule => {
                "the site or the route has address lists, and the address is not yet verified"
            }
            Self::Authorization => "the request has credentials, and the address is not yet verified",
            Self::Content => "the request has content",
            Self::Method => "the method is not GET, HEAD or OPTIONS",
            Self::NoRoute => "no site or route matches",
            Self::SiteNotOptedIn => "the site did not opt in to early data",
            Self::UnvalidatedAddress => "the address decides something, and is not yet verified",
            Self::Upgrade => "the request asks for a protocol upgrade",
        })
    }
}

impl fmt::Display for EarlyDataVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("forwarded at once, with Early-Data: 1"),
            Self::NotEarly => f.write_str("not in early data"),
            Self::Wait(why) => write!(f, "waits for the handshake: {why}"),
        }
    }
}
