//! What nginx does by itself, and edge-proxyd otherwise: no directive stands for it, so that no line could be named.

use super::scope::Scope;
use super::{Action, Edge};

/// A sentence for each difference that this configuration can show.
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
            "Services always get X-Real-IP, X-Forwarded-For, -Host, -Port and -Proto and Forwarded. What a client wrote there is removed, unless [trust] names its hop.",
        ),
        (
            forwards,
            "Server, Date and X-Accel-* of a service reach the client; X-Accel-Redirect sends no file.",
        ),
        (
            scopes().any(told),
            "What add_header added is on answers of every status, with `always` or without; on the proxy's own refusals (400, 403, 413, 502 and the like) it is not.",
        ),
        (
            stripped || used.iter().any(|upstream| upstream.host.is_some()),
            "Location of a service is passed on as it is; nginx rewrites one that begins with the address in proxy_pass.",
        ),
        (
            used.iter().any(|upstream| upstream.targets.iter().any(|target| target.starts_with("https://"))),
            "The certificate of a service at https:// is verified, which nginx does not by default: [upstream.NAME] tls = { ca = \"/PATH\" } names an authority of your own.",
        ),
        (
            edge.sites.iter().any(|site| site.server.scope.gzip),
            "Whatever is text by its media type is compressed, not what gzip_types names.",
        ),
        (
            routes().any(|route| route.path != "/"),
            "Paths are compared as they came: %2F and // are not made one before, and refused where a site has routes that not everybody may ask for.",
        ),
    ];
    all.into_iter().filter(|(so, _)| *so).map(|(_, sentence)| sentence).collect()
}
