//! Decisions about connections and requests: total functions over plain values, each result with its reason.
//!
//! They follow the order of a request: [`hello()`] at the ClientHello, [`decide()`] at the request head,
//! [`request_fields()`] before forwarding, [`response_fields()`] before the response is sent.

mod edits;
mod fields;
mod hello;
mod path;
mod rejection;
mod request;
mod rewrite;
pub(crate) mod route;
mod upgrade;

pub use fields::{request_fields, request_trailers, response_fields};
pub use hello::hello;
pub use rejection::Rejection;
pub use request::decide;
pub(crate) use upgrade::is_http;

use crate::CertificateContext;
use crate::Reason;
use crate::client_address::ClientAddress;
use crate::config::{Auth, Compression, ForwardedAs, Response, Route, RouteCompression, Site, Timeouts};
use crate::early_data::Early;
use crate::handler::HandlerRef;
use crate::tailnet::Identities;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

/// The transport a request arrived over.
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
    /// The source address in an accepted PROXY header.
    pub proxied: Option<SocketAddr>,
    /// The interface the connection arrived on, if it is known.
    pub interface: Option<&'a str>,
    /// The name of the listener that accepted the connection, if it has one.
    pub listener: Option<&'a str>,
    /// The tailnet identities of the source and of hops.
    pub identities: Identities<'a>,
    /// The client certificate of the connection.
    pub certificate: CertificateContext<'a>,
    /// The server name in the ClientHello.
    pub sni: Option<&'a str>,
    /// True if the head arrived in early data and the handshake is incomplete.
    pub early: bool,
}

impl<'a> RequestContext<'a> {
    /// A request over plain HTTP from this peer.
    pub fn plain(peer: SocketAddr) -> Self {
        Self::new(Transport::Plain, peer)
    }

    /// A request over TLS on TCP from this peer, which named this host in its ClientHello.
    pub fn tls(peer: SocketAddr, sni: &'a str) -> Self {
        Self { sni: Some(sni), ..Self::new(Transport::Tls, peer) }
    }

    /// A request over this transport from this peer. Nothing else is known of it.
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

/// The decision about a request, with the facts it rests on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decision<'s> {
    /// The client of the request.
    pub client: ClientAddress,
    /// The site of the request, and its position in the configuration.
    pub site: Option<(usize, &'s Site)>,
    /// The route within the site, and its position there.
    pub route: Option<(usize, &'s Route)>,
    /// True if the request may be processed before the handshake is complete.
    pub early: Early,
    /// The protocol that the request asks to switch to and may have, such as `websocket`. Any other upgrade is removed from
    /// the request.
    pub upgrade: Option<&'s str>,
    /// The largest content allowed, for requests of unknown length.
    pub body_limit: Option<u64>,
    /// The authentication required by the route or the site. `None` also where
    /// `satisfy = any` and the address suffices.
    pub auth: Option<&'s Auth>,
    /// Other targets that a service may read the request's as. Where a service decides who may, it is asked about each of
    /// them too.
    pub readings: Vec<String>,
    /// The custom field in which trusted proxies write the client's address, if one is configured.
    pub address_field: Option<&'s str>,
    /// True if the site can be reached over HTTP/3.
    pub http3: bool,
    /// Fields that carry identities on any site and that only the proxy may set.
    pub identities: &'s [String],
    /// True if upstreams are told the client's tailnet identity.
    pub tells: bool,
    /// The way the service is told of the client's address.
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
        /// The position in [`Config::upstreams`](crate::config::Config::upstreams).
        upstream: usize,
    },
    /// It is handed to code of the program.
    Handle {
        /// The handler of the route.
        handler: &'s HandlerRef,
        /// The position in [`Config::upstreams`](crate::config::Config::upstreams) of the upstream that it is forwarded to unless
        /// the handler answers it.
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
    /// Send a configured response.
    Respond(&'s Response),
}

impl Decision<'_> {
    /// Returns the timeouts of the route or the site, if one of them has its own.
    pub fn timeouts(&self) -> Option<Timeouts> {
        let of_route = self.route.and_then(|(_, route)| route.timeouts);
        of_route.or_else(|| self.site.and_then(|(_, site)| site.timeouts))
    }

    /// Returns the compression of the response, if it may be compressed.
    pub fn compression(&self) -> Option<&Compression> {
        match self.route.map(|(_, route)| &route.compression) {
            Some(RouteCompression::Off) => None,
            Some(RouteCompression::On(compression)) => Some(compression),
            Some(RouteCompression::Site) | None => self.site.and_then(|(_, site)| site.compression.as_ref()),
        }
    }

    /// The value of Allow (RFC 9110 §10.2.1) for a method that the route does not take.
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
    /// Returns the reason, if the request is refused or dropped.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Drop { why } | Self::Refuse { why, .. } => Some(*why),
            Self::Forward { .. } | Self::Handle { .. } | Self::Redirect { .. } | Self::Respond(_) => None,
        }
    }
}

/// Formats as `forwarded to upstream 0` or `refused with 421: …`.
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

/// Returns the normalised host, without a copy where it already is.
fn normalized(host: &str) -> Cow<'_, str> {
    if host.ends_with('.') || host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(edge_http::host::normalize(host))
    } else {
        Cow::Borrowed(host)
    }
}
