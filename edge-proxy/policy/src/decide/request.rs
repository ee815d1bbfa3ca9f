//! The decision about one request.

use super::upgrade::{self, Upgrade};
use super::{Decision, RequestContext, Transport, Verdict, ambiguity, normalized, route};
use crate::client_address::{self, ClientAddress, Source};
use crate::config::{
    Access, Action, Auth, Config, ForwardedAs, PlainHttp, Reject, Route, Satisfy, Site, TrustedHeader,
};
use crate::early_data::{self, AddressReader, EarlyDataVerdict};
use crate::{CertificateContext, Reason, Snapshot};
use edge_http::grammar::is_target;
use edge_http::host::{HostKind, split_authority};
use edge_http::{BodyLength, Method, RequestHead, Version};
use std::borrow::Cow;
use std::net::IpAddr;

/// Decides about a request. The first rule that refuses or redirects it determines the verdict. The rules are, in
/// order: the host and the server name of the handshake; TLS that is to be passed through; plain HTTP where it is
/// refused; the site's address lists; the method and the target; the redirection of plain HTTP; a handshake that did
/// not request the site's client certificate; ambiguous paths; the route; a missing client certificate; the address
/// lists in connection with authentication; the methods of the route; maintenance of the site; then the route's
/// action, and for forwarded requests upgrades and the length of the content.
///
/// ```
/// use edge_policy::config::{Config, PlainHttp, Route, Site, Target, Upstream};
/// use edge_policy::decide::{RequestContext, Verdict, decide};
/// use edge_http::{RequestHead, Version};
/// use edge_policy::{Reason, Snapshot};
///
/// let mut site = Site::new("git", vec!["git.example.org".parse().unwrap()]).route(Route::forward("forgejo"));
/// site.plain = PlainHttp::Serve;
/// let target = Target::Tcp { host: "127.0.0.1".into(), port: 3000 };
/// let config = Config { sites: vec![site], upstreams: vec![Upstream::new("forgejo", target)], ..Config::default() };
/// let snapshot = Snapshot::new(config).unwrap();
/// let facts = RequestContext::plain("192.0.2.1:40000".parse().unwrap());
/// let mut head = RequestHead::new(Version::Http11);
/// (head.authority, head.target) = ("git.example.org".into(), "/".into());
/// assert_eq!(decide(&snapshot, &facts, &head).verdict, Verdict::Forward { upstream: 0 });
/// head.authority = "198.51.100.7".into();
/// assert_eq!(decide(&snapshot, &facts, &head).verdict, Verdict::Drop { why: Reason::RawAddress });
/// ```
pub fn decide<'s>(snapshot: &'s Snapshot, facts: &RequestContext<'_>, head: &RequestHead) -> Decision<'s> {
    let config = snapshot.config();
    let mut decision = Decision {
        client: restore_client(config, facts, head),
        site: None,
        route: None,
        early: EarlyDataVerdict::NotEarly,
        upgrade: None,
        body_limit: None,
        auth: None,
        readings: Vec::new(),
        address_field: match &config.trust.header {
            TrustedHeader::Custom(name) => Some(name),
            TrustedHeader::Forwarded | TrustedHeader::XForwardedFor | TrustedHeader::XRealIp => None,
        },
        http3: false,
        identities: snapshot.identities(),
        forwarded: ForwardedAs::Chain,
        tells: config.tailnet.as_ref().is_some_and(|tailnet| tailnet.tell),
        verdict: Verdict::Drop { why: Reason::UnknownName },
    };
    decision.verdict = evaluate(snapshot, facts, head, &mut decision).unwrap_or_else(|verdict| verdict);
    if facts.early {
        let (site, route) = (decision.site.map(|(_, site)| site), decision.route.map(|(_, route)| route));
        decision.early = early_data::verdict(site, route, head);
        if decision.early == EarlyDataVerdict::Allowed && facts.transport == Transport::Quic {
            let reader = match (decision.auth, &decision.verdict) {
                (Some(Auth::Forward(_)), _) | (_, Verdict::Handle { .. }) => AddressReader::Program,
                _ => AddressReader::None,
            };
            decision.early = early_data::unvalidated_address(config, facts.peer.ip(), site, reader, head);
        }
    }
    decision
}

