//! Upstreams.

use super::super::Place;
use super::{Errors, Part};
use crate::config::{Protocol, Target, Upstream, UpstreamTls};
use crate::host::split_authority;
use std::collections::HashSet;
use std::net::IpAddr;

pub(super) fn check<'a>(
    errors: &mut Errors,
    (i, upstream): (usize, &'a Upstream),
    names: &mut HashSet<&'a str>,
) {
    let part = &mut errors.of(Place::Upstream(i), format!("upstream `{}`", upstream.name));
    if upstream.name.is_empty() {
        part.wrong("name", "", "is empty: name the upstream");
    } else if !names.insert(&upstream.name) {
        part.wrong("name", &upstream.name, "is the name of another upstream too: choose another");
    }
    if upstream.targets.is_empty() {
        part.wrong("targets", "", "is empty: add one such as http://127.0.0.1:3000");
    }
    for target in &upstream.targets {
        check_target(part, target, upstream.tls.as_ref());
    }
    if let Some(host) = &upstream.host
        && split_authority(host).is_none()
    {
        part.wrong("host", host, "is no host: write one such as example.org, with a port if need be");
    }
    if let Some(tls) = &upstream.tls {
        check_tls(part, tls);
    }
    if upstream.protocol == Protocol::Http2 && upstream.proxy_protocol.is_some() {
        part.wrong(
            "proxy_protocol",
            "with HTTP/2",
            "one connection would carry several clients' requests: leave it out, or use HTTP/1.1",
        );
    }
}

fn check_target(part: &mut Part<'_>, target: &Target, tls: Option<&UpstreamTls>) {
    match target {
        Target::Tcp { host, port } => {
            if *port == 0 {
                part.wrong("targets", target.to_string(), "has no port: write 1 to 65535");
            }
            let name = || split_authority(host).is_some_and(|(_, port, _)| port.is_none());
            if host.parse::<IpAddr>().is_err() && !name() {
                part.wrong("targets", target.to_string(), "is no host: write a name or an address");
            }
        }
        Target::Unix(path) => {
            // The limit is the kernel's (sockaddr_un).
            if !path.is_absolute() || path.as_os_str().len() > 107 {
                part.wrong(
                    "targets",
                    target.to_string(),
                    "is no socket: write an absolute path of at most 107 bytes",
                );
            }
            if tls.is_some_and(|tls| tls.server_name.is_none()) {
                part.wrong(
                    "tls.server_name",
                    "",
                    "is needed for TLS to a socket, which has no name to verify",
                );
            }
        }
    }
}

fn check_tls(part: &mut Part<'_>, tls: &UpstreamTls) {
    if tls.certificate.is_some() != tls.key.is_some() {
        part.wrong("tls.certificate", "", "goes with `key`: give both or none");
    }
    if let Some(name) = &tls.server_name
        && name.parse::<IpAddr>().is_err()
        && split_authority(name).is_none_or(|(_, port, _)| port.is_some())
    {
        part.wrong("tls.server_name", name, "is no name: write one such as example.org");
    }
}
