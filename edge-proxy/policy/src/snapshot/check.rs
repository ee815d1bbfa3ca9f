//! Validation of a configuration. Every check appends its errors to one list; none ends the validation.

mod access;
mod field_name;
mod forward;
mod site;
mod upstream;

use super::{ConfigError, ConfigPath};
use crate::config::{Config, Listener, TrustedHeader};
use edge_http::Name;
use edge_http::grammar::is_token;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Returns all errors of the configuration, in the order listeners, global settings, sites, upstreams. Empty if it is
/// valid.
pub(super) fn all(config: &Config) -> Vec<ConfigError> {
    let mut errors = Errors(Vec::new());
    for (i, listener) in config.listeners.iter().enumerate() {
        check_listener(
            &mut errors.part(ConfigPath::Listener(i), format!("listener {}", listener.address)),
            config,
            i,
        );
    }
    check_global(&mut errors.part(ConfigPath::Config, "configuration".into()), config);
    let mut names = HashSet::new();
    let mut hosts = HashMap::new();
    for (i, site) in config.sites.iter().enumerate() {
        site::check(&mut errors, config, (i, site), &mut names, &mut hosts);
    }
    let mut names = HashSet::new();
    for (i, upstream) in config.upstreams.iter().enumerate() {
        upstream::check(&mut errors, (i, upstream), &mut names);
    }
    errors.0
}

/// The list of the errors found so far.
struct Errors(Vec<ConfigError>);

impl Errors {
    /// Returns the part of the configuration at this location, by which its errors are added to the list. `part` is
    /// the location as text for messages.
    fn part(&mut self, place: ConfigPath, part: String) -> ConfigPart<'_> {
        ConfigPart { errors: self, place, part }
    }
}

/// A part of the configuration that is being validated, with the list of errors.
struct ConfigPart<'a> {
    /// The list to which errors are added.
    errors: &'a mut Errors,
    /// The location of the part in the configuration.
    place: ConfigPath,
    /// The location as text for messages, such as ``site `NAME` ``.
    part: String,
}

impl ConfigPart<'_> {
    /// Adds an error about the setting `key` of this part. `value` is the rejected value, empty if it is missing;
    /// `fix` states the problem and what to write.
    fn add_error(&mut self, key: &'static str, value: impl Into<String>, fix: impl Into<String>) {
        let (place, part) = (self.place, self.part.clone());
        self.errors.0.push(ConfigError { place, part, key, value: value.into(), fix: fix.into() });
    }

    /// Adds an error if the name of a network interface is given and is not valid.
    fn interface(&mut self, name: Option<&str>) {
        if let Some(name) = name
            && !is_interface_name(name)
        {
            self.add_error(
                "interface",
                name,
                "not a valid interface name: expected 1 to 15 characters, such as tailscale0",
            );
        }
    }
}

/// Returns whether a text is a possible name of a network interface: 1 to 15 visible ASCII characters without `/`.
fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len()) && name.bytes().all(|b| b != b'/' && b.is_ascii_graphic())
}

/// Checks the listener with the index `at`: its interface name, that a link-local address has a zone, its name (1 to 64
/// visible ASCII characters), its forward, that no earlier listener has the same address (other than port 0) and
/// interface, and that no PROXY range contains all addresses.
fn check_listener(part: &mut ConfigPart<'_>, config: &Config, at: usize) {
    let Listener { address, interface, proxy_protocol, .. } = &config.listeners[at];
    part.interface(interface.as_deref());
    if let SocketAddr::V6(link_local) = address
        && link_local.ip().is_unicast_link_local()
        && link_local.scope_id() == 0
        && interface.is_none()
    {
        let (ip, port) = (link_local.ip(), link_local.port());
        let fix = format!("a link-local address needs a zone: write [{ip}%INTERFACE]:{port}");
        part.add_error("address", address.to_string(), fix);
    }
    if let Some(name) = &config.listeners[at].name
        && (name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_graphic()))
    {
        part.add_error(
            "name",
            name.escape_default().to_string(),
            "not a valid name: write 1 to 64 visible ASCII characters, such as tailnet",
        );
    }
    forward::check_listener(part, config, &config.listeners[at]);
    let twin = |other: &Listener| other.address == *address && other.interface == *interface;
    if address.port() != 0 && config.listeners[..at].iter().any(twin) {
        part.add_error("address", address.to_string(), "duplicate listener: remove one of the two");
    }
    for range in proxy_protocol {
        if range.prefix_len() == 0 {
            part.add_error(
                "proxy_protocol",
                range.to_string(),
                "lets any client forge its address: list only the peers that send PROXY headers",
            );
        }
    }
}

