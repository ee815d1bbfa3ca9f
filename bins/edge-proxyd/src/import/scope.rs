//! Settings that locations inherit from their server, and servers from `http`.

use super::known::{Effect, effect, is_default};
use super::media_types::MediaTypes;
use super::notes::Notes;
use super::parse::Directive;
use super::ranges::{Rule, everyone, net_of};
use super::real_ip::RealIp;
use super::times::{milliseconds, size};
use super::variables::Variables;

/// The settings of a site that apply to its routes unless they override them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SiteDefaults {
    /// Keys of `timeouts`, with their durations in milliseconds, without those of [`CONNECTION_TIMEOUTS`].
    pub(super) timeouts: Vec<(&'static str, u64)>,
    /// The smallest size of content that is compressed, such as `1KiB`. `None` if responses are not compressed.
    pub(super) compression: Option<String>,
}

/// The settings in effect within a block: `http`, a server or a location.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// `client_max_body_size` as written; `1m` by default.
    pub(super) body_limit: String,
    /// True with `gzip on`.
    pub(super) gzip: bool,
    /// `gzip_min_length` as written; `20` by default.
    pub(super) gzip_least: String,
    /// `proxy_set_header` and `grpc_set_header`, with known variables expanded. If a level has `proxy_set_header`, the
    /// inherited list is dropped.
    pub(super) request: Vec<Directive>,
    /// `add_header`, with known variables expanded. If a level has `add_header`, the inherited list is dropped.
    pub(super) response: Vec<Directive>,
    /// The field names of `proxy_hide_header`. If a level has the directive, the inherited list is dropped.
    pub(super) hidden: Vec<String>,
    /// `auth_basic`. `None` if it is off.
    pub(super) realm: Option<String>,
    /// `auth_basic_user_file`, the password file. `None` without one.
    pub(super) users: Option<Directive>,
    /// `auth_request`, whose argument is the URI of a location. `None` if it is off.
    pub(super) auth_request: Option<Directive>,
    /// True with `satisfy any`: either the client's address or authentication suffices. False with `satisfy all`, the
    /// default: both are needed.
    pub(super) satisfy_any: bool,
    /// `allow` and `deny`, in their order. The first matching rule decides. If a level has one of them, the inherited
    /// list is dropped.
    pub(super) access: Vec<Rule>,
    /// The rules of an `if` that rejects clients by their address. The first matching rule decides.
    pub(super) conditional: Vec<Rule>,
    /// The accepted methods, in upper case. Empty if all are accepted.
    pub(super) methods: Vec<String>,
    /// The keys of `timeouts`, with durations in milliseconds; at most one of each key.
    pub(super) timeouts: Vec<(&'static str, u64)>,
    /// The settings of the site, which its routes do not repeat.
    pub(super) site: SiteDefaults,
    /// The media types of answers with text.
    pub(super) media_types: MediaTypes,
    /// The trusted proxies, and the header with the client's address.
    pub(super) real_ip: RealIp,
    /// The keys of `tls` of upstreams, with their values; at most one of each key.
    pub(super) tls: Vec<(&'static str, String)>,
    /// True with `internal`: the paths of the location and of those within are reachable by internal redirects of nginx
    /// only, and clients get 404.
    pub(super) internal: bool,
    /// True within a server in front of headscale, whose clients switch to protocols of their own.
    pub(super) headscale: bool,
    /// `ssl_verify_client`. `None` if it is off.
    pub(super) verify_client: Option<Directive>,
    /// `ssl_client_certificate`, the file of authorities. `None` without one.
    pub(super) client_ca: Option<String>,
    /// `ssl_crl`, the file of revocation lists. `None` without one.
    pub(super) crl: Option<String>,
    /// True if requests without a valid client certificate are rejected by an `if`.
    pub(super) require_certificate: bool,
    /// True if paths are compared without regard to case.
    pub(super) any_case: bool,
    /// Prefixes of `Location` in responses, each with its replacement.
    pub(super) location: Vec<(String, String)>,
    /// The rules of `proxy_redirect`, as pairs of prefix and replacement; empty for `off`. `None` for nginx's default.
    pub(super) rewrites_location: Option<Vec<(String, String)>>,
    /// The rewrites of cookies: `path` or `domain`, the prefix or domain, and the replacement.
    pub(super) cookies: Vec<(&'static str, String, String)>,
    /// The last `limit_req`. `None` without one.
    pub(super) rate: Option<Directive>,
    /// The name of the field for the request identifier, which edge-proxyd sets. `None` if no field has it.
    pub(super) request_id: Option<String>,
    /// The reasons for which everyone is denied: restrictions of access without a counterpart.
    pub(super) closed: Vec<String>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            body_limit: "1m".into(),
            gzip: false,
            gzip_least: "20".into(),
            request: Vec::new(),
            response: Vec::new(),
            hidden: Vec::new(),
            realm: None,
            users: None,
            auth_request: None,
            satisfy_any: false,
            access: Vec::new(),
            conditional: Vec::new(),
            methods: Vec::new(),
            timeouts: Vec::new(),
            site: SiteDefaults::default(),
            media_types: MediaTypes::default(),
            real_ip: RealIp::default(),
            tls: Vec::new(),
            internal: false,
            headscale: false,
            verify_client: None,
            client_ca: None,
            crl: None,
            require_certificate: false,
            any_case: false,
            location: Vec::new(),
            rewrites_location: None,
            cookies: Vec::new(),
            rate: None,
            request_id: None,
            closed: Vec::new(),
        }
    }
}