/// Returns the client's address, restored from the connection's PROXY header and, as far as the proxies are trusted,
/// the head's forwarding header, with the source of that address.
fn restore_client(config: &Config, facts: &RequestContext<'_>, head: &RequestHead) -> ClientAddress {
    let source = facts.proxied.unwrap_or(facts.peer);
    let mut client =
        client_address::restore(&config.trust, source, facts.interface, facts.identities, &head.fields);
    if facts.proxied.is_some() && client.source == Source::Connection {
        client.source = Source::ProxyProtocol;
    }
    client
}

/// Applies the rules of [`decide`] in their order and returns the verdict. Intermediate results are stored in
/// `decision`.
///
/// # Errors
/// The verdict of the rule that refuses, drops or redirects the request, which ends the evaluation.
fn evaluate<'s>(
    snapshot: &'s Snapshot,
    facts: &RequestContext<'_>,
    head: &RequestHead,
    decision: &mut Decision<'s>,
) -> Result<Verdict<'s>, Verdict<'s>> {
    let config = snapshot.config();
    let (index, host) = site_of(snapshot, facts, head)?;
    let site = &config.sites[index];
    decision.site = Some((index, site));
    decision.http3 = snapshot.has_http3(index);
    let plain = facts.transport == Transport::Plain;
    // Only after a reload can a connection that was decrypted here be for such a site.
    if site.passthrough.is_some() && !plain {
        return Err(refuse(421, Reason::NotTerminated));
    }
    if plain && site.plain == PlainHttp::Refuse {
        return Err(reject(config.reject, 421, Reason::PlainRefused));
    }
    let client = decision.client.address;
    // With `satisfy = any` the address list is asked once it is known which authentication could stand in for it.
    if site.satisfy == Satisfy::All && !site.access.permits(client) {
        return Err(reject(site.reject, 403, Reason::AccessDenied));
    }
    check_head(config, head)?;
    // A trusted proxy reports the client's scheme. If that was https, a redirect would loop forever.
    if plain && site.plain == PlainHttp::Redirect && decision.client.forwarded.https != Some(true) {
        return Err(to_https(config, &host, &head.target));
    }
    if site.client_certificates.is_some() && facts.certificate == CertificateContext::NotAsked {
        return Err(refuse(421, Reason::ClientCertificateNotAsked));
    }
    // `OPTIONS *` concerns the server as a whole; the route of `/` answers it.
    let path = if head.target == "*" { "/" } else { route::split(&head.target).0 };
    let found = route::most_specific(snapshot, index, path.as_bytes());
    decision.route = found.map(|i| (i, &site.routes[i]));
    let auth = decision.route.and_then(|(_, route)| route.auth.as_ref()).or(site.auth.as_ref());
    let asks = matches!(auth, Some(Auth::Forward(_)));
    // Also where no route is found, so that the answer does not depend on how a path is spelt.
    if snapshot.path_decides_access(index) || asks {
        decision.readings = ambiguity::readings(snapshot, index, (&head.target, path), asks)
            .map_err(|_| refuse(400, Reason::AmbiguousPath))?;
    }
    let Some((number, route)) = decision.route else {
        // Where an authentication could stand in for the address, none does without a route.
        let permitted = site.satisfy == Satisfy::All || site.access.permits(client);
        return Err(if permitted {
            refuse(404, Reason::NoRoute)
        } else {
            reject(site.reject, 403, Reason::AccessDenied)
        });
    };
    if route.require_certificate && !matches!(facts.certificate, CertificateContext::Verified(_)) {
        return Err(refuse(403, Reason::ClientCertificateMissing));
    }
    decision.auth = authentication(site, route, client)?;
    if !accepts_method(route, head) {
        return Err(refuse(405, Reason::MethodNotAllowed));
    }
    // No password is asked for, and no service for its opinion. Silence stays silence.
    if site.under_maintenance && !matches!(route.action, Action::Drop) {
        return Err(refuse(503, Reason::UnderMaintenance));
    }
    apply_action(snapshot, (index, site), (number, route), head, &host, decision)
}

