//! Differences between nginx and edge-proxyd in default behaviour, which no directive expresses.

use super::scope::Scope;
use super::{Action, Edge};

/// Returns a sentence for each difference that this configuration can show.
pub(super) fn without_a_directive(edge: &Edge) -> Vec<&'static str> {
    let routes = || edge.sites.iter().flat_map(|site| &site.server.routes);
    let scopes =
        || edge.sites.iter().map(|site| &site.server.scope).chain(routes().map(|route| &route.scope));
    let forwards = routes().any(|route| matches!(route.action, Action::Forward { .. }));
    let stripped = routes().any(|route| matches!(&route.action, Action::Forward { strip: Some(_), .. }));
    let used = &edge.upstreams.used;
    let told = |scope: &Scope| !scope.response.is_empty();
    let all = [
        (
            forwards,
            "Upstreams always receive X-Real-IP, X-Forwarded-For, -Host, -Port and -Proto, and Forwarded. Values sent by a client are removed, unless [trust] lists it as a proxy.",
        ),
        (
            forwards,
            "Server, Date and X-Accel-* of an upstream reach the client; X-Accel-Redirect has no effect.",
        ),
        (
            scopes().any(told),
            "Fields of add_header are added to responses of every status, with or without `always`; the proxy's own error responses (400, 403, 413, 502 and the like) do not have them.",
        ),
        (
            stripped || used.iter().any(|upstream| upstream.host.is_some()),
            "The Location of an upstream is forwarded unchanged; nginx rewrites one that begins with the address in proxy_pass.",
        ),
        (
            used.iter().any(|upstream| upstream.targets.iter().any(|target| target.starts_with("https://"))),
            "The certificate of an https:// upstream is verified, which nginx does not do by default: [upstream.NAME] tls = { ca = \"/PATH\" } trusts a private authority.",
        ),
        (
            edge.sites.iter().any(|site| site.server.scope.gzip),
            "Every textual media type is compressed, independently of gzip_types.",
        ),
        (
            routes().any(|route| route.path != "/"),
            "Paths are compared as they arrive: %2F and // are not normalised, and are refused on sites whose routes restrict access.",
        ),
    ];
    all.into_iter().filter(|(so, _)| *so).map(|(_, sentence)| sentence).collect()
}
