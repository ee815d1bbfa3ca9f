//! Sites: virtual hosts, their routes and actions.

use crate::config::{
    Auth, ClientCertificates, Compression, CookieRules, Hsts, PrefixRule, RateLimits, Timeouts,
};
use crate::handler::{Handler, HandlerRef};
use edge_http::host::HostPattern;
use ipnet::IpNet;
use std::net::IpAddr;

/// A virtual host: its names and the handling of requests for them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Site {
    /// The name used in logs and explanations.
    pub name: String,
    /// The host names of the site.
    pub hosts: Vec<HostPattern>,
    /// Names of the listeners that serve the site; on all others it does not exist. Empty means every listener.
    pub listen: Vec<String>,
    /// The name of an upstream with [`Protocol::Tcp`](crate::config::Protocol::Tcp) to which TLS connections for these names are
    /// forwarded as they are, without being decrypted. Such a site has no routes, and exists over TLS on TCP alone.
    pub passthrough: Option<String>,
    /// The handling of requests over plain HTTP.
    pub plain: Plain,
    /// The client addresses that may use the site.
    pub access: Access,
    /// The combination of `access` with `auth`.
    pub satisfy: Satisfy,
    /// The client certificates that the site asks for. `None` asks for none.
    pub client_certificates: Option<ClientCertificates>,
    /// The way clients that `access` denies are rejected.
    pub reject: Reject,
    /// True if requests may be served from TLS 1.3 early data. Off by default, since such requests can be replayed.
    pub early_data: bool,
    /// The routes, tried in order of specificity: exact paths first, then the longest prefix.
    pub routes: Vec<Route>,
    /// Edits to the header of every forwarded request, applied before those of the route.
    pub request_fields: FieldEdits,
    /// Edits to the header of every response, applied before those of the route.
    pub response_fields: FieldEdits,
    /// The largest request content in bytes. `None` means no limit.
    pub body_limit: Option<u64>,
    /// Timeouts of this site, in place of [`Config::timeouts`](crate::config::Config::timeouts).
    pub timeouts: Option<Timeouts>,
    /// The response while no target of the upstream can be reached. `None` sends a bare 502.
    pub maintenance: Option<Maintenance>,
    /// True while the site is switched to maintenance: requests that its rules let through are answered 503, with the response of
    /// `maintenance` if there is one. Nothing reaches a service.
    pub under_maintenance: bool,
    /// The content of errors. Without one an error has a line of text.
    pub error_pages: Vec<ErrorPage>,
    /// The authentication required, unless a route has its own. `None` requires none.
    pub auth: Option<Auth>,
    /// The rate limits of the site.
    pub rate: RateLimits,
    /// The Strict-Transport-Security policy. `None` sends no such field.
    pub hsts: Option<Hsts>,
    /// Compression of responses. `None`, the default, leaves them as they are.
    pub compression: Option<Compression>,
    /// The protocols that clients may switch to by Upgrade (RFC 9110 §7.8), by default WebSocket alone. HTTP itself cannot be one
    /// of them. Any other wish is taken out of the request, which goes on without it.
    pub upgrade: Vec<String>,
}

impl Site {
    /// Returns a site that redirects plain HTTP to HTTPS and has no routes yet.
    pub fn new(name: impl Into<String>, hosts: Vec<HostPattern>) -> Self {
        Self {
            name: name.into(),
            hosts,
            listen: Vec::new(),
            passthrough: None,
            plain: Plain::default(),
            access: Access::default(),
            satisfy: Satisfy::default(),
            client_certificates: None,
            reject: Reject::default(),
            early_data: false,
            routes: Vec::new(),
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
            body_limit: None,
            timeouts: None,
            maintenance: None,
            under_maintenance: false,
            error_pages: Vec::new(),
            auth: None,
            rate: RateLimits::default(),
            hsts: None,
            compression: None,
            upgrade: vec!["websocket".into()],
        }
    }

    /// Adds a route.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }
}

/// The handling of requests over plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plain {
    /// A permanent redirect (308) to the same address with https.
    #[default]
    Redirect,
    /// Served like requests over TLS: for nodes behind an edge.
    Serve,
    /// Handled as if the site did not exist.
    Refuse,
}