/// Applies the address lists of the site and of the route, and returns the authentication that is then required,
/// `None` if none is.
///
/// Each list belongs to its level, site or route. With `satisfy = all` it must permit the client. With `any`, a client
/// that it permits is excused from the authentication of the same level, and one that it does not permit needs the
/// authentication in force, whichever level that is from.
///
/// # Errors
/// The verdict on a client that is denied: 403 or a drop, by the site's `reject`.
fn authentication<'s>(
    site: &'s Site,
    route: &'s Route,
    client: IpAddr,
) -> Result<Option<&'s Auth>, Verdict<'s>> {
    let auth = route.auth.as_ref().or(site.auth.as_ref()).filter(|auth| !matches!(auth, Auth::Open));
    if site.access.is_open() && route.access.is_open() {
        // Usual: every address is permitted, and excused from nothing.
        return Ok(auth);
    }
    let mut stands_in = false;
    for (access, satisfy) in [(&site.access, site.satisfy), (&route.access, route.satisfy)] {
        if !access.permits(client) {
            if satisfy == Satisfy::All || auth.is_none() {
                return Err(reject(site.reject, 403, Reason::AccessDenied));
            }
            stands_in = true;
        }
    }
    let excuses = |access: &Access, satisfy| satisfy == Satisfy::Any && !access.is_open();
    let excused = if route.auth.is_some() {
        excuses(&route.access, route.satisfy)
    } else {
        excuses(&site.access, site.satisfy)
    };
    Ok(auth.filter(|_| stands_in || !excused))
}

/// Returns whether the route accepts the method of the request: the route lists it, or no method at all, or GET for
/// HEAD. Extended CONNECT counts as GET, the method of the same handshake over HTTP/1.1 (RFC 8441 §5, RFC 9220 §3).
fn accepts_method(route: &Route, head: &RequestHead) -> bool {
    let named = |name: &str| route.methods.iter().any(|taken| taken == name);
    let is_extended = head.method == Method::Connect && head.upgrade.is_some();
    let method = if is_extended { &Method::Get } else { &head.method };
    // HEAD asks for what GET would answer (RFC 9110 §9.3.2).
    route.methods.is_empty() || named(method.as_str()) || (*method == Method::Head && named("GET"))
}

