//! Validation of TCP forwarding: listeners with a forward, and sites with TLS passthrough.

use super::{ConfigPart, nearest};
use crate::config::{Config, FieldEdits, Listener, ListenerKind, PlainHttp, Protocol, RateLimits, Site};
use std::time::Duration;

/// Checks that a listener for TCP, and no other, has a forward. Its upstream must exist and be for TCP, its idle
/// timeout be from 1 ms to 30 days, and its limits of concurrent connections not be 0.
pub(super) fn check_listener(part: &mut ConfigPart<'_>, config: &Config, listener: &Listener) {
    match (listener.kind, &listener.forward) {
        (ListenerKind::Tcp, None) => {
            part.add_error("forward", "", "missing: write the upstream that connections are forwarded to");
        }
        (ListenerKind::Plain | ListenerKind::Tls { .. }, Some(forward)) => {
            part.add_error(
                "forward",
                &forward.upstream,
                "has no effect on a listener for HTTP: use Listener::tcp",
            );
        }
        (ListenerKind::Tcp, Some(forward)) => {
            check_upstream(part, "forward", config, &forward.upstream);
            let month = Duration::from_secs(30 * 86_400);
            if let Some(idle) = forward.idle
                && !(Duration::from_millis(1)..=month).contains(&idle)
            {
                part.add_error("idle", format!("{idle:?}"), "out of range: write 1 ms to 30 days");
            }
            let limits = [
                ("rate.client_concurrent", forward.rate.client_concurrent),
                ("rate.concurrent", forward.rate.concurrent),
            ];
            for (key, _) in limits.iter().filter(|(_, limit)| *limit == Some(0)) {
                part.add_error(
                    key,
                    "0",
                    "would reject every connection: expected at least 1, or leave it out",
                );
            }
        }
        (ListenerKind::Plain | ListenerKind::Tls { .. }, None) => {}
    }
}

/// Checks that the upstream of a passthrough exists and is for TCP, and that the site has no settings that need
/// requests. Returns true, also if there are errors. Returns false without a check if the site has no passthrough.
pub(super) fn check_site(part: &mut ConfigPart<'_>, config: &Config, site: &Site) -> bool {
    let Some(upstream) = &site.passthrough else { return false };
    check_upstream(part, "passthrough", config, upstream);
    let beside = [
        ("routes", !site.routes.is_empty()),
        ("auth", site.auth.is_some()),
        ("client_certificates", site.client_certificates.is_some()),
        ("early_data", site.early_data),
        ("compression", site.compression.is_some()),
        ("rate", site.rate != RateLimits::default()),
        ("maintenance", site.maintenance.is_some()),
        ("plain", site.plain == PlainHttp::Serve),
        ("body_limit", site.body_limit.is_some()),
        ("request_fields", site.request_fields != FieldEdits::default()),
        ("upgrade", site.upgrade != ["websocket"]),
    ];
    let beside = beside.into_iter().filter(|(_, there)| *there).map(|(key, _)| key);
    for key in beside.chain(site.response_policies.keys()) {
        part.add_error(
            key,
            "",
            "has no effect beside `passthrough`, whose requests are never seen here: leave one of the two out",
        );
    }
    true
}

/// Checks that the upstream of this name exists and is for TCP. `key` is the setting that contains the name.
fn check_upstream(part: &mut ConfigPart<'_>, key: &'static str, config: &Config, name: &str) {
    let names = || config.upstreams.iter().map(|upstream| upstream.name.as_str());
    match config.upstreams.iter().find(|upstream| upstream.name == name) {
        None => {
            let hint = match nearest(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write tcp://HOST:PORT or unix:/PATH, or add it".into(),
            };
            part.add_error(key, name, format!("no upstream has this name: {hint}"));
        }
        Some(upstream) if upstream.protocol != Protocol::Tcp => {
            part.add_error(key, name, "the upstream is for HTTP: write its targets as tcp://HOST:PORT");
        }
        Some(_) => {}
    }
}