/// Checks the settings that belong to no listener, site or upstream: trusted proxies, tailnet, request identifier,
/// port of HTTPS, urgencies, limits and timeouts.
fn check_global(part: &mut ConfigPart<'_>, config: &Config) {
    let trust = &config.trust;
    part.interface(trust.interface.as_deref());
    if let (Some(interface), true) = (&trust.interface, trust.ranges.is_empty()) {
        part.add_error(
            "trust.interface",
            interface,
            "has no effect without `trust.ranges`: add the ranges of the trusted proxies",
        );
    }
    if let TrustedHeader::Custom(name) = &trust.header {
        check_custom_header(part, name, trust.ranges.is_empty());
    }
    if let (Some(who), true) = (trust.who.first(), trust.ranges.is_empty()) {
        part.add_error(
            "trust.who",
            who.to_string(),
            "has no effect without `trust.ranges`: add the tailnet's",
        );
    }
    if let (Some(who), None) = (trust.who.first(), &config.tailnet) {
        part.add_error("trust.who", who.to_string(), "needs identity lookups: add a `tailnet`");
    }
    if let Some(tailnet) = &config.tailnet
        && (!tailnet.socket.is_absolute() || tailnet.socket.as_os_str().len() > 107)
    {
        let path = tailnet.socket.display().to_string();
        part.add_error(
            "tailnet.socket",
            path,
            "not a valid socket path: expected an absolute path of at most 107 bytes",
        );
    }
    for range in &trust.ranges {
        if range.prefix_len() == 0 && trust.interface.is_none() {
            part.add_error(
                "trust.ranges",
                range.to_string(),
                "lets any client forge its address: list only the trusted proxies, or set an interface",
            );
        }
    }
    if let Some(name) = &config.request_id {
        field_name::check_name(part, "request_id", name);
    }
    if config.https_port == Some(0) {
        part.add_error("https_port", "0", "not a valid port: expected 1 to 65535, or leave it out for 443");
    }
    for (range, urgency) in config.priority.iter().filter(|(_, urgency)| **urgency > 7) {
        part.add_error("priority", format!("{range} = {urgency}"), "not a valid urgency: expected 0 to 7");
    }
    let limits = &config.limits;
    let between = [
        ("limits.header_bytes", limits.header_bytes, 256, 65_535),
        ("limits.header_fields", limits.header_fields, 1, 10_000),
        ("limits.target_bytes", limits.target_bytes, 16, 65_535),
        ("limits.streams", limits.streams as usize, 1, 65_535),
        ("limits.resets", limits.resets as usize, 1, 1_000_000),
        ("limits.control_frames", limits.control_frames as usize, 10, 1_000_000),
        ("limits.connections", limits.connections, 1, 10_000_000),
        ("limits.idle_upstream", limits.idle_upstream, 0, 1_000_000),
        ("limits.upstream_buffer", limits.upstream_buffer, 1 << 20, 1 << 36),
        ("limits.response_header_bytes", limits.response_header_bytes, 256, 65_535),
        ("limits.response_header_fields", limits.response_header_fields, 1, 10_000),
        ("limits.rate_table", limits.rate_table, 1024, 16_777_216),
    ];
    for (key, value, low, high) in between {
        if !(low..=high).contains(&value) {
            part.add_error(key, value.to_string(), format!("out of range: expected {low} to {high}"));
        }
    }
    check_timeouts(part, &config.timeouts);
}

/// Checks the name of a custom field in which trusted proxies report the client's address: it must be a token of at
/// most 256 bytes, and not a field that is known to the proxy. `nobody_is_trusted` is true without trusted ranges,
/// with which the setting is an error, too.
fn check_custom_header(part: &mut ConfigPart<'_>, name: &str, nobody_is_trusted: bool) {
    if !is_token(name.as_bytes()) || name.len() > 256 {
        part.add_error("trust.header", name, "not a valid field name: write one such as CF-Connecting-IP");
    } else if !matches!(Name::of(name.as_bytes()), Name::Other) {
        part.add_error(
            "trust.header",
            name,
            "has another meaning: write x-forwarded-for, forwarded, x-real-ip, or a field of its own such as CF-Connecting-IP",
        );
    } else if nobody_is_trusted {
        part.add_error(
            "trust.header",
            name,
            "has no effect without `trust.ranges`: add the ranges of the hops",
        );
    }
}

/// Checks that each timeout is from 1 ms to 30 days.
fn check_timeouts(part: &mut ConfigPart<'_>, timeouts: &crate::config::Timeouts) {
    let all = [
        ("timeouts.handshake", timeouts.handshake),
        ("timeouts.header", timeouts.header),
        ("timeouts.body", timeouts.body),
        ("timeouts.idle", timeouts.idle),
        ("timeouts.connect", timeouts.connect),
        ("timeouts.response", timeouts.response),
        ("timeouts.tunnel", timeouts.tunnel),
    ];
    for (key, value) in all {
        if !(Duration::from_millis(1)..=Duration::from_secs(30 * 86_400)).contains(&value) {
            part.add_error(key, format!("{value:?}"), "out of range: expected 1 ms to 30 days");
        }
    }
}

/// Returns the advice for an unknown upstream name: to write an address with its scheme if the name looks like a port,
/// an address with a port or an absolute path, or else to add the upstream.
fn missing_upstream(name: &str) -> String {
    let port = name.rsplit_once(':').map_or(name, |(_, port)| port);
    let is_port = port.parse::<u16>().is_ok();
    match name.strip_prefix(':') {
        Some(port) if is_port => format!("write http://127.0.0.1:{port}"),
        None if is_port && name.contains(':') => format!("write http://{name}"),
        None if is_port => format!("write http://127.0.0.1:{name}"),
        _ if name.starts_with('/') => format!("write unix:{name}"),
        _ => format!("add [upstream.{name}], or write an address such as http://127.0.0.1:3000"),
    }
}

/// Returns the candidate closest to a misspelled word, for a suggestion in an error message; of equally close ones,
/// the first in alphabetical order. `None` if no candidate is within an edit distance of 2, or of 1 for words of fewer
/// than five characters. A transposition of neighbors counts once.
///
/// ```
/// assert_eq!(edge_policy::nearest("adress", ["address", "tls"]), Some("address"));
/// assert_eq!(edge_policy::nearest("rwa", ["raw", "tls"]), Some("raw"));
/// assert_eq!(edge_policy::nearest("colour", ["address", "tls"]), None);
/// assert_eq!(edge_policy::nearest("path", ["auth", "hosts"]), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= if word.chars().count() < 5 { 1 } else { 2 })
        .map(|(_, candidate)| candidate)
}
