//! Sites: virtual hosts, their routes and actions.

use crate::config::{
    Auth, ClientCertificates, Compression, CookieRules, PrefixRule, RateLimits, ResponsePolicies, Timeouts,
};
use crate::handler::{Handler, HandlerRef};
use edge_http::host::HostPattern;
use ipnet::IpNet;
use std::net::IpAddr;

/// A virtual host: its names and the handling of requests for them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Site {
    /// The unique name used in logs, metrics and explanations. Must not be empty.
    pub name: String,
    /// The host patterns of the site. Must not be empty. The same pattern may be used by another site only at other
    /// listeners.
    pub hosts: Vec<HostPattern>,
    /// The names of the listeners that serve the site; at all other listeners its hosts are unknown. Empty means every
    /// listener.
    pub listen: Vec<String>,
    /// The name of an upstream with [`Protocol::Tcp`](crate::config::Protocol::Tcp) to which TLS connections for these
    /// hosts are forwarded without being decrypted. Such a site has no routes and is not served over QUIC. With `None`,
    /// TLS ends at the proxy.
    pub passthrough: Option<String>,
    /// The handling of requests over plain HTTP.
    pub plain: PlainHttp,
    /// The client addresses that may use the site.
    pub access: Access,
    /// The combination of the site's `access` and `auth`.
    pub satisfy: Satisfy,
    /// The client certificates that the site requests. `None` requests none.
    pub client_certificates: Option<ClientCertificates>,
    /// The form in which clients that `access` denies are rejected.
    pub reject: Reject,
    /// True if requests may be served from TLS 1.3 early data. Default: false, since early data can be replayed (RFC
    /// 8470).
    pub early_data: bool,
    /// The routes. The most specific match applies, independent of the order in this list: an exact path first, then
    /// the longest prefix.
    pub routes: Vec<Route>,
    /// Edits to the fields of every forwarded request, applied before those of the route.
    pub request_fields: FieldEdits,
    /// Edits to the fields of every response, applied before those of the route.
    pub response_fields: FieldEdits,
    /// The highest number of bytes of request content. A request with more gets 413. `None` means no limit.
    pub body_limit: Option<u64>,
    /// The timeouts of this site, in place of [`Config::timeouts`](crate::config::Config::timeouts), which apply if
    /// this is `None`.
    pub timeouts: Option<Timeouts>,
    /// The response while no connection to the upstream can be established or none of its targets is available. `None`
    /// sends an error response, 502 or 503.
    pub maintenance: Option<Maintenance>,
    /// True if the site is under maintenance. Requests then get 503, with the response of `maintenance` if there is one,
    /// unless they are refused or dropped for another reason or redirected to HTTPS. Nothing is forwarded.
    pub under_maintenance: bool,
    /// The content of error responses. A status without a page gets a short error in the media type that the request
    /// prefers.
    pub error_pages: Vec<ErrorPage>,
    /// The authentication that is required, unless a route has its own. `None` requires none.
    pub auth: Option<Auth>,
    /// The rate limits of the site.
    pub rate: RateLimits,
    /// The policies for browsers, which responses carry as fields.
    pub response_policies: ResponsePolicies,
    /// Compression of responses. `None`, the default, disables it.
    pub compression: Option<Compression>,
    /// The protocols that clients may switch to by Upgrade (RFC 9110 §7.8). Default: `websocket`. HTTP and TLS are not
    /// allowed. Any other protocol is removed from the request, which is then forwarded without an upgrade.
    pub upgrade: Vec<String>,
}

impl Site {
    /// Returns a site of this name and these hosts without routes and with the default settings: plain HTTP is
    /// redirected to HTTPS, and `websocket` may be switched to.
    pub fn new(name: impl Into<String>, hosts: Vec<HostPattern>) -> Self {
        Self {
            name: name.into(),
            hosts,
            listen: Vec::new(),
            passthrough: None,
            plain: PlainHttp::default(),
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
            response_policies: ResponsePolicies::default(),
            compression: None,
            upgrade: vec!["websocket".into()],
        }
    }

    /// Appends a route to the site.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }
}

/// The handling of requests over plain HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Requests are redirected (308) to the same URL with https, unless a trusted proxy reports that the client used
    /// https. The default.
    #[default]
    Redirect,
    /// Requests are served like those over TLS: for nodes behind an edge.
    Serve,
    /// Requests are rejected as by [`Config::reject`](crate::config::Config::reject), like those for an unknown name.
    Refuse,
}

/// The form of a rejection of connections and requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reject {
    /// The connection is closed, or the stream reset, without a response. Over QUIC no packet is sent before the
    /// handshake, except acknowledgements of an incomplete ClientHello to a client that completed a handshake recently.
    /// The default.
    #[default]
    Silent,
    /// A TLS alert is sent or, over QUIC, CONNECTION_CLOSE; or the status 421 or 403 if HTTP is already spoken.
    Alert,
}

