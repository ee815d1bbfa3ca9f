//! Validation of upstreams.

use super::super::ConfigPath;
use super::{ConfigPart, Errors, is_interface_name};
use crate::config::{HOST_OF_REQUEST, HealthConfig, Protocol, Retry, Target, Upstream, UpstreamTls};
use edge_http::grammar::{is_target, is_token};
use edge_http::host::split_authority;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Checks the upstream with the index `i`: its name, its targets (1 to 64, without duplicates), weights, backups,
/// sticky cookie, host, health checks, idle timeout (up to 1 day), retries and TLS, and that they suit its protocol.
/// `names` contains the names of earlier upstreams, and that of this one is added.
pub(super) fn check<'a>(
    errors: &mut Errors,
    (i, upstream): (usize, &'a Upstream),
    names: &mut HashSet<&'a str>,
) {
    let part = &mut errors.part(ConfigPath::Upstream(i), format!("upstream `{}`", upstream.name));
    if upstream.name.is_empty() {
        part.add_error("name", "", "empty: name the upstream");
    } else if !names.insert(&upstream.name) {
        part.add_error("name", &upstream.name, "duplicate upstream name: choose another");
    }
    if upstream.targets.is_empty() {
        part.add_error("targets", "", "empty: add one such as http://127.0.0.1:3000");
    }
    if upstream.targets.len() > 64 {
        let count = upstream.targets.len().to_string();
        part.add_error("targets", count, "too many: an upstream has at most 64");
    }
    let mut seen = HashSet::new();
    for target in &upstream.targets {
        if !seen.insert(target) {
            part.add_error("targets", target.to_string(), "duplicate target: remove one of the two");
        }
        check_target(part, target, upstream.tls.as_ref());
    }
    check_shares(part, upstream);
    if let Some(host) = &upstream.host
        && split_authority(host).is_none()
    {
        part.add_error(
            "host",
            host,
            "not a valid host: expected one such as example.org, optionally with a port",
        );
    }
    check_health(part, &upstream.health);
    if upstream.protocol == Protocol::Tcp {
        if upstream.tls.is_some() {
            part.add_error("tls", "with tcp://", "bytes are forwarded as they come: leave it out");
        }
        if upstream.health.check.is_some() {
            part.add_error("health.path", "with tcp://", "active checks are HTTP requests: leave it out");
        }
    }
    if upstream.idle.is_zero() || upstream.idle > Duration::from_secs(86_400) {
        part.add_error("idle", format!("{:?}", upstream.idle), "out of range: expected 1ms to 1d");
    }
    let of_request =
        upstream.tls.as_ref().is_some_and(|tls| tls.server_name.as_deref() == Some(HOST_OF_REQUEST));
    if of_request && upstream.health.check.as_ref().is_some_and(|check| check.host.is_none()) {
        part.add_error(
            "health.host",
            "",
            "is needed with tls.server_name = \"{host}\": a check has no client whose host it could send",
        );
    }
    check_retry(part, &upstream.retry);
    if let Some(tls) = &upstream.tls {
        check_tls(part, tls);
    }
    if upstream.protocol == Protocol::Http2 && upstream.proxy_protocol.is_some() {
        part.add_error(
            "proxy_protocol",
            "with HTTP/2",
            "one HTTP/2 connection carries requests of several clients: leave it out, or use HTTP/1.1",
        );
    }
}

/// Checks that weights are from 1 to 1000 and not more than the targets, that not all targets are backups, and that a
/// sticky cookie has a valid name and is not used with raw TCP.
fn check_shares(part: &mut ConfigPart<'_>, upstream: &Upstream) {
    for weight in upstream.weights.iter().filter(|weight| !(1..=1000).contains(*weight)) {
        part.add_error("weights", weight.to_string(), "not a valid weight: expected 1 to 1000");
    }
    if upstream.weights.len() > upstream.targets.len() {
        part.add_error(
            "weights",
            upstream.weights.len().to_string(),
            "more weights than targets: leave some out",
        );
    }
    if upstream.backups > 0 && upstream.backups >= upstream.targets.len() {
        part.add_error("backup", upstream.backups.to_string(), "there is nothing but backups: add a target");
    }
    if let Some(cookie) = &upstream.sticky {
        if !is_token(cookie.name.as_bytes()) {
            part.add_error(
                "sticky",
                &cookie.name,
                "not a valid name of a cookie: expected letters, digits, - and _",
            );
        }
        if upstream.protocol == Protocol::Tcp {
            part.add_error("sticky", &cookie.name, "tcp:// has no cookies: leave it out");
        }
    }
}

