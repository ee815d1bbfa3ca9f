//! What is served under which names.

use crate::config::{Auth, Compression, Hsts, RateLimits, Timeouts};
use crate::host::HostPattern;
use ipnet::IpNet;
use std::net::IpAddr;

/// One virtual host: names, and what is done with requests for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// What it is called in logs and explanations.
    pub name: String,
    /// The names it answers to.
    pub hosts: Vec<HostPattern>,
    /// What is done with requests over plain HTTP.
    pub plain: Plain,
    /// Who may use it.
    pub access: Access,
    /// How clients that `access` turns away are turned away.
    pub reject: Reject,
    /// Whether requests may be taken from TLS 1.3 early data. Off by default: such requests can be replayed.
    pub early_data: bool,
    /// Tried in order of specificity: exact paths first, then the longest prefix.
    pub routes: Vec<Route>,
    /// Edits to every request that is forwarded, before those of the route.
    pub request_fields: FieldEdits,
    /// Edits to every response, before those of the route.
    pub response_fields: FieldEdits,
    /// The largest request content in bytes. `None` is without limit.
    pub body_limit: Option<u64>,
    /// Instead of [`Config::timeouts`](crate::config::Config::timeouts).
    pub timeouts: Option<Timeouts>,
    /// The answer while no target of the upstream can be reached. `None` is a bare 502.
    pub maintenance: Option<Maintenance>,
    /// Who a request must be from, unless its route says otherwise. `None` is anybody.
    pub auth: Option<Auth>,
    /// How often it may be asked.
    pub rate: RateLimits,
    /// Whether browsers are told to use https only.
    pub hsts: Option<Hsts>,
    /// Whether responses are compressed. Off by default.
    pub compression: Option<Compression>,
}

impl Site {
    /// A site that redirects plain HTTP to HTTPS and has no routes yet.
    pub fn new(name: impl Into<String>, hosts: Vec<HostPattern>) -> Self {
        Self {
            name: name.into(),
            hosts,
            plain: Plain::default(),
            access: Access::default(),
            reject: Reject::default(),
            early_data: false,
            routes: Vec::new(),
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
            body_limit: None,
            timeouts: None,
            maintenance: None,
            auth: None,
            rate: RateLimits::default(),
            hsts: None,
            compression: None,
        }
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }
}

/// What a site does with requests over plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// A permanent redirect (308) to the same address with https.
    #[default]
    Redirect,
    /// Serves them like others: for nodes behind an edge.
    Serve,
    /// As if the site did not exist.
    Refuse,
}

/// How clients are turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reject {
    /// The connection is closed and nothing is said; over QUIC no packet is sent.
    #[default]
    Silent,
    /// With a TLS alert, or 421 or 403 where HTTP is spoken already.
    Alert,
}

/// Who may use a site, by the restored client address. An empty `allow` allows everybody; `deny` wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Those who may.
    pub allow: Vec<IpNet>,
    /// Those who may not.
    pub deny: Vec<IpNet>,
}

impl Access {
    /// Whether nobody is kept out by their address.
    pub const fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether this address may: it is on no `deny`, and on `allow` unless that is empty.
    pub fn permits(&self, address: IpAddr) -> bool {
        let among = |list: &[IpNet]| list.iter().any(|range| range.contains(&address));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }
}

/// What is done with the requests of one path or prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Which paths.
    pub path: PathMatch,
    /// What is done.
    pub action: Action,
    /// Who may use it, besides the site's own lists. A route with such a list refuses ambiguous paths.
    pub access: Access,
    /// Removed from the front of the path before forwarding.
    pub strip_prefix: Option<String>,
    /// Edits to the request that is forwarded.
    pub request_fields: FieldEdits,
    /// Edits to the response.
    pub response_fields: FieldEdits,
    /// Instead of the site's.
    pub body_limit: Option<u64>,
    /// Instead of the site's. A route with it refuses ambiguous paths.
    pub auth: Option<Auth>,
}

impl Route {
    /// A route that only does this.
    pub fn new(path: PathMatch, action: Action) -> Self {
        Self {
            path,
            action,
            access: Access::default(),
            strip_prefix: None,
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
            body_limit: None,
            auth: None,
        }
    }

    /// Everything below `/` to this upstream.
    pub fn forward(upstream: impl Into<String>) -> Self {
        Self::new(PathMatch::Prefix("/".into()), Action::Forward { upstream: upstream.into() })
    }
}

/// Which paths a route is for. Bytes are compared as they came, nothing is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Exactly this path, whatever the query.
    Exact(String),
    /// This path and what is below it: `/a` matches `/a` and `/a/b`, not `/ab`; `/a/` matches what begins so.
    Prefix(String),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Passes the request to the upstream of this name.
    Forward {
        /// The name of an upstream in [`Config::upstreams`](crate::config::Config::upstreams).
        upstream: String,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// The new address. `{host}`, `{path}` and `{query}` stand for those of the request; `{query}` has its `?`.
        to: String,
    },
    /// Answers here.
    Respond(Response),
    /// Closes the connection without a byte (on HTTP/2 and 3 resets the stream).
    Drop,
}

/// An answer given by the proxy itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// The media type of the content.
    pub content_type: String,
    /// The content.
    pub body: Vec<u8>,
}

/// What is said while a service is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// The answer; its status is usually 503.
    pub response: Response,
    /// When clients may come again, in seconds (Retry-After, RFC 9110 §10.2.3). `None` does not say.
    pub retry_after: Option<u32>,
}

/// Edits to a header section: removals first, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Fields of these names are removed.
    pub remove: Vec<String>,
    /// Fields of these names are replaced.
    pub set: Vec<(String, String)>,
    /// Appended, whatever is there.
    pub add: Vec<(String, String)>,
}

impl FieldEdits {
    /// Whether nothing is edited.
    pub const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}