/// The way clients are rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reject {
    /// The connection is closed without a response; over QUIC no packet is sent.
    #[default]
    Silent,
    /// A TLS alert, or 421 or 403 where HTTP is already spoken.
    Alert,
}

/// Access by restored client address. An empty `allow` allows everyone; `deny` takes precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The ranges that are allowed.
    pub allow: Vec<IpNet>,
    /// The ranges that are denied.
    pub deny: Vec<IpNet>,
}

impl Site {
    /// Returns the page for responses of the proxy with this status, or for those of a service.
    pub fn error_page(&self, status: u16, of_service: bool) -> Option<&ErrorPage> {
        self.error_pages
            .iter()
            .find(|page| page.statuses.contains(&status) && (page.intercept || !of_service))
    }
}

impl Access {
    /// Returns whether every address is permitted.
    pub const fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Returns whether `address` is permitted: not in `deny`, and in `allow` unless that is empty.
    pub fn permits(&self, address: IpAddr) -> bool {
        let among = |list: &[IpNet]| list.iter().any(|range| range.contains(&address));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }
}

/// Combination of an address list with authentication, as nginx's `satisfy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Satisfy {
    /// The client needs an address that the list permits, and to authenticate.
    #[default]
    All,
    /// An address that the list permits is enough; every other client has to authenticate.
    Any,
}

/// A rule for the requests of one path or prefix.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The paths that the route matches.
    pub path: PathMatch,
    /// The action taken for a matching request.
    pub action: Action,
    /// The treatment of letter case in its path.
    pub case: Case,
    /// The access rules, in addition to the site's. Paths that a service may read as another route's are refused then.
    pub access: Access,
    /// The combination of the route's `access` with its `auth`.
    pub satisfy: Satisfy,
    /// True if the route needs a client certificate where the site takes clients without one. They are answered 403.
    pub require_certificate: bool,
    /// Methods the route takes; the others are answered 405. GET includes HEAD. Empty means every method.
    pub methods: Vec<String>,
    /// A prefix removed from the path before forwarding.
    pub strip_prefix: Option<String>,
    /// A prefix added to the path before forwarding, after `strip_prefix` was removed.
    pub add_prefix: Option<String>,
    /// Rewriting of the cookies in the response.
    pub cookies: CookieRules,
    /// Timeouts of this route, in place of the site's.
    pub timeouts: Option<Timeouts>,
    /// Compression of responses, in place of the site's.
    pub compression: RouteCompression,
    /// Edits to the header of the forwarded request.
    pub request_fields: FieldEdits,
    /// Edits to the header of the response.
    pub response_fields: FieldEdits,
    /// The largest request content in bytes, in place of the site's.
    pub body_limit: Option<u64>,
    /// Instead of the site's. Paths that a service may read as another route's are refused then.
    pub auth: Option<Auth>,
    /// Instead of the site's [`Site::upgrade`].
    pub upgrade: Option<Vec<String>>,
}

impl Route {
    /// Returns a route with this action and no other settings.
    pub fn new(path: PathMatch, action: Action) -> Self {
        Self {
            path,
            action,
            case: Case::default(),
            access: Access::default(),
            satisfy: Satisfy::default(),
            require_certificate: false,
            methods: Vec::new(),
            strip_prefix: None,
            add_prefix: None,
            cookies: CookieRules::default(),
            timeouts: None,
            compression: RouteCompression::default(),
            request_fields: FieldEdits::default(),
            response_fields: FieldEdits::default(),
            body_limit: None,
            auth: None,
            upgrade: None,
        }
    }

    /// Returns a route that forwards everything below `/` to this upstream.
    pub fn forward(upstream: impl Into<String>) -> Self {
        Self::new(PathMatch::Prefix("/".into()), Action::Forward { upstream: upstream.into() })
    }
}

impl Action {
    /// Hands requests to this code, which has to answer them.
    pub fn handle(handler: impl Handler) -> Self {
        Self::Handle { handler: HandlerRef::new(handler), upstream: None }
    }