/// The timeouts that apply before the site of a request is known: the key of `[timeouts]`, the directive of nginx, and
/// edge-proxyd's default in milliseconds.
pub(super) const CONNECTION_TIMEOUTS: [(&str, &str, u64); 2] =
    [("header", "client_header_timeout", 15_000), ("idle", "keepalive_timeout", 75_000)];

/// Returns true if a text is a valid field name (RFC 9110 §5.6.2, a token) of at most 256 characters.
fn is_name(text: &str) -> bool {
    let other = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || other(byte))
}

impl Scope {
    /// Returns the settings with which a block inside this one begins, before its own directives are read by
    /// [`take`](Self::take).
    ///
    /// A directive in the block drops what it inherits: `proxy_set_header` the request fields, `add_header` the
    /// response fields, `proxy_hide_header` the hidden fields, `allow` or `deny` the address rules, `limit_req` the
    /// limit of the rate, `types` the media types by extension, `proxy_redirect` the rules for `Location`,
    /// `proxy_cookie_path` or `proxy_cookie_domain` the cookies, and the directives of `real_ip` as
    /// [`RealIp::enter`] defines. Everything else is inherited.
    pub(super) fn enter(&self, block: &[Directive]) -> Self {
        let mut inner = self.clone();
        let has = |name: &str| block.iter().any(|directive| directive.name == name);
        for name in ["proxy_set_header", "grpc_set_header"] {
            if has(name) {
                inner.request.retain(|one| one.name != name);
            }
        }
        if has("add_header") {
            inner.response.clear();
        }
        if has("proxy_hide_header") {
            inner.hidden.clear();
        }
        if has("allow") || has("deny") {
            inner.access.clear();
        }
        if has("proxy_redirect") {
            inner.rewrites_location = None;
        }
        if has("limit_req") {
            inner.rate = None;
        }
        for (name, key) in [("proxy_cookie_path", "path"), ("proxy_cookie_domain", "domain")] {
            if has(name) {
                inner.cookies.retain(|(known, ..)| *known != key);
            }
        }
        inner.real_ip = self.real_ip.enter(block);
        inner.media_types.enter(block);
        inner
    }

    /// Returns true if this scope restricts access exactly as `other` does: address rules, conditional rules, methods,
    /// required certificate, `satisfy`, realm, password file and authentication request are equal.
    pub(super) fn guards_as(&self, other: &Self) -> bool {
        let users = |scope: &Self| scope.users.as_ref().map(|users| users.first().to_owned());
        let asked = |scope: &Self| scope.auth_request.as_ref().map(|asked| asked.first().to_owned());
        self.access == other.access
            && self.conditional == other.conditional
            && self.methods == other.methods
            && self.require_certificate == other.require_certificate
            && self.satisfy_any == other.satisfy_any
            && self.realm == other.realm
            && users(self) == users(other)
            && asked(self) == asked(other)
    }

    /// Returns true if clients are asked for a certificate of a known authority.
    pub(super) const fn verifies_clients(&self) -> bool {
        self.verify_client.is_some() && self.client_ca.is_some()
    }

