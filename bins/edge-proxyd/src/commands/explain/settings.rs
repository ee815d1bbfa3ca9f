//! The settings that a request is handled with beyond its verdict: the choice of a target, limits, the response and
//! what takes the place of an error.

use edge_proxy::config::{
    Balance, Check, Compression, Config, CookieRules, FieldEdits, HashKey, RateLimits, Response, Site,
    StickyCookie, Upstream,
};
use edge_proxy::decide::{Decision, RequestContext, Verdict, response_fields};
use edge_proxy::{ResponseHead, Snapshot};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A setting that applies to a request, as text.
#[derive(Serialize)]
pub(super) struct Setting {
    /// The name of the setting, such as `balance`.
    name: &'static str,
    /// The description of its value.
    value: String,
}

/// Returns the settings of a request that reached a site, in the order of the output; those of upstreams only if it is
/// forwarded. Empty without a site.
pub(super) fn settings(
    snapshot: &Snapshot,
    decision: &Decision<'_>,
    facts: &RequestContext<'_>,
) -> Vec<Setting> {
    let Some((_, site)) = decision.site else { return Vec::new() };
    let upstream = match decision.verdict {
        Verdict::Forward { upstream } => Some(&snapshot.config().upstreams[upstream]),
        _ => None,
    };
    let mut found = Vec::new();
    let mut add = |name, value: Option<String>| found.extend(value.map(|value| Setting { name, value }));
    if let Some(upstream) = upstream {
        add("balance", balance(upstream));
        add("sticky", upstream.sticky.as_ref().map(sticky));
        add("health", Some(health(upstream)));
        add("retry", Some(retry(upstream)));
        add("idle", Some(format!("connections without a request are closed after {:?}", upstream.idle)));
        add("tls", tls(upstream));
        let times = decision.timeouts().unwrap_or(snapshot.config().timeouts);
        add(
            "timeouts",
            Some(format!(
                "connect {:?}, response {:?}, body {:?}, tunnel {:?}",
                times.connect, times.response, times.body, times.tunnel
            )),
        );
        add("body limit", decision.body_limit.map(|most| format!("{most} bytes")));
        add("identifier", snapshot.config().request_id.clone());
    }
    add("rate", rate(&site.rate));
    if let Verdict::Respond(response) = &decision.verdict {
        add("content", Some(content(response)));
    }
    if decision.verdict.reason().is_none() {
        add("response", response(decision, facts));
        add("compression", decision.compression().map(compression));
        add("priority", priority(snapshot.config(), decision));
    }
    add("errors", errors(site));
    if upstream.is_some() || site.under_maintenance {
        add("maintenance", maintenance(site));
    }
    found
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<11}  {}", self.name, self.value)
    }
}

/// Returns the description of the choice among several targets, with weights and backups. `None` if there is only one
/// target.
fn balance(upstream: &Upstream) -> Option<String> {
    let count = upstream.targets.len();
    if count < 2 {
        return None;
    }
    let by = match upstream.balance {
        Balance::RoundRobin => "in turn",
        Balance::LeastConnections => "the one with the fewest requests in flight",
        Balance::Hash(HashKey::Client) => "by a hash of the client's address",
        Balance::Hash(HashKey::Target) => "by a hash of the request target",
        Balance::Hash(HashKey::Host) => "by a hash of the host",
    };
    let mut text = format!("{} targets, {by}", count - upstream.backups.min(count));
    if upstream.weights.iter().any(|weight| *weight != 1) {
        let weights: Vec<String> = upstream.weights.iter().map(ToString::to_string).collect();
        text += &format!(", weights {}", weights.join(", "));
    }
    if upstream.backups > 0 {
        text += &format!("; {} backup, while no other is available", upstream.backups);
    }
    Some(text)
}

/// Returns the description of the cookie that binds clients to targets.
fn sticky(cookie: &StickyCookie) -> String {
    let until = match cookie.lifetime {
        Some(lifetime) => format!("for {lifetime:?}"),
        None => "until the browser ends".into(),
    };
    format!("the cookie `{}` keeps a client at its target {until}", cookie.name)
}

/// Returns the description of passive health checks, and of the active one if there is one.
fn health(upstream: &Upstream) -> String {
    let rules = &upstream.health.rules;
    let mut text = match rules.failures {
        0 => "failed requests eject no target".to_owned(),
        count => format!("{count} failures in a row eject a target for {:?}", rules.eject),
    };
    if let Some(Check { path, host, interval, timeout, status: (low, high) }) = &upstream.health.check {
        let host = host.as_ref().map(|host| format!(" of {host}")).unwrap_or_default();
        text += &format!(
            "; GET {path}{host} every {interval:?} must be answered within {timeout:?} with {low} to {high}, up after {}, down after {}",
            rules.rise, rules.fall
        );
    }
    text
}

/// Returns the description of retries; `none` if there are none.
fn retry(upstream: &Upstream) -> String {
    let retry = &upstream.retry;
    if retry.attempts == 0 {
        return "none".into();
    }
    let mut text =
        format!("up to {} more, for at most {} % of requests", retry.attempts, retry.budget_percent);
    if !retry.statuses.is_empty() {
        let all: Vec<String> = retry.statuses.iter().map(ToString::to_string).collect();
        text += &format!(", also after {}", all.join(", "));
    }
    text
}