/// Checks that ejections, if they are enabled, and the interval of checks are at least 100 ms, that rise and fall are
/// at least 1, that the timeout of checks is above 0 and at most 60 s, and that path, host and range of statuses
/// (within 100 to 599) of checks are valid.
fn check_health(part: &mut ConfigPart<'_>, health: &HealthConfig) {
    let rules = &health.rules;
    if rules.failures > 0 && rules.eject < Duration::from_millis(100) {
        part.add_error("health.eject", format!("{:?}", rules.eject), "too short: expected at least 100ms");
    }
    for (key, count) in [("health.rise", rules.rise), ("health.fall", rules.fall)] {
        if count == 0 {
            part.add_error(key, "0", "not a valid threshold: expected at least 1");
        }
    }
    let Some(check) = &health.check else { return };
    if !check.path.starts_with('/') || !is_target(check.path.as_bytes()) {
        part.add_error("health.path", &check.path, "not a valid path: expected one such as /healthz");
    }
    if let Some(host) = &check.host
        && split_authority(host).is_none()
    {
        part.add_error("health.host", host, "not a valid host: expected one such as example.org");
    }
    if check.interval < Duration::from_millis(100) {
        part.add_error(
            "health.interval",
            format!("{:?}", check.interval),
            "too short: expected at least 100ms",
        );
    }
    if check.timeout.is_zero() || check.timeout > Duration::from_secs(60) {
        part.add_error("health.timeout", format!("{:?}", check.timeout), "out of range: expected 1ms to 60s");
    }
    let (low, high) = check.status;
    if low > high || low < 100 || high > 599 {
        part.add_error(
            "health.status",
            format!("{low}-{high}"),
            "not a valid range of statuses: expected one such as 200-399",
        );
    }
}

/// Checks that the statuses of retries are from 400 to 599, and that the retry budget is at most 100 %.
fn check_retry(part: &mut ConfigPart<'_>, retry: &Retry) {
    for status in &retry.statuses {
        if !(400..600).contains(status) {
            part.add_error("retry.statuses", status.to_string(), "not an error status: expected 400 to 599");
        }
    }
    if retry.budget_percent > 100 {
        let percent = retry.budget_percent.to_string();
        part.add_error("retry.budget", percent, "out of range: expected 0 to 100");
    }
}

/// Checks that the address of a target has a valid host and a port other than 0, or is an absolute path of at most 107
/// bytes. A link-local address needs a zone, and no other host has one. TLS to a Unix socket needs a server name.
fn check_target(part: &mut ConfigPart<'_>, target: &Target, tls: Option<&UpstreamTls>) {
    match target {
        Target::Tcp { port, .. } => {
            if *port == 0 {
                part.add_error("targets", target.to_string(), "not a valid port: expected 1 to 65535");
            }
            let host = target.host().unwrap_or_default();
            check_zone(part, target, host);
            let name = || split_authority(host).is_some_and(|(_, port, _)| port.is_none());
            if host.parse::<IpAddr>().is_err() && !name() {
                part.add_error(
                    "targets",
                    target.to_string(),
                    "not a valid host: expected a name or an address",
                );
            }
        }
        Target::Unix(path) => {
            // The kernel's limit (sockaddr_un).
            if !path.is_absolute() || path.as_os_str().len() > 107 {
                part.add_error(
                    "targets",
                    target.to_string(),
                    "not a valid socket path: expected an absolute path of at most 107 bytes",
                );
            }
            if tls.is_some_and(|tls| tls.server_name.is_none()) {
                part.add_error(
                    "tls.server_name",
                    "",
                    "required for TLS to a Unix socket, which has no name to verify",
                );
            }
        }
    }
}

/// Checks that a target whose address is link-local has a valid zone, and that no other has one. `host` is the host
/// without the zone.
fn check_zone(part: &mut ConfigPart<'_>, target: &Target, host: &str) {
    let link_local = host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_unicast_link_local());
    let fix = match target.zone() {
        None if link_local => format!("a link-local address needs a zone: write [{host}%INTERFACE]"),
        Some(zone) if !link_local => {
            format!("only link-local addresses (fe80::/10) have zones: leave %{zone} out")
        }
        Some(zone) if !is_zone(zone) => {
            format!("not a valid zone: write the name of an interface, such as [{host}%eth0], or its index")
        }
        _ => return,
    };
    part.add_error("targets", target.to_string(), fix);
}

/// Returns whether a text is a valid zone: the index of an interface, from 1, or a possible name of one that is not a
/// number. A percent sign is not valid, since it is how a zone begins, or a remainder of percent-encoding.
fn is_zone(zone: &str) -> bool {
    if zone.bytes().all(|b| b.is_ascii_digit()) {
        return zone.parse::<u32>().is_ok_and(|index| index > 0);
    }
    is_interface_name(zone) && !zone.contains(['%', '[', ']'])
}

/// Checks that the client certificate and its key are set together, that `ca` and pins are not, and that the server
/// name, if it is set, is a name or address without a port, or `{host}`.
fn check_tls(part: &mut ConfigPart<'_>, tls: &UpstreamTls) {
    if tls.certificate.is_some() != tls.key.is_some() {
        part.add_error("tls.certificate", "", "incomplete: set both `certificate` and `key`, or neither");
    }
    if !tls.pins.is_empty() && tls.ca.is_some() {
        part.add_error("tls.ca", "", "does not go with `pin`, which replaces it: leave one of them out");
    }
    if let Some(name) = tls.server_name.as_ref().filter(|name| *name != HOST_OF_REQUEST)
        && name.parse::<IpAddr>().is_err()
        && split_authority(name).is_none_or(|(_, port, _)| port.is_some())
    {
        part.add_error(
            "tls.server_name",
            name,
            "not a valid name: expected one such as example.org, or {host} for the Host of each request",
        );
    }
}
