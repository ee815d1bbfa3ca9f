//! Differences in default behaviour between nginx and edge-proxyd, which no directive shows.

use super::EdgeConfig;
use super::route::Paths;

/// Returns a sentence for each difference in default behaviour between nginx and edge-proxyd that can affect requests
/// to this configuration.
pub(super) fn default_differences(edge: &EdgeConfig) -> Vec<&'static str> {
    let bodies = || edge.sites.iter().map(|site| &site.body);
    let keys = || bodies().flat_map(|body| body.routes.iter().flat_map(|(_, one)| &one.keys));
    let forwards = keys().any(|key| key.starts_with("upstream = "));
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
            forwards,
            "WebSocket passes without being named; for another protocol in Upgrade, such as headscale's, write upgrade = [\"tailscale-control-protocol\", \"DERP\", \"websocket\"] in the site.",
        ),
        (
            keys().any(|key| key.starts_with("response_headers") && key.contains("add = ")),
            "Fields of add_header are added to responses of every status, with or without `always`; the proxy's own error responses (400, 403, 413, 502 and the like) do not have them.",
        ),
        (
            bodies().any(|body| body.keys.iter().any(|key| key.starts_with("compression"))),
            "Every textual media type is compressed, independently of gzip_types.",
        ),
        (
            bodies().flat_map(|body| &body.routes).any(|(paths, one)| {
                matches!(paths, Paths::Begins(_))
                    && one.keys.iter().any(|key| key.starts_with("respond = ") && key.contains(" body = "))
            }),
            "The text of `return` has one media type at all paths of a location; nginx takes that of an extension in the path, such as text/html for /x.html.",
        ),
        (
            bodies().any(|body| body.routes.len() > 1),
            "Paths are compared as they arrive: %2F and // are not normalised, and a path is refused with 400 where a reading of it would be decided otherwise.",
        ),
    ];
    all.into_iter().filter(|(so, _)| *so).map(|(_, sentence)| sentence).collect()
}