/// The rule of access by client address. An empty `allow` permits every address; `deny` takes precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The permitted address ranges. Empty permits every address.
    pub allow: Vec<IpNet>,
    /// The denied address ranges, which take precedence over `allow`.
    pub deny: Vec<IpNet>,
}

/// The origin of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOrigin {
    /// The proxy generated it.
    Proxy,
    /// An upstream sent it.
    Upstream,
}

impl Site {
    /// Returns the error page that replaces a response with this status. `None` if there is none. To the responses of
    /// upstreams only pages with [`ErrorPage::intercept`] apply.
    pub fn error_page(&self, status: u16, origin: ResponseOrigin) -> Option<&ErrorPage> {
        self.error_pages.iter().find(|page| {
            page.statuses.contains(&status) && (page.intercept || origin == ResponseOrigin::Proxy)
        })
    }
}

impl Access {
    /// Returns whether both lists are empty, so that every address is permitted.
    pub const fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Returns whether `address` is permitted: not in `deny`, and in `allow` unless that is empty. IPv4-mapped
    /// addresses are not converted.
    pub fn permits(&self, address: IpAddr) -> bool {
        let among = |list: &[IpNet]| list.iter().any(|range| range.contains(&address));
        !among(&self.deny) && (self.allow.is_empty() || among(&self.allow))
    }
}

/// The combination of an address list and authentication, like nginx's `satisfy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Satisfy {
    /// The client must have a permitted address and authenticate. The default.
    #[default]
    All,
    /// A permitted address suffices; every other client must authenticate. Requires an address list and authentication
    /// on the same level, site or route.
    Any,
}

/// A rule for the requests of one path or prefix.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The paths that the route matches.
    pub path: PathMatch,
    /// The action for a matching request.
    pub action: Action,
    /// The case sensitivity of the path.
    pub case: CaseSensitivity,
    /// The client addresses that may use the route, in addition to the site's `access`. Paths that an upstream may
    /// normalize to another route's are then refused with 400.
    pub access: Access,
    /// The combination of the route's `access` and `auth`.
    pub satisfy: Satisfy,
    /// True if a client certificate is required on a site with
    /// [`CertificateMode::Optional`](crate::config::CertificateMode::Optional). Clients without one get 403.
    pub require_certificate: bool,
    /// The methods that the route accepts, in capitals. Others get 405. GET includes HEAD. Empty accepts every method.
    pub methods: Vec<String>,
    /// The prefix that is removed from the path before forwarding. Must be a prefix of the route's path up to the end
    /// of a segment. `None` removes nothing.
    pub strip_prefix: Option<String>,
    /// The prefix that is added to the path before forwarding, after `strip_prefix` was removed. Must begin with `/`.
    /// `None` adds nothing.
    pub add_prefix: Option<String>,
    /// The rewriting of the cookies in responses.
    pub cookies: CookieRules,
    /// The timeouts of this route. `None` means the site's.
    pub timeouts: Option<Timeouts>,
    /// The compression of the route's responses.
    pub compression: RouteCompression,
    /// Edits to the fields of the forwarded request, applied after those of the site.
    pub request_fields: FieldEdits,
    /// Edits to the fields of the response, applied after those of the site.
    pub response_fields: FieldEdits,
    /// The highest number of bytes of request content. A request with more gets 413. `None` means the site's limit.
    pub body_limit: Option<u64>,
    /// The authentication that is required. `None` means the site's; [`Auth::Open`] requires none. Paths that an
    /// upstream may normalize to another route's are then refused with 400.
    pub auth: Option<Auth>,
    /// The protocols that clients may switch to, as in [`Site::upgrade`]. `None` means the site's.
    pub upgrade: Option<Vec<String>>,
}

impl Route {
    /// Returns a route for these paths with this action and the default settings, which restrict nothing and take
    /// those of the site.
    pub fn new(path: PathMatch, action: Action) -> Self {
        Self {
            path,
            action,
            case: CaseSensitivity::default(),
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

    /// Returns a route that forwards all paths to the upstream of this name.
    pub fn forward(upstream: impl Into<String>) -> Self {
        Self::new(PathMatch::Prefix("/".into()), Action::Forward { upstream: upstream.into() })
    }
}

impl Action {
    /// Returns the action of calling this handler, without an upstream. A request that the handler does not answer
    /// gets 404.
    pub fn handle(handler: impl Handler) -> Self {
        Self::Handle { handler: HandlerRef::new(handler), upstream: None }
    }

    /// Returns the action of calling this handler and forwarding the requests that it does not answer to the upstream
    /// of this name.
    pub fn handle_or_forward(handler: impl Handler, upstream: impl Into<String>) -> Self {
        Self::Handle { handler: HandlerRef::new(handler), upstream: Some(upstream.into()) }
    }
}

/// The case sensitivity of a route's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaseSensitivity {
    /// Letter case is ignored if the route restricts access: by addresses, authentication, a certificate, methods, or
    /// an action that refuses every request. A spelling for which that would replace a stricter route, or the absence
    /// of a route, gets 400 if the site has access rules by path. The default.
    #[default]
    Guarded,
    /// Letter case always matters.
    Exact,
}

impl Route {
    /// Returns whether the path is matched without regard to letter case: the route restricts access (by
    /// authentication, a certificate, methods, addresses, or an action that refuses every request) and its sensitivity
    /// is [`CaseSensitivity::Guarded`].
    pub(crate) fn ignores_case(&self) -> bool {
        let asks = self.auth.as_ref().is_some_and(|auth| *auth != Auth::Open);
        let guards = asks
            || self.require_certificate
            || !self.methods.is_empty()
            || !self.access.is_open()
            || self.refusal_status().is_some();
        guards && self.case == CaseSensitivity::Guarded
    }