/// Returns the index of the request's site, and the normalized host: a name in lower case without a trailing dot, or
/// an IP address in its canonical form.
///
/// # Errors
/// The verdict if the authority is missing or invalid, no site has the host, or the handshake was for another site.
fn site_of<'h, 's>(
    snapshot: &Snapshot,
    facts: &RequestContext<'_>,
    head: &'h RequestHead,
) -> Result<(usize, Cow<'h, str>), Verdict<'s>> {
    let unknown = |why| Err(reject(snapshot.config().reject, 421, why));
    if head.authority.is_empty() {
        return unknown(Reason::NoHost);
    }
    let (host, kind, asked) = match snapshot.site_spelt(&head.authority, facts.listener) {
        // Usual. The kind matters only for a host without a site.
        Some(site) => (Cow::Borrowed(head.authority.as_str()), HostKind::Name, Some(site)),
        None => {
            let Some((host, _, kind)) = split_authority(&head.authority) else {
                return unknown(Reason::BadAuthority);
            };
            let address = if kind == HostKind::Address { host.parse::<IpAddr>().ok() } else { None };
            let host = address.map_or_else(|| normalized(host), |address| Cow::Owned(address.to_string()));
            let asked = snapshot.site_at(&host, facts.listener);
            (host, kind, asked)
        }
    };
    if facts.transport.is_secure() {
        // The handshake selected a site, and with it the certificate and the rules (RFC 9110 §7.4, §15.5.20).
        let chosen = match facts.sni {
            // Mostly they are spelt alike.
            Some(sni) if sni == host => asked,
            sni => sni.and_then(|sni| snapshot.site_at(&normalized(sni), facts.listener)),
        };
        return match asked {
            Some(site) if chosen == Some(site) => Ok((site, host)),
            _ => Err(refuse(421, Reason::AuthorityNotCovered)),
        };
    }
    match (asked, kind) {
        (Some(site), _) => Ok((site, host)),
        (None, HostKind::Address) => unknown(Reason::RawAddress),
        (None, HostKind::Name) => unknown(Reason::UnknownName),
    }
}

/// Checks the method and the target of a request, independent of its site.
///
/// # Errors
/// The verdict on TRACE (405), extended CONNECT other than for WebSocket (501), other CONNECT (405), and targets that
/// are too long (414) or malformed (400). `*` is permitted with OPTIONS only.
fn check_head<'s>(config: &Config, head: &RequestHead) -> Result<(), Verdict<'s>> {
    if head.method == Method::Trace {
        return Err(refuse(405, Reason::Trace));
    }
    if upgrade::is_unknown(head) {
        return Err(refuse(501, Reason::UnknownProtocol));
    }
    if head.method == Method::Connect && (head.upgrade.is_none() || head.version < Version::Http2) {
        return Err(refuse(405, Reason::Connect));
    }
    // What HTTP/1.1 reads is bounded before.
    if head.target.len() > config.limits.target_bytes {
        return Err(refuse(414, Reason::TargetTooLong));
    }
    let asterisk = head.target == "*" && head.method == Method::Options;
    let path = head.target.starts_with('/') && is_target(head.target.as_bytes());
    if !asterisk && !path {
        return Err(refuse(400, Reason::BadTarget));
    }
    Ok(())
}

/// Returns the verdict for the action of the route. For a forwarded or handled request, stores the upgrade, the
/// content limit and the forwarded addresses in `decision`.
///
/// # Errors
/// The verdict if the route drops requests, the upgrade comes with content (400) or an extended CONNECT is not allowed
/// (501), or the declared content is too long (413).
fn apply_action<'s>(
    snapshot: &'s Snapshot,
    (index, site): (usize, &'s Site),
    (number, route): (usize, &'s Route),
    head: &RequestHead,
    host: &str,
    decision: &mut Decision<'s>,
) -> Result<Verdict<'s>, Verdict<'s>> {
    match &route.action {
        Action::Drop => Err(Verdict::Drop { why: Reason::RouteDrops }),
        Action::Respond(response) => Ok(Verdict::Respond(response)),
        Action::Redirect { status, to } => {
            Ok(Verdict::Redirect { status: *status, location: expand(to, host, &head.target) })
        }
        Action::Forward { .. } | Action::Handle { .. } => {
            match upgrade::of(head, route.upgrade.as_ref().unwrap_or(&site.upgrade)) {
                Upgrade::Pass(protocol) => decision.upgrade = Some(protocol),
                Upgrade::Content => return Err(refuse(400, Reason::UpgradeWithContent)),
                Upgrade::None if head.method == Method::Connect => {
                    return Err(refuse(501, Reason::UnknownProtocol));
                }
                Upgrade::None => decision.body_limit = route.body_limit.or(site.body_limit),
            }
            if let (BodyLength::Exact(length), Some(limit)) = (head.body, decision.body_limit)
                && length > limit
            {
                return Err(refuse(413, Reason::ContentTooLarge));
            }
            match (&route.action, snapshot.upstream(index, number)) {
                (Action::Handle { handler, .. }, upstream) => Ok(Verdict::Handle { handler, upstream }),
                (_, Some(upstream)) => {
                    decision.forwarded = snapshot.config().upstreams[upstream].forwarded;
                    Ok(Verdict::Forward { upstream })
                }
                // Unreachable: validation of the snapshot rejects such a route.
                (_, None) => Err(refuse(404, Reason::NoRoute)),
            }
        }
    }
}

/// Returns the verdict to redirect (308) to the URL with the scheme https, this host and this target, at the
/// configured HTTPS port. `*` becomes `/`.
fn to_https<'s>(config: &Config, host: &str, target: &str) -> Verdict<'s> {
    let target = if target == "*" { "/" } else { target };
    let port = match config.https_port {
        None | Some(443) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let location = if host.contains(':') {
        format!("https://[{host}]{port}{target}")
    } else {
        format!("https://{host}{port}{target}")
    };
    Verdict::Redirect { status: 308, location }
}

/// Returns the URL of a redirect: `to` with `{host}`, `{path}` and `{query}` (with its `?`) replaced in a single pass.
/// IPv6 addresses are bracketed. If `to` begins with `{path}`, the URL begins with exactly one slash, so that it never
/// names another host.
fn expand(to: &str, host: &str, target: &str) -> String {
    let (path, query) = if target == "*" { ("/", "") } else { route::split(target) };
    let bracketed;
    let host = if host.contains(':') {
        bracketed = format!("[{host}]");
        &bracketed
    } else {
        host
    };
    // A single pass: inserted text is not expanded again.
    let mut location = String::with_capacity(to.len() + target.len());
    let mut rest = to;
    while let Some(at) = rest.find('{') {
        location.push_str(&rest[..at]);
        rest = &rest[at..];
        let value = [("{host}", host), ("{path}", path), ("{query}", query)];
        match value.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                location.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                location.push('{');
                rest = &rest[1..];
            }
        }
    }
    location.push_str(rest);
    if to.starts_with("{path}") {
        // A path of `//elsewhere` (browsers treat `/\` alike) would name another host (RFC 3986 §4.2).
        let rest = location.trim_start_matches(['/', '\\']);
        location = format!("/{rest}");
    }
    location
}

/// Returns the verdict to refuse the request with this status and reason.
const fn refuse<'s>(status: u16, why: Reason) -> Verdict<'s> {
    Verdict::Refuse { status, why }
}

/// Returns the verdict to reject the request in this form: drop it silently, or refuse it with this status.
const fn reject<'s>(how: Reject, status: u16, why: Reason) -> Verdict<'s> {
    match how {
        Reject::Silent => Verdict::Drop { why },
        Reject::Alert => refuse(status, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Route;
    use proptest::prelude::*;

    /// Returns the configuration of a site for these hosts, and of further ones.
    fn configured(more: &[&str]) -> Snapshot {
        let hosts = ["a.test", "b-c.d_e.test", "192.0.2.1", "*.w.test", "w.test"].iter().chain(more);
        let sites = hosts.map(|host| {
            let mut site = Site::new(*host, vec![host.parse().unwrap()]).route(Route::forward("up"));
            site.plain = PlainHttp::Serve;
            site
        });
        let target = crate::config::Target::Tcp { host: "127.0.0.1".into(), port: 1 };
        let upstreams = vec![crate::config::Upstream::new("up", target)];
        Snapshot::new(Config { sites: sites.collect(), upstreams, ..Config::default() }).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        /// An authority that is spelt as a name of a site is decided about as one that is split and normalized, which
        /// happens to all of them if the names of sites cannot be compared with authorities.
        #[test]
        fn spelling_as_configured_decides_nothing(
            name in "(a\\.test|b-c\\.d_e\\.test|192\\.0\\.2\\.1|w\\.test|x\\.w\\.test|A\\.test|::1|)",
            rest in "(|\\.|:80|:|:x|\\.:443|@|x)",
            secure: bool,
        ) {
            let direct = configured(&[]);
            let slow = configured(&["::1"]);
            prop_assert!(direct.site_spelt("a.test", None).is_some());
            prop_assert!(slow.site_spelt("a.test", None).is_none());
            let peer = "192.0.2.9:40000".parse().unwrap();
            let facts =
                if secure { RequestContext::tls(peer, "a.test") } else { RequestContext::plain(peer) };
            let mut head = RequestHead::new(Version::Http11);
            (head.authority, head.target) = (format!("{name}{rest}"), "/".into());
            let (one, other) = (decide(&direct, &facts, &head), decide(&slow, &facts, &head));
            prop_assert_eq!(one.verdict, other.verdict, "{}", head.authority);
            prop_assert_eq!(one.site.map(|(index, _)| index), other.site.map(|(index, _)| index));
        }
    }

    #[test]
    fn placeholders_are_filled_once() {
        assert_eq!(expand("https://{host}{path}{query}", "h", "/{host}?q"), "https://h/{host}?q");
        assert_eq!(expand("{path}/{x}", "h", "/a"), "/a/{x}");
        assert_eq!(expand("{path}/", "h", "//evil.example"), "/evil.example/");
        assert_eq!(expand("{path}", "h", "/\\evil.example"), "/evil.example");
    }
}
