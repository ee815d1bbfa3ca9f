//! Validation of sites and routes.

use super::super::ConfigPath;
use super::field_name::check_name;
use super::{ConfigPart, Errors, access, check_timeouts, forward, nearest};
use crate::config::{
    Access, Action, Auth, Config, CookieRules, ErrorPage, FieldEdits, PathMatch, Protocol, Response, Route,
    RouteCompression, Satisfy, Site, Upstream,
};
use crate::decide::is_http;
use edge_http::grammar::{is_field_value, is_target, is_token};
use edge_http::host::HostPattern;
use std::collections::{HashMap, HashSet};

/// Checks the site with the index `i`, and its routes. `names` and `hosts` contain the names and hosts of earlier
/// sites, and those of this site are added.
pub(super) fn check<'a>(
    errors: &mut Errors,
    config: &'a Config,
    (i, site): (usize, &'a Site),
    names: &mut HashSet<&'a str>,
    hosts: &mut HashMap<&'a HostPattern, Vec<&'a Site>>,
) {
    let mut part = errors.part(ConfigPath::Site(i), format!("site `{}`", site.name));
    if site.name.is_empty() {
        part.add_error("name", "", "empty: name the site");
    } else if !names.insert(&site.name) {
        part.add_error("name", &site.name, "duplicate site name: choose another");
    }
    if site.hosts.is_empty() {
        part.add_error(
            "hosts",
            "",
            "empty, so no request would match the site: add a name such as example.org",
        );
    }
    for host in &site.hosts {
        let text = host.to_string();
        if HostPattern::parse(&text).as_ref() != Ok(host) {
            part.add_error("hosts", text, "not a normalised host: use HostPattern::parse");
            continue;
        }
        // The same name may be served by another site at other listeners.
        let others = hosts.entry(host).or_default();
        if others.iter().any(|other| share_a_listener(site, other)) {
            part.add_error(
                "hosts",
                text,
                "duplicate host, in this site or another: remove one of the two, or bind the sites to different listeners by `listen`",
            );
        }
        others.push(site);
    }
    check_listen(&mut part, config, site);
    check_satisfy(&mut part, (site.satisfy, &site.access), site.auth.as_ref());
    if !forward::check_site(&mut part, config, site) && site.routes.is_empty() {
        part.add_error(
            "routes",
            "",
            "empty, so every request would be answered with 404: add a route or an upstream",
        );
    }
    if let Some(timeouts) = &site.timeouts {
        check_timeouts(&mut part, timeouts);
    }
    access::check_site(&mut part, config, site);
    if let Some(maintenance) = &site.maintenance {
        check_response(&mut part, &maintenance.response);
    }
    let mut seen = HashSet::new();
    for page in &site.error_pages {
        check_page(&mut part, page, &mut seen);
    }
    check_edits(&mut part, REQUEST_EDITS, &site.request_fields);
    check_edits(&mut part, RESPONSE_EDITS, &site.response_fields);
    check_upgrade(&mut part, &site.upgrade);
    let mut paths = HashSet::new();
    for (j, route) in site.routes.iter().enumerate() {
        let (PathMatch::Begins(path) | PathMatch::Exact(path) | PathMatch::Prefix(path)) = &route.path;
        let part = &mut errors.part(ConfigPath::Route(i, j), format!("site `{}`, route `{path}`", site.name));
        if !paths.insert((std::mem::discriminant(&route.path), path)) {
            part.add_error("path", path, "duplicate path: remove one of the two routes");
        }
        check_route(part, config, route, path);
        if route.require_certificate && site.client_certificates.is_none() {
            part.add_error(
                "require_certificate",
                "true",
                "the site asks for no certificates: add client_certificates, with `optional` as its mode, to the site",
            );
        }
    }
}

