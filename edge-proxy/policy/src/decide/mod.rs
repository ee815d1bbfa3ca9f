//! Decisions about connections and requests: total functions over plain values, each result with its reason.
//!
//! They follow the order of a request: [`hello()`] at the ClientHello, [`decide()`] at the request head,
//! [`request_fields()`] before forwarding, [`response_fields()`] before the response is sent. [`forward()`] is the one
//! decision about a connection that is forwarded unchanged.

mod ambiguity;
mod edits;
mod fields;
mod forward;
mod hello;
mod path;
mod rejection;
mod request;
mod rewrite;
pub(crate) mod route;
mod upgrade;

pub use fields::{request_fields, request_trailers, response_fields, response_trailers};
pub use forward::forward;
pub use hello::hello;
pub use path::other_readings;
pub use rejection::Rejection;
pub use request::decide;
pub(crate) use upgrade::is_http;

use crate::CertificateContext;
use crate::Reason;
use crate::client_address::ClientAddress;
use crate::config::{Auth, Compression, ForwardedAs, Response, Route, RouteCompression, Site, Timeouts};
use crate::early_data::EarlyDataVerdict;
use crate::handler::HandlerRef;
use crate::tailnet::Identities;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

/// The transport of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP without TLS.
    Plain,
    /// QUIC over UDP.
    Quic,
    /// TLS on TCP.
    Tls,
}

impl Transport {
    /// Returns whether the transport is encrypted.
    pub const fn is_secure(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// The properties of the connection that a request arrived on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestContext<'a> {
    /// The transport of the connection.
    pub transport: Transport,
    /// The peer address of the connection.
    pub peer: SocketAddr,
    /// The source address in the connection's PROXY header, if it was accepted. `None` without one.
    pub proxied: Option<SocketAddr>,
    /// The interface that the connection arrived on. `None` if it is not known.
    pub interface: Option<&'a str>,
    /// The name of the listener that accepted the connection. `None` if it has no name.
    pub listener: Option<&'a str>,
    /// The tailnet identities of the source address and of hops in the forwarding header.
    pub identities: Identities<'a>,
    /// The state of the client certificate of the connection.
    pub certificate: CertificateContext<'a>,
    /// The server name in the ClientHello (RFC 6066 §3). `None` without TLS or without a name.
    pub sni: Option<&'a str>,
    /// True if the head arrived in early data and the handshake is incomplete.
    pub early: bool,
}

impl<'a> RequestContext<'a> {
    /// Returns the context of a request over plain HTTP from this peer.
    pub fn plain(peer: SocketAddr) -> Self {
        Self::new(Transport::Plain, peer)
    }

    /// Returns the context of a request over TLS on TCP from this peer with this server name.
    pub fn tls(peer: SocketAddr, sni: &'a str) -> Self {
        Self { sni: Some(sni), ..Self::new(Transport::Tls, peer) }
    }