    /// Denies access to everyone, because a directive that restricts access has no counterpart: notes the reason `why`
    /// as closed, and adds it to `closed`.
    pub(super) fn close(&mut self, directive: &Directive, why: &str, notes: &mut Notes) {
        notes.closed(directive, format!("{why}: `deny` keeps everyone out until you decide"));
        self.closed.push(reason(directive, why));
    }

    /// Reads a directive that may occur at several levels into these settings, with known variables expanded. Notes
    /// what cannot be converted. A directive that limits access and has no counterpart, or is not known, denies access
    /// to everyone.
    pub(super) fn take(&mut self, directive: &Directive, variables: &Variables, notes: &mut Notes) {
        let first = || directive.first().to_owned();
        match directive.name.as_str() {
            "client_max_body_size" => self.body_limit = first(),
            "gzip" => self.gzip = first() == "on",
            "gzip_min_length" => self.gzip_least = first(),
            "proxy_set_header" | "grpc_set_header" | "proxy_hide_header" | "add_header"
                if !is_name(&first()) =>
            {
                notes.different(directive, "not a field name of letters, digits and -: left out");
            }
            "proxy_set_header" | "grpc_set_header" => {
                self.request.push(expand_arguments(directive, variables));
            }
            "add_header" => self.response.push(expand_arguments(directive, variables)),
            "proxy_hide_header" => self.hidden.push(first()),
            "auth_basic" => self.realm = Some(variables.expand(&first())).filter(|realm| realm != "off"),
            "auth_basic_user_file" => self.users = Some(expand_arguments(directive, variables)),
            "auth_request" => {
                self.auth_request =
                    Some(expand_arguments(directive, variables)).filter(|one| one.first() != "off");
            }
            "allow" | "deny" => self.may(directive, notes),
            "satisfy" => self.satisfy_any = first() == "any",
            "limit_except" => self.limit_except(directive, notes),
            "internal" => self.internal = true,
            "limit_req" => {
                // `enter` drops the inherited one, so that another is of the same place.
                if let Some(other) = self.rate.replace(directive.clone()).filter(|other| other != directive) {
                    notes.open(&other, "of several limits in one place, only the last can be taken over");
                }
            }
            "ssl_protocols" => {
                let mut named: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
                named.sort_unstable();
                if named != ["TLSv1.2", "TLSv1.3"] {
                    notes.different(directive, "TLS 1.2 and TLS 1.3 are always both on, and nothing older");
                }
            }
            "ssl_verify_client" => {
                self.verify_client = Some(directive.clone()).filter(|_| first() != "off");
            }
            "ssl_client_certificate" => self.client_ca = Some(first()),
            "ssl_crl" => self.crl = Some(first()),
            "proxy_redirect" => self.proxy_redirect(directive, variables, notes),
            "proxy_cookie_path" | "proxy_cookie_domain" => self.cookie(directive, notes),
            "proxy_read_timeout" | "grpc_read_timeout" => self.timeout("response", directive, notes),
            "proxy_connect_timeout" | "grpc_connect_timeout" => self.timeout("connect", directive, notes),
            "keepalive_timeout" => self.timeout("idle", directive, notes),
            "client_header_timeout" => self.timeout("header", directive, notes),
            "client_body_timeout" => self.timeout("body", directive, notes),
            // Of all sites, which is decided by all of them.
            "large_client_header_buffers" | "proxy_buffer_size" | "grpc_buffer_size" => {}
            "modsecurity" | "auth_jwt" | "auth_digest" | "auth_ldap" | "auth_pam" | "auth_gss"
            | "app_protect_enable"
                if first() == "off" => {}
            _ if self.media_types.take(directive)
                || self.real_ip.take(directive, notes)
                || self.upstream_tls(directive, variables, notes) => {}
            name if is_default(name, directive.first()) => {}
            name => match effect(name) {
                Effect::Implied => {}
                Effect::Harmless => notes.harmless(directive, "has no effect here"),
                Effect::Different(why) => notes.different(directive, why),
                Effect::Limits(why) => self.close(directive, why, notes),
                Effect::Unknown => {
                    self.close(directive, "not a directive that import knows; it may limit access", notes);
                }
            },
        }
    }