    /// Returns the status by which the route refuses every request, 400 to 599, or 0 if it drops them. `None` for
    /// other actions.
    pub(crate) const fn refusal_status(&self) -> Option<u16> {
        match &self.action {
            Action::Drop => Some(0),
            Action::Respond(response) if response.status >= 400 && response.status < 600 => {
                Some(response.status)
            }
            _ => None,
        }
    }
}

/// The paths that a route matches. Paths are compared byte by byte as received, without decoding and without the
/// query; letter case by [`CaseSensitivity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Every path with this string prefix: `/a` matches `/a`, `/a/b` and `/ab`.
    Begins(String),
    /// This path only, with any query.
    Exact(String),
    /// This path and every path below it, by segments: `/a` matches `/a` and `/a/b`, not `/ab`; `/a/` matches every
    /// path that begins with it.
    Prefix(String),
}

/// The action of a route.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Forwards the request to an upstream.
    Forward {
        /// The name of an upstream in [`Config::upstreams`](crate::config::Config::upstreams) that speaks HTTP. Any
        /// other name is a [`ConfigError`](crate::ConfigError).
        upstream: String,
    },
    /// Calls a [`Handler`](crate::handler::Handler) of the embedding program. Such a route refuses ambiguous paths with
    /// 400.
    Handle {
        /// The handler of the route.
        handler: HandlerRef,
        /// The name of the upstream that receives requests which the handler does not answer. `None` answers them with
        /// 404.
        upstream: Option<String>,
    },
    /// Redirects the client to another URL.
    Redirect {
        /// The status: 301, 302, 303, 307 or 308.
        status: u16,
        /// The value of Location: an absolute URL, or one that begins with `/` or `{path}`. `{host}`, `{path}` and
        /// `{query}` are replaced by those of the request; `{query}` includes its `?`.
        to: String,
    },
    /// Sends a constant response that the configuration contains.
    Respond(Response),
    /// Closes the connection without a response; on HTTP/2 and HTTP/3 resets the stream.
    Drop,
}

/// A response that the configuration contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, 200 to 599.
    pub status: u16,
    /// The media type of the content. May be empty if there is no content; Content-Type is then omitted.
    pub content_type: String,
    /// The content. Must be empty for 204, 205 and 304.
    pub body: Vec<u8>,
}

/// The content of responses with an error status, in place of a short error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses that the page applies to, 400 to 599. Must not be empty; a status has at most one page per site.
    pub statuses: Vec<u16>,
    /// The media type of the content.
    pub content_type: String,
    /// The content of the page.
    pub body: Vec<u8>,
    /// True if the page also replaces the content of the upstream's responses with these statuses.
    pub intercept: bool,
}

/// The compression of a route's responses.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RouteCompression {
    /// The settings of the site apply. The default.
    #[default]
    Site,
    /// Responses are not compressed.
    Off,
    /// These settings apply in place of the site's.
    On(Compression),
}

/// The response while an upstream cannot be reached, or while the site is under maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// The response, usually with the status 503.
    pub response: Response,
    /// The Retry-After value in seconds (RFC 9110 §10.2.3). `None` sends no such field, or 120 while
    /// [`Site::under_maintenance`] is set.
    pub retry_after: Option<u32>,
}

/// Edits to a field section, applied in the order `replace`, `remove`, `set`, `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldEdits {
    /// The replacements of value prefixes: pairs of a field name and rules, for example for `Location` or WebDAV's
    /// `Destination`. The longest matching prefix is replaced.
    pub replace: Vec<(String, Vec<PrefixRule>)>,
    /// The names of the fields to remove.
    pub remove: Vec<String>,
    /// The fields to set, as name and value: all fields of that name are removed first.
    pub set: Vec<(String, String)>,
    /// The fields to append, as name and value, even if the name is already present.
    pub add: Vec<(String, String)>,
}

impl FieldEdits {
    /// Returns whether there are no edits.
    pub const fn is_empty(&self) -> bool {
        self.replace.is_empty() && self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}
