//! What becomes of a connection and of a request: total functions over plain values, each result with its reason.
//!
//! The order is that of a request: [`hello()`] at the ClientHello, [`decide()`] at the request's head,
//! [`request_fields()`] before it is forwarded, [`response_fields()`] before the answer goes back.

mod edits;
mod fields;
mod hello;
mod path;
mod rejection;
mod request;
mod route;
mod upgrade;

pub use fields::{request_fields, response_fields};
pub use hello::hello;
pub use rejection::Rejection;
pub use request::decide;

use crate::Reason;
use crate::client_address::ClientAddress;
use crate::config::{Auth, Response, Route, Site};
use crate::early_data::Early;
use crate::tailnet::Identities;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

/// By what a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP without TLS.
    Plain,
    /// QUIC.
    Quic,
    /// TLS on TCP.
    Tls,
}

impl Transport {
    /// Whether it is encrypted.
    pub const fn is_secure(self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// By what the request came.
    pub transport: Transport,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The source that an accepted PROXY header named.
    pub proxied: Option<SocketAddr>,
    /// The interface by which the connection came, if it is known.
    pub interface: Option<&'a str>,
    /// What tailscaled says of the source, and of hops.
    pub identities: Identities<'a>,
    /// The name in the ClientHello.
    pub sni: Option<&'a str>,
    /// Whether the head came in early data and the handshake is not complete.
    pub early: bool,
}

/// What becomes of a request, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<'s> {
    /// Who asks.
    pub client: ClientAddress,
    /// The site that the request is for, and its position in the configuration.
    pub site: Option<(usize, &'s Site)>,
    /// The route within the site, and its position there.
    pub route: Option<(usize, &'s Route)>,
    /// Whether it may be acted upon before the handshake is complete.
    pub early: Early,
    /// Whether the request asks for WebSocket and may have it. Any other protocol switch is taken out of the request.
    pub websocket: bool,
    /// The largest content, for requests whose length is not known beforehand.
    pub body_limit: Option<u64>,
    /// Who the request must be from, by its route or its site.
    pub auth: Option<&'s Auth>,
    /// Fields that nobody but the proxy says, on any site: they carry who somebody is.
    pub identities: &'s [String],
    /// Whether services are told who a client is in the tailnet.
    pub tells: bool,
    /// What is done.
    pub verdict: Verdict<'s>,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict<'s> {
    /// The connection is closed without a byte; on HTTP/2 and 3 the stream is reset.
    Drop {
        /// The reason.
        why: Reason,
    },
    /// It is passed on.
    Forward {
        /// The position in [`Config::upstreams`](crate::config::Config::upstreams).
        upstream: usize,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The value of Location.
        location: String,
    },
    /// It is answered with an error.
    Refuse {
        /// 400 to 599.
        status: u16,
        /// The reason.
        why: Reason,
    },
    /// It is answered here.
    Respond(&'s Response),
}

impl Verdict<'_> {
    /// The reason, if it is a refusal.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Drop { why } | Self::Refuse { why, .. } => Some(*why),
            _ => None,
        }
    }
}

/// `forwarded to the upstream at 0`, `refused with 421: …`
impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop { why } => write!(f, "dropped without a byte: {why}"),
            Self::Forward { upstream } => write!(f, "forwarded to upstream {upstream}"),
            Self::Redirect { status, location } => write!(f, "redirected with {status} to {location}"),
            Self::Refuse { status, why } => write!(f, "refused with {status}: {why}"),
            Self::Respond(response) => write!(f, "answered here with {}", response.status),
        }
    }
}

/// The form in which hosts are compared, without a copy where they have it.
fn normalized(host: &str) -> Cow<'_, str> {
    if host.ends_with('.') || host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(crate::host::normalize(host))
    } else {
        Cow::Borrowed(host)
    }
}