/// Checks a route: its paths, timeouts, compression, cookies, fields, methods, authentication, protocols and action.
/// `path` is the text of its path pattern.
fn check_route(part: &mut ConfigPart<'_>, config: &Config, route: &Route, path: &str) {
    if !path.starts_with('/') || !is_target(path.as_bytes()) || path.contains(['?', '#']) {
        part.add_error(
            "path",
            path,
            "not a valid path: begin with / and write it as browsers send it (%20 for a space), without ? and #",
        );
    }
    if let Some(prefix) = &route.strip_prefix {
        let bare = prefix.strip_suffix('/').unwrap_or(prefix);
        let inside = path.strip_prefix(bare).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !prefix.starts_with('/') || !inside {
            part.add_error(
                "strip_prefix",
                prefix,
                format!("not a prefix of the route's path: expected {path}, or leave it out"),
            );
        }
    }
    if let Some(prefix) = &route.add_prefix
        && (!prefix.starts_with('/') || !is_target(prefix.as_bytes()) || prefix.contains(['?', '#']))
    {
        part.add_error("add_prefix", prefix, "not a valid path: expected one such as /app");
    }
    if let Some(timeouts) = &route.timeouts {
        check_timeouts(part, timeouts);
    }
    if let RouteCompression::On(compression) = &route.compression {
        access::check_compression(part, compression);
    }
    check_cookies(part, &route.cookies);
    check_edits(part, REQUEST_EDITS, &route.request_fields);
    check_edits(part, RESPONSE_EDITS, &route.response_fields);
    check_methods(part, &route.methods);
    check_satisfy(part, (route.satisfy, &route.access), route.auth.as_ref());
    check_upgrade(part, route.upgrade.as_deref().unwrap_or_default());
    if let Some(auth) = &route.auth {
        access::check_auth(part, config, auth);
    }
    match &route.action {
        Action::Drop | Action::Handle { upstream: None, .. } => {}
        Action::Forward { upstream } | Action::Handle { upstream: Some(upstream), .. } => {
            let raw = |known: &Upstream| known.name == *upstream && known.protocol == Protocol::Tcp;
            if config.upstreams.iter().any(raw) {
                part.add_error(
                    "upstream",
                    upstream,
                    "the upstream is for raw TCP: write its targets as http://HOST:PORT",
                );
            }
            let names = || config.upstreams.iter().map(|upstream| upstream.name.as_str());
            if !names().any(|name| name == upstream) {
                let hint = match nearest(upstream, names()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => super::missing_upstream(upstream),
                };
                part.add_error("upstream", upstream, format!("unknown upstream: {hint}"));
            }
        }
        Action::Redirect { status, to } => {
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                part.add_error(
                    "status",
                    status.to_string(),
                    "not a redirect status: expected 301, 302, 303, 307 or 308",
                );
            }
            check_location(part, to);
        }
        Action::Respond(response) => check_response(part, response),
    }
}

/// Returns whether some listener may serve both sites: one of them is not bound to listeners, or both are bound to a
/// listener of the same name.
fn share_a_listener(one: &Site, other: &Site) -> bool {
    one.listen.is_empty()
        || other.listen.is_empty()
        || one.listen.iter().any(|name| other.listen.contains(name))
}

/// Checks that the listeners that a site is bound to exist.
fn check_listen(part: &mut ConfigPart<'_>, config: &Config, site: &Site) {
    let names = || config.listeners.iter().filter_map(|listener| listener.name.as_deref());
    for name in site.listen.iter().filter(|name| !names().any(|known| known == name.as_str())) {
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "give a listener this name, or leave `listen` out to serve the site everywhere".into(),
        };
        part.add_error("listen", name, format!("no listener has this name: {hint}"));
    }
}

/// Checks that `satisfy = any` has both an address list and an authentication of the same level, site or route.
/// `satisfy = all` is always valid.
fn check_satisfy(part: &mut ConfigPart<'_>, (satisfy, access): (Satisfy, &Access), auth: Option<&Auth>) {
    if satisfy == Satisfy::All {
        return;
    }
    if access.is_open() {
        part.add_error("satisfy", "any", "has no effect without an address list beside it: add `allow`");
    }
    if !matches!(auth, Some(Auth::Basic(_) | Auth::Forward(_))) {
        part.add_error("satisfy", "any", "has no effect without authentication beside it: add `auth`");
    }
}

/// Checks that the methods are tokens without lowercase letters, not CONNECT or TRACE, and not listed twice.
fn check_methods(part: &mut ConfigPart<'_>, methods: &[String]) {
    let mut seen = HashSet::new();
    for method in methods {
        if !is_token(method.as_bytes()) || method.bytes().any(|b| b.is_ascii_lowercase()) {
            part.add_error("methods", method, "not a valid method: write it in capitals, such as GET");
        } else if matches!(method.as_str(), "CONNECT" | "TRACE") {
            part.add_error("methods", method, "is never forwarded: leave it out");
        } else if !seen.insert(method) {
            part.add_error("methods", method, "is listed twice: remove one of the two");
        }
    }
}

/// Checks that the protocols to which clients may switch have the form of RFC 9110 §7.8, at most 64 bytes, are not
/// HTTP or TLS, and are not listed twice, regardless of letter case.
fn check_upgrade(part: &mut ConfigPart<'_>, protocols: &[String]) {
    let mut seen = HashSet::new();
    for protocol in protocols {
        // protocol-name ["/" protocol-version] (RFC 9110 §7.8).
        let mut parts = protocol.splitn(2, '/');
        if !parts.all(|token| is_token(token.as_bytes())) || protocol.len() > 64 {
            part.add_error(
                "upgrade",
                protocol,
                "is not a protocol: write the name that clients send in Upgrade, such as websocket or tailscale-control-protocol",
            );
        } else if is_http(protocol) {
            part.add_error(
                "upgrade",
                protocol,
                "would carry HTTP past every rule of this file: leave it out; h2c://HOST:PORT speaks HTTP/2 to a service",
            );
        } else if !seen.insert(protocol.to_ascii_lowercase()) {
            part.add_error("upgrade", protocol, "is there twice: remove one of the two");
        }
    }
}

