//! The comparison of the replies of nginx and edge-proxyd.

use super::job::{ClientCertificateKind, Probe, Reply, Version};
use super::paths::place;
use super::shares::Groups;
use crate::import::{Directive, Impact, Outline, OutlinedServer};
use std::net::SocketAddr;

/// A request to which nginx and edge-proxyd reply differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The harm of the difference.
    pub(super) impact: Impact,
    /// The file and line of the location or server that handles the request in nginx; `upstream` for the distribution
    /// over targets, and `no server` without one.
    pub(super) place: String,
    /// The description of the request.
    pub(super) request: String,
    /// The description of the reply of nginx.
    pub(super) nginx: String,
    /// The description of the reply of edge-proxyd.
    pub(super) edge: String,
}

/// Request fields that are not compared, in lower case, because both servers set them in their own way or the
/// comparison uses them.
const OWN: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "early-data",
    "forwarded",
    "upgrade",
    "user-agent",
    "x-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-port",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-nginx-proxy",
    "x-original-host",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-prove-answer",
    "x-prove-denied",
    "x-request-id",
    "x-scheme",
    "x-url-scheme",
];

/// Returns the differences between the replies of nginx, `theirs`, and of edge-proxyd, `ours`, to the requests `asked`,
/// the worst first and without duplicates. Also compares how requests are distributed over the targets of an upstream.
pub(super) fn differences(
    asked: &[Probe],
    theirs: &[Reply],
    ours: &[Reply],
    outline: &Outline,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let groups = Groups::of(outline);
    for (nginx, edge) in groups.differences(theirs, ours) {
        let request = "the requests of all targets of one upstream".to_owned();
        found.push(Difference { impact: Impact::Different, place: "upstream".into(), request, nginx, edge });
    }
    for ((request, nginx), edge) in asked.iter().zip(theirs).zip(ours) {
        let Some(impact) = impact(request, nginx, edge, (outline, &groups)) else { continue };
        let server = server(request, outline);
        let one = Difference {
            // The harm that the difference does.
            impact,
            place: match (server, forward(request, outline)) {
                (Some(server), _) => place(server, &request.path),
                (None, Some(forward)) => forward.place(),
                (None, None) => "no server".into(),
            },
            request: describe_request(request),
            nginx: describe_reply(nginx),
            edge: describe_reply(edge),
        };
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found.sort_by_key(|one| one.impact);
    found
}

/// Returns true if the path of a request contains `%`, `//`, `/.` or an uppercase letter, so that programs may treat
/// another path as the same.
fn has_other_spellings(request: &Probe) -> bool {
    let path = &request.path;
    path.contains('%')
        || path.contains("//")
        || path.contains("/.")
        || path.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Returns true if a reply is a closed connection or a status from 400 to 599 other than 500, given by the server
/// itself and not by a service.
fn is_refusal(answer: &Reply) -> bool {
    // 500 is a fault of its own, such as a path that a rewrite left empty.
    answer.service.is_none()
        && answer.status.is_none_or(|status| (400..600).contains(&status) && status != 500)
}

/// Returns the harm of the difference between the replies of nginx and edge-proxyd to a request. `None` if the replies
/// are equal, differ as documented, or one of the servers does not speak the protocol.
fn impact(
    request: &Probe,
    nginx: &Reply,
    edge: &Reply,
    (outline, groups): (&Outline, &Groups),
) -> Option<Impact> {
    // Each speaks what it speaks: HTTP/2 is always on here.
    if nginx.unspoken || edge.unspoken {
        return None;
    }
    // Challenges over HTTP are not served, or are redirected with everything else.
    if nginx.service.is_none() && edge.service.is_none() && request.path.contains("well-known/acme-challenge")
    {
        return None;
    }
    match (is_refusal(nginx), is_refusal(edge)) {
        (true, true) => {
            let same = is_unusual(request, outline)
                || nginx.page == edge.page && (nginx.page.is_some() || refusals_agree(nginx, edge));
            return (!same).then_some(Impact::Different);
        }
        // nginx refuses long content before it looks at the location.
        (true, false) if nginx.status == Some(413) && edge.service.is_none() => return None,
        (true, false) => {
            // A redirect shows nothing of a service.
            let shows =
                edge.service.is_some() || edge.status.is_some_and(|status| (200..300).contains(&status));
            return Some(if shows { Impact::Open } else { Impact::Different });
        }
        (false, true) => {
            return (!is_unusual(request, outline)).then_some(Impact::Closed);
        }
        (false, false) => {}
    }
    // Other spellings of a path are compared as they arrive, unlike by nginx, which is said in the result.
    if has_other_spellings(request) {
        return None;
    }
    let same = match (&nginx.service, &edge.service) {
        (Some(one), Some(other)) => {
            // Fields of the client that nginx passes on are its own matter.
            let passed = |name: &str, value: &str| {
                request.fields.iter().any(|(known, sent)| known.eq_ignore_ascii_case(name) && sent == value)
            };
            let fields = one
                .fields
                .iter()
                .filter(|(name, value)| !OWN.contains(&name.as_str()) && !passed(name, value));
            // WebSocket passes here without being named, and nothing else does.
            let switches = request.fields.iter().any(|(name, _)| name == "Upgrade");
            let upgrade = one.field("upgrade").filter(|_| switches);
            groups.are_one(&one.name, &other.name)
                && nginx.status == edge.status
                && nginx.cookies == edge.cookies
                && redirect(request, nginx) == redirect(request, edge)
                && (upgrade.is_none() || upgrade == other.field("upgrade"))
                && one.line == other.line
                && fields.clone().all(|(name, value)| {
                    let ours = other.field(name);
                    // Each makes identifiers of its own.
                    let both = is_identifier(value) && ours.is_some_and(is_identifier);
                    ours == Some(value.as_str()) || value.is_empty() || both
                })
        }
        (None, None) => {
            let class = |answer: &Reply| {
                answer.status.map(|status| if status == 200 { status } else { status / 100 })
            };
            class(nginx) == class(edge)
                && nginx.page == edge.page
                && redirect(request, nginx) == redirect(request, edge)
        }
        _ => false,
    };
    (!same).then_some(Impact::Different)
}

/// Statuses of refusals that differ as documented: that of nginx, that of edge-proxyd, and the reason.
const OTHER_REFUSALS: &[(u16, u16, &str)] = &[
    (
        403,
        401,
        "a place of `error_page 401` refuses, and here the answer of the authentication service goes on",
    ),
    (403, 405, "`limit_except` refuses a method with 403, and `methods` with 405"),
    (405, 403, "nginx does not take the method for a file, and files are not served here"),
];

/// Returns true if two refusals tell the client the same, or differ as documented in [`OTHER_REFUSALS`]. Two different
/// statuses of 401, 403 and 405 do not agree; any other pair does, also with a closed connection.
fn refusals_agree(nginx: &Reply, edge: &Reply) -> bool {
    let (Some(one), Some(other)) = (nginx.status, edge.status) else { return true };
    let tells = |status: u16| matches!(status, 401 | 403 | 405);
    let documented = OTHER_REFUSALS.iter().any(|(nginx, edge, _)| (*nginx, *edge) == (one, other));
    one == other || documented || !(tells(one) && tells(other))
}

/// Returns true if edge-proxyd may handle a request otherwise than nginx: no server has the name, the server name in
/// the handshake is not the host, or the path has `%`, `//`, `/..` or an uppercase letter.
fn is_unusual(request: &Probe, outline: &Outline) -> bool {
    let unknown = server(request, outline).is_none() && forward(request, outline).is_none();
    let other = request.tls && request.sni.as_deref() != Some(request.host.as_str());
    let spelt = request.path.contains('%') || request.path.contains("//") || request.path.contains("/..");
    unknown || other || spelt || request.path.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Returns true if a value is a request identifier of 32 hexadecimal digits, as both servers generate it.
fn is_identifier(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the target of a redirect as an absolute URL, without its port, which nginx adds or leaves out by its own
/// rules. `None` if the reply has no `Location`.
fn redirect(request: &Probe, answer: &Reply) -> Option<String> {
    let to = answer.location.as_deref()?;
    let scheme = if request.tls { "https" } else { "http" };
    let Some((scheme, rest)) = to.split_once("://") else {
        return Some(format!("{scheme}://{}{to}", request.host));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let bare = authority.trim_end_matches(|c: char| c.is_ascii_digit());
    let host = bare.strip_suffix(':').unwrap_or(authority);
    Some(format!("{scheme}://{host}{}", if path.is_empty() { "/" } else { path }))
}

/// Returns the server of `http` with the host of a request at its address: by exact name, or else by wildcard, or else
/// by `*`. A server at exactly this address precedes those that listen on all addresses. `None` if there is none.
fn server<'o>(request: &Probe, outline: &'o Outline) -> Option<&'o Directive> {
    let exact = |host: &String| *host == request.host;
    let below = |host: &String| {
        host.strip_prefix('*').is_some_and(|end| !end.is_empty() && request.host.ends_with(end))
    };
    let at = |server: &&OutlinedServer| {
        let here = |address: &SocketAddr| {
            address.port() == request.to.port()
                && (address.ip() == request.to.ip() || address.ip().is_unspecified())
        };
        let own = outline.servers.iter().any(|server| server.addresses.contains(&request.to));
        server.addresses.iter().any(|address| if own { *address == request.to } else { here(address) })
    };
    let find = |has: &dyn Fn(&String) -> bool| {
        let found = outline.servers.iter().filter(at).find(|server| server.hosts.iter().any(has));
        found.map(|server| &server.directive)
    };
    find(&exact).or_else(|| find(&below)).or_else(|| find(&|host: &String| host == "*"))
}

/// Returns the first server of `stream` at the address of a request that forwards its host, or every host. `None` if
/// there is none.
fn forward<'o>(request: &Probe, outline: &'o Outline) -> Option<&'o Directive> {
    let has = |host: &String| {
        *host == request.host || host.strip_prefix('*').is_some_and(|end| request.host.ends_with(end))
    };
    let at = |address: &SocketAddr| {
        address.port() == request.to.port()
            && (address.ip() == request.to.ip() || address.ip().is_unspecified())
    };
    let found = outline
        .forwards
        .iter()
        .find(|one| one.addresses.iter().any(at) && (one.hosts.is_empty() || one.hosts.iter().any(has)));
    found.map(|one| &one.directive)
}

/// Returns a description of a request: method, URL, addresses, and a differing server name, version, certificate and
/// fields.
fn describe_request(request: &Probe) -> String {
    if request.version == Version::Text {
        return format!("a connection to {} from {}", request.to, request.from);
    }
    let scheme = if request.tls { "https" } else { "http" };
    let mut text = format!(
        "{} {scheme}://{}{} at {} from {}",
        request.method, request.host, request.path, request.to, request.from
    );
    if request.tls && request.sni.as_deref() != Some(request.host.as_str()) {
        text += &format!(", SNI {}", request.sni.as_deref().unwrap_or("none"));
    }
    match request.version {
        Version::Http1 | Version::Text => {}
        Version::Http2 => text += ", HTTP/2",
        Version::Http3 => text += ", HTTP/3",
    }
    match request.certificate {
        None => {}
        Some(ClientCertificateKind::Known) => text += ", with a client certificate",
        Some(ClientCertificateKind::Foreign) => text += ", with a client certificate of another authority",
        Some(ClientCertificateKind::Revoked) => text += ", with a client certificate that is revoked",
    }
    for (name, value) in &request.fields {
        text += &format!(", {name}: {value}");
    }
    text
}

/// Returns a description of a reply: status, redirect, cookies, error page and the request that a service received; or
/// that the connection was closed or forwarded.
fn describe_reply(answer: &Reply) -> String {
    let Some(status) = answer.status else {
        return match &answer.service {
            Some(service) => format!("forwards to {}, which got `{}`", service.name, service.line),
            None => "closes the connection".into(),
        };
    };
    let mut text = status.to_string();
    if let Some(to) = &answer.location {
        text += &format!(" to {to}");
    }
    for cookie in &answer.cookies {
        text += &format!(", cookie {cookie}");
    }
    if let Some(page) = &answer.page {
        text += &format!(" with `{page}`");
    }
    if let Some(service) = &answer.service {
        let fields: Vec<String> = service
            .fields
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        text += &format!(" from {}, which got {} ({})", service.name, service.line, fields.join(", "));
    }
    text
}