/// Returns the description of TLS to an upstream: server name, verification and client certificate. `None` without TLS.
fn tls(upstream: &Upstream) -> Option<String> {
    let tls = upstream.tls.as_ref()?;
    let mut parts = Vec::new();
    parts.extend(tls.server_name.as_ref().map(|name| format!("as {name}")));
    parts.push(match (&tls.pins[..], &tls.ca) {
        ([], None) => "verified by the system's authorities".to_owned(),
        ([], Some(ca)) => format!("verified by {}", ca.display()),
        (pins, _) => format!("its certificate is one of {} pins", pins.len()),
    });
    parts.extend(
        tls.certificate.as_ref().map(|path| format!("with the client certificate {}", path.display())),
    );
    Some(parts.join(", "))
}

/// Returns the description of the rate limits of a site. `None` if there are none.
fn rate(limits: &RateLimits) -> Option<String> {
    let of = |rate: &edge_policy::rate::Rate, whose: &str| format!("{rate} of {whose}");
    let parts: Vec<String> = [
        limits.client.as_ref().map(|rate| of(rate, "a client")),
        limits.site.as_ref().map(|rate| of(rate, "all clients")),
        limits.concurrent.map(|most| format!("{most} in flight")),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns the size in bytes and the media type of a response.
fn content(response: &Response) -> String {
    format!("{} bytes of {}", response.body.len(), response.content_type)
}

/// Returns the fields that a response gets, the edits of its fields, and the rewriting of its cookies. `None` if
/// nothing changes.
fn response(decision: &Decision<'_>, facts: &RequestContext<'_>) -> Option<String> {
    let mut head = ResponseHead::new(200);
    response_fields(decision, facts, None, &mut head);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut parts: Vec<String> =
        head.fields.iter().map(|field| format!("{}: {}", text(field.name), text(field.value))).collect();
    let route = decision.route.map(|(_, route)| route);
    let edits = decision.site.map(|(_, site)| &site.response_fields);
    for edits in edits.into_iter().chain(route.map(|route| &route.response_fields)) {
        parts.extend(removed(edits));
    }
    if let Some(rules) = route.map(|route| &route.cookies) {
        parts.extend(cookies(rules));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Returns descriptions of the fields that are removed and of the values that are replaced, which an empty response
/// does not show.
fn removed(edits: &FieldEdits) -> Vec<String> {
    let mut parts: Vec<String> = edits.remove.iter().map(|name| format!("{name} is removed")).collect();
    for (name, rules) in &edits.replace {
        parts.extend(rules.iter().map(|rule| format!("{name}: {}… becomes {}…", rule.from, rule.to)));
    }
    parts
}

/// Returns descriptions of the rewriting of cookies, one for each rule.
fn cookies(rules: &CookieRules) -> Vec<String> {
    let of = |attribute: &str, rules: &[edge_proxy::config::PrefixRule]| {
        rules
            .iter()
            .map(|rule| format!("{attribute}={} of cookies becomes {}", rule.from, rule.to))
            .collect::<Vec<_>>()
    };
    [of("Path", &rules.path), of("Domain", &rules.domain)].concat()
}

/// Returns the codings, and the size in bytes from which content is compressed.
fn compression(compression: &Compression) -> String {
    let codings: Vec<&str> = compression.codings.iter().map(|coding| coding.name()).collect();
    format!("{}, from {} bytes on", codings.join(", "), compression.least)
}

/// Returns the description of the urgency that the response has unless the service or the client states one: of each
/// media type if the request is forwarded, else of the response. `None` if the configuration states none.
fn priority(config: &Config, decision: &Decision<'_>) -> Option<String> {
    match &decision.verdict {
        Verdict::Forward { .. } => {
            let all: Vec<String> =
                config.priority.iter().map(|(range, urgency)| format!("{range} {urgency}")).collect();
            (!all.is_empty()).then(|| {
                format!(
                    "urgency by media type, unless the service or the client states one: {}",
                    all.join(", ")
                )
            })
        }
        Verdict::Respond(response) => {
            let mut head = ResponseHead::new(response.status);
            head.fields.push(b"Content-Type", response.content_type.as_bytes());
            let urgency = config.urgency(&head.fields)?;
            Some(format!("urgency {urgency}, unless the client states one"))
        }
        // What a handler answers is not known, and the others have no media type of the configuration.
        Verdict::Drop { .. } | Verdict::Handle { .. } | Verdict::Redirect { .. } | Verdict::Refuse { .. } => {
            None
        }
    }
}

/// Returns the description of the error pages of a site. `None` if it has none.
fn errors(site: &Site) -> Option<String> {
    let page = |page: &edge_proxy::config::ErrorPage| {
        let statuses: Vec<String> = page.statuses.iter().map(ToString::to_string).collect();
        let whose = if page.intercept { ", also in place of the service's" } else { "" };
        format!("{}: {} bytes of {}{whose}", statuses.join(", "), page.body.len(), page.content_type)
    };
    let all: Vec<String> = site.error_pages.iter().map(page).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Returns the description of the maintenance response of a site. `None` if none is configured.
fn maintenance(site: &Site) -> Option<String> {
    let maintenance = site.maintenance.as_ref()?;
    let after = maintenance.retry_after.map(|seconds| Duration::from_secs(seconds.into()));
    let after = after.map(|after| format!(", Retry-After {after:?}")).unwrap_or_default();
    let response = &maintenance.response;
    Some(format!("{} with {}{after}", response.status, content(response)))
}