    /// Hands requests to this code, and forwards to the upstream of this name those that it does not answer.
    pub fn handle_or_forward(handler: impl Handler, upstream: impl Into<String>) -> Self {
        Self::Handle { handler: HandlerRef::new(handler), upstream: Some(upstream.into()) }
    }
}

/// The treatment of letter case in a route's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Case {
    /// A route that keeps somebody out (by addresses, by authentication, or by its answer) is also that of the path's other
    /// spellings in upper and lower case, which many frameworks route alike.
    #[default]
    Guarded,
    /// Only the path as it is written.
    Exact,
}

impl Route {
    /// Returns whether letter case does not count in its path.
    pub(crate) fn ignores_case(&self) -> bool {
        let asks = self.auth.as_ref().is_some_and(|auth| *auth != Auth::Open);
        let guards = asks
            || self.require_certificate
            || !self.methods.is_empty()
            || !self.access.is_open()
            || self.refusal_status().is_some();
        guards && self.case == Case::Guarded
    }

    /// Returns the status with which the route refuses every request, if it does; 0 if it drops them.
    pub(crate) const fn refusal_status(&self) -> Option<u16> {
        match &self.action {
            Action::Drop => Some(0),
            Action::Respond(response) if response.status >= 400 && response.status < 500 => {
                Some(response.status)
            }
            _ => None,
        }
    }
}

/// The paths that a route matches. Paths are compared byte by byte as they arrived; nothing is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Every path that begins with these characters: `/a` matches `/a`, `/a/b` and `/ab`.
    Begins(String),
    /// Exactly this path, with any query.
    Exact(String),
    /// This path and everything below it: `/a` matches `/a` and `/a/b`, not `/ab`; `/a/` matches every path that begins
    /// with it.
    Prefix(String),
}

/// The action of a route.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Forwards the request to the upstream of this name.
    Forward {
        /// The name of an upstream in [`Config::upstreams`](crate::config::Config::upstreams).
        upstream: String,
    },
    /// Hands the request to code of the program: see [`Handler`](crate::handler::Handler). Such a route refuses ambiguous paths.
    Handle {
        /// The handler of the route.
        handler: HandlerRef,
        /// The name of the upstream that the request is forwarded to unless the handler answers it.
        upstream: Option<String>,
    },
    /// Redirects the client to another URL.
    Redirect {
        /// The status: 301, 302, 303, 307 or 308.
        status: u16,
        /// The URL. `{host}`, `{path}` and `{query}` are replaced by those of the request; `{query}` includes its `?`.
        to: String,
    },
    /// Sends a configured response.
    Respond(Response),
    /// Closes the connection without a response (on HTTP/2 and HTTP/3 resets the stream).
    Drop,
}

/// A response sent by the proxy itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, 200 to 599.
    pub status: u16,
    /// The media type of the content.
    pub content_type: String,
    /// The content of the response, which may be empty.
    pub body: Vec<u8>,
}

/// The content of responses with an error status, in place of a line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses that it is for, 400 to 599.
    pub statuses: Vec<u16>,
    /// The media type of the content.
    pub content_type: String,
    /// The content of the page.
    pub body: Vec<u8>,
    /// True if it also replaces the content of such responses of the service.
    pub intercept: bool,
}

/// Compression of a route's responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RouteCompression {
    /// As the site's.
    #[default]
    Site,
    /// Responses are not compressed.
    Off,
    /// Compression by these settings.
    On(Compression),
}

/// The response while a service is unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// The response; its status is usually 503.
    pub response: Response,
    /// The Retry-After value, in seconds (RFC 9110 §10.2.3). `None` sends no such field.
    pub retry_after: Option<u32>,
}

/// Edits to a header section: replacements first, then removals, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// Replacements at the beginning of values, by field name: of `Location` or of WebDAV's `Destination`. The longest that
    /// matches is applied.
    pub replace: Vec<(String, Vec<PrefixRule>)>,
    /// Names of the fields to remove.
    pub remove: Vec<String>,
    /// Fields to replace, as name and value.
    pub set: Vec<(String, String)>,
    /// Fields to append, even where the name is already present.
    pub add: Vec<(String, String)>,
}

impl FieldEdits {
    /// Returns whether there are no edits.
    pub const fn is_empty(&self) -> bool {
        self.replace.is_empty() && self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}