/// Checks that the status is from 200 to 599, that there is no content with 204, 205 and 304, and that the media type
/// is a valid field value. The media type may be empty only without content.
fn check_response(part: &mut ConfigPart<'_>, response: &Response) {
    if !(200..=599).contains(&response.status) {
        part.add_error("status", response.status.to_string(), "not a final status: expected 200 to 599");
    }
    if matches!(response.status, 204 | 205 | 304) && !response.body.is_empty() {
        part.add_error(
            "status",
            response.status.to_string(),
            "this status allows no content: leave the body out",
        );
    }
    if !is_value(&response.content_type) || (response.content_type.is_empty() && !response.body.is_empty()) {
        part.add_error(
            "content_type",
            &response.content_type,
            "not a valid media type: expected one such as text/plain",
        );
    }
}

/// Checks that an error page has statuses, from 400 to 599 and without another page, and a media type that is a valid
/// field value. `seen` contains the statuses of earlier pages of the site, and those of this page are added.
fn check_page(part: &mut ConfigPart<'_>, page: &ErrorPage, seen: &mut HashSet<u16>) {
    if page.statuses.is_empty() {
        part.add_error("error_page.status", "", "empty: write the statuses that the page is for");
    }
    for status in &page.statuses {
        if !(400..=599).contains(status) {
            part.add_error(
                "error_page.status",
                status.to_string(),
                "not an error status: expected 400 to 599",
            );
        } else if !seen.insert(*status) {
            part.add_error("error_page.status", status.to_string(), "has two pages: remove one of the two");
        }
    }
    if page.content_type.is_empty() || !is_value(&page.content_type) {
        let fix = "not a valid media type: expected one such as text/html; charset=utf-8";
        part.add_error("error_page.content_type", &page.content_type, fix);
    }
}

/// Checks that the rules for cookies have valid attribute values without `;` and `,`, that none replaces an empty
/// value, and that the replacements of paths begin with `/`.
fn check_cookies(part: &mut ConfigPart<'_>, rules: &CookieRules) {
    let fine = |text: &str| is_value(text) && !text.contains([';', ',']);
    for (key, rules) in [("cookies.path", &rules.path), ("cookies.domain", &rules.domain)] {
        for rule in rules {
            if rule.from.is_empty() || !fine(&rule.from) || !fine(&rule.to) {
                let value = format!("{}: {}", rule.from.escape_default(), rule.to.escape_default());
                part.add_error(key, value, "not a valid attribute: expected one such as / or example.org");
            }
        }
    }
    for rule in rules.path.iter().filter(|rule| !rule.to.starts_with('/')) {
        part.add_error("cookies.path", &rule.to, "not a valid path of a cookie: begin with /");
    }
}

/// Checks that the target of a redirect is not empty, consists of visible ASCII, has no unknown placeholders, and is
/// absolute: it begins with `/` or `{path}`, or contains `://`.
fn check_location(part: &mut ConfigPart<'_>, to: &str) {
    let bare = to.replace("{host}", "").replace("{path}", "").replace("{query}", "");
    if to.is_empty() || !bare.is_empty() && !is_target(bare.as_bytes()) {
        part.add_error("to", to, "not a valid URL: expected one such as https://example.org{path}{query}");
    } else if bare.contains(['{', '}']) {
        part.add_error("to", to, "unknown placeholder: only {host}, {path} and {query} are supported");
    } else if !to.starts_with("{path}") && !to.starts_with('/') && !to.contains("://") {
        part.add_error("to", to, "relative to the requested path: begin with https://, / or {path}");
    }
}

/// The keys of the edits of one kind of message, in the order `replace`, `remove`, `set`, `add`.
type EditKeys = [&'static str; 4];

/// The keys of the edits of requests.
const REQUEST_EDITS: EditKeys =
    ["request_fields.replace", "request_fields.remove", "request_fields.set", "request_fields.add"];
/// The keys of the edits of responses.
const RESPONSE_EDITS: EditKeys =
    ["response_fields.replace", "response_fields.remove", "response_fields.set", "response_fields.add"];

/// Checks that the names of the edited fields may be edited, that the values are valid field values, and that no
/// replaced prefix is empty. Errors have the given keys.
fn check_edits(part: &mut ConfigPart<'_>, [replace, remove, set, add]: EditKeys, edits: &FieldEdits) {
    for (key, pairs) in [(set, &edits.set), (add, &edits.add)] {
        for (name, value) in pairs {
            check_name(part, key, name);
            if !is_value(value) {
                part.add_error(
                    key,
                    format!("{name}: {}", value.escape_default()),
                    "contains characters that a field value must not have",
                );
            }
        }
    }
    for name in &edits.remove {
        check_name(part, remove, name);
    }
    for (name, rules) in &edits.replace {
        check_name(part, replace, name);
        for rule in rules {
            if rule.from.is_empty() || !is_value(&rule.from) || !is_value(&rule.to) {
                let value = format!("{name}: {}: {}", rule.from.escape_default(), rule.to.escape_default());
                part.add_error(
                    replace,
                    value,
                    "not a valid replacement: expected the beginning of a value, and another",
                );
            }
        }
    }
}

/// Returns whether `value` is empty, or a valid field value without spaces and tabs at its ends.
fn is_value(value: &str) -> bool {
    value.is_empty() || is_field_value(value.as_bytes()) && value.trim_matches([' ', '\t']) == value
}