    /// Reads an `allow` or `deny`. `all` becomes one rule each for IPv4 and IPv6, and `unix:` is ignored. An `allow` of
    /// something else than a range is noted and left out; such a `deny` denies access to everyone.
    fn may(&mut self, directive: &Directive, notes: &mut Notes) {
        let allows = directive.name == "allow";
        match directive.first() {
            "all" => self.access.extend(everyone().map(|range| Rule { allows, range })),
            // Clients of Unix sockets, which edge-proxyd does not listen on.
            "unix:" => {}
            text => match net_of(text) {
                Some(range) => self.access.push(Rule { allows, range }),
                None if allows => {
                    notes.closed(directive, "not a range of addresses: write it into `allow` by hand");
                }
                None => self.close(directive, "not a range of addresses", notes),
            },
        }
    }

    /// Reads a `limit_except`: only its methods are accepted, of those that were accepted before. It is ignored if its
    /// block is empty, and noted unless its block is exactly `deny all`. If no method remains, access is denied to
    /// everyone.
    fn limit_except(&mut self, directive: &Directive, notes: &mut Notes) {
        if directive.inner().is_empty() {
            return;
        }
        let mut methods: Vec<String> =
            directive.arguments.iter().map(|method| method.to_ascii_uppercase()).collect();
        methods.sort_unstable();
        methods.dedup();
        let all = directive.inner().iter().any(|one| one.name == "deny" && one.first() == "all");
        if directive.inner().len() > 1 || !all {
            notes.closed(directive, "other methods are refused to everyone");
        }
        if !self.methods.is_empty() {
            // GET includes HEAD.
            let get = methods.iter().any(|method| method == "GET");
            let before = std::mem::take(&mut self.methods);
            methods = before
                .into_iter()
                .filter(|method| methods.contains(method) || get && method == "HEAD")
                .collect();
            if methods.is_empty() {
                return self.close(directive, "refuses every method", notes);
            }
        }
        self.methods = methods;
    }

    /// Reads a duration into a key of `timeouts`, in place of an earlier value. Notes and ignores one that is not from
    /// 1 ms to 30 days.
    fn timeout(&mut self, key: &'static str, directive: &Directive, notes: &mut Notes) {
        let Some(time) = milliseconds(directive.first()) else {
            return notes.different(directive, "not a supported duration: write [timeouts] by hand");
        };
        if !(1..=30 * 86_400_000).contains(&time) {
            return notes.different(directive, "not a supported duration: [timeouts] takes 1 ms to 30 days");
        }
        self.timeouts.retain(|(known, _)| *known != key);
        self.timeouts.push((key, time));
    }

    /// Returns the timeouts and the compression of this scope as the settings of a site, sorted by key, without the
    /// timeouts of [`CONNECTION_TIMEOUTS`].
    pub(super) fn defaults(&self) -> SiteDefaults {
        let of_connection = |key: &str| CONNECTION_TIMEOUTS.iter().any(|(known, ..)| *known == key);
        let mut timeouts: Vec<_> =
            self.timeouts.iter().filter(|(key, _)| !of_connection(key)).copied().collect();
        timeouts.sort_unstable();
        SiteDefaults { timeouts, compression: self.gzip.then(|| self.least()) }
    }

    /// Returns the largest size of request content, such as `16MiB`. `None` if it is not limited or not a valid size.
    pub(super) fn body_limit(&self) -> Option<String> {
        size(&self.body_limit)
    }

    /// Returns the smallest size of content that is compressed, such as `1KiB`; `0` if `gzip_min_length` is not a valid
    /// size.
    pub(super) fn least(&self) -> String {
        size(&self.gzip_least).unwrap_or_else(|| "0".into())
    }
}

/// Returns the comment of a closed route: the position and text of the directive, and the reason `why`, with control
/// characters replaced by spaces.
pub(super) fn reason(directive: &Directive, why: &str) -> String {
    let text = format!("closed: {} `{}`: {why}", directive.place(), directive.shown());
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns a copy of a directive with the known variables in its arguments replaced by their values.
fn expand_arguments(directive: &Directive, variables: &Variables) -> Directive {
    let mut found = directive.clone();
    found.arguments.iter_mut().for_each(|text| *text = variables.expand(text));
    found
}