    /// Returns the context of a request over this transport from this peer. All other properties are unknown or absent.
    pub fn new(transport: Transport, peer: SocketAddr) -> Self {
        let identities = Identities::default();
        Self {
            transport,
            peer,
            proxied: None,
            interface: None,
            listener: None,
            identities,
            certificate: CertificateContext::NotAsked,
            sni: None,
            early: false,
        }
    }
}

/// The decision about a request, with the properties of the request that it is based on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decision<'s> {
    /// The client of the request, restored through trusted proxies.
    pub client: ClientAddress,
    /// The site of the request and its index in [`Config::sites`](crate::config::Config::sites). `None` if no site
    /// matches.
    pub site: Option<(usize, &'s Site)>,
    /// The route of the request and its index in [`Site::routes`]. `None` if no route matches.
    pub route: Option<(usize, &'s Route)>,
    /// The handling of the request if it arrived in early data.
    pub early: EarlyDataVerdict,
    /// The protocol that the request may switch to, such as `websocket`. `None` if the request asks for none that is
    /// allowed; Upgrade is then removed from it.
    pub upgrade: Option<&'s str>,
    /// The highest number of request content bytes, to be enforced while content of unknown length is received. `None`
    /// means no limit, also for requests that are not forwarded.
    pub body_limit: Option<u64>,
    /// The authentication required by the route or the site. `None` if none is required, or if the client's address
    /// suffices by `satisfy = any`.
    pub auth: Option<&'s Auth>,
    /// Other request targets that a backend may take this one for. An authentication service must be asked about each
    /// of them as well. Empty without forward authentication.
    pub readings: Vec<String>,
    /// The custom field in which trusted proxies report the client's address. `None` if none is configured.
    pub address_field: Option<&'s str>,
    /// True if the site is served over HTTP/3 by some listener. False without a site.
    pub http3: bool,
    /// The names of the fields that carry identities on any site and that only the proxy may set.
    pub identities: &'s [String],
    /// True if the tailnet identity of the client is sent to upstreams.
    pub tells: bool,
    /// The addresses that X-Forwarded-For and Forwarded contain.
    pub forwarded: ForwardedAs,
    /// The action to take.
    pub verdict: Verdict<'s>,
}

/// The action for a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'s> {
    /// Close the connection without a response; on HTTP/2 and HTTP/3 reset the stream.
    Drop {
        /// The reason for the drop.
        why: Reason,
    },
    /// Forward to an upstream.
    Forward {
        /// The index in [`Config::upstreams`](crate::config::Config::upstreams).
        upstream: usize,
    },
    /// Call the handler of the route, which responds or lets the request be forwarded.
    Handle {
        /// The handler of the route.
        handler: &'s HandlerRef,
        /// The index in [`Config::upstreams`](crate::config::Config::upstreams) of the upstream for requests that the
        /// handler does not answer. `None` if there is none.
        upstream: Option<usize>,
    },
    /// Redirect the client.
    Redirect {
        /// The status: 301, 302, 303, 307 or 308.
        status: u16,
        /// The value of the Location field.
        location: String,
    },
    /// Refuse with an error response.
    Refuse {
        /// The status, 400 to 599.
        status: u16,
        /// The reason for the refusal.
        why: Reason,
    },
    /// Send this response of the configuration.
    Respond(&'s Response),
}

impl Decision<'_> {
    /// Returns the timeouts of the route, or else those of the site. `None` if neither has its own.
    pub fn timeouts(&self) -> Option<Timeouts> {
        let of_route = self.route.and_then(|(_, route)| route.timeouts);
        of_route.or_else(|| self.site.and_then(|(_, site)| site.timeouts))
    }

    /// Returns the compression settings of the route, or else those of the site. `None` if compression is disabled for
    /// the route, or neither has settings.
    pub fn compression(&self) -> Option<&Compression> {
        match self.route.map(|(_, route)| &route.compression) {
            Some(RouteCompression::Off) => None,
            Some(RouteCompression::On(compression)) => Some(compression),
            Some(RouteCompression::Site) | None => self.site.and_then(|(_, site)| site.compression.as_ref()),
        }
    }

    /// Returns the value of Allow (RFC 9110 §10.2.1) for a request that was refused with [`Reason::MethodNotAllowed`]:
    /// the methods of the route, and HEAD if it accepts GET. `None` for other requests.
    pub fn allowed_methods(&self) -> Option<String> {
        let (_, route) = self.route?;
        let wrong_method = self.verdict.reason() == Some(Reason::MethodNotAllowed);
        (wrong_method && !route.methods.is_empty()).then(|| {
            let implied = route.methods.iter().any(|method| method == "GET")
                && !route.methods.iter().any(|method| method == "HEAD");
            let methods = route.methods.iter().map(String::as_str).chain(implied.then_some("HEAD"));
            methods.collect::<Vec<_>>().join(", ")
        })
    }
}

impl Verdict<'_> {
    /// Returns the reason of a refusal or drop. `None` for other verdicts.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Drop { why } | Self::Refuse { why, .. } => Some(*why),
            Self::Forward { .. } | Self::Handle { .. } | Self::Redirect { .. } | Self::Respond(_) => None,
        }
    }
}

/// Formats the verdict as text such as `forwarded to upstream 0` or `refused with 421: …`.
impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop { why } => write!(f, "dropped without a response: {why}"),
            Self::Forward { upstream } => write!(f, "forwarded to upstream {upstream}"),
            Self::Handle { .. } => f.write_str("handled by the program"),
            Self::Redirect { status, location } => write!(f, "redirected with {status} to {location}"),
            Self::Refuse { status, why } => write!(f, "refused with {status}: {why}"),
            Self::Respond(response) => write!(f, "answered by the proxy with {}", response.status),
        }
    }
}

/// Returns the host in lower case without a trailing dot. Borrowed if it already is.
fn normalized(host: &str) -> Cow<'_, str> {
    if host.ends_with('.') || host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(edge_http::host::normalize(host))
    } else {
        Cow::Borrowed(host)
    }
}
