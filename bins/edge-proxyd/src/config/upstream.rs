//! The reader of the sections `[upstream.NAME]`, and of upstreams that sites and listeners name by their addresses.

use super::balance;
use super::document::{Table, Value};
use super::keys::{Key, Kind, words};
use super::zone;
use edge_proxy::ConfigPath;
use edge_proxy::config::{ForwardedAs, Pin, Protocol, ProxyOut, Target, Upstream, UpstreamTls};
use std::path::PathBuf;

/// The kind of the address of a target: a URL, or `unix:` and a path.
pub(super) const TARGET: Kind = Kind::Form(r"^(https?|h2c?|tcp)://.|^unix:");
/// The kind of a reference to an upstream: the name of a section, or the address of a target.
pub(super) const REFERRED: Kind = Kind::Text;

/// The keys of `[upstream.NAME]`.
pub(super) static UPSTREAM: &[Key] = &[
    Key::new("target", Kind::List(&TARGET)),
    Key::new("targets", Kind::List(&TARGET)),
    Key::new("backup", Kind::List(&TARGET)),
    Key::new("weights", Kind::Named(&Kind::Number(1, 1000))),
    Key::new("balance", balance::BALANCE),
    Key::new("sticky", balance::STICKY),
    Key::new("host", Kind::Text),
    Key::new("proxy_protocol", Kind::Word(&const { words(&VERSIONS) })),
    Key::new("forwarded", Kind::Word(&const { words(&FORWARDED) })),
    Key::new("idle", Kind::Duration),
    Key::new("tls", Kind::Table(TLS)),
    Key::new("health", Kind::Table(balance::HEALTH)),
    Key::new("retry", Kind::Table(balance::RETRY)),
];

/// The keys of `tls` of an upstream, and of `[tracing]`.
pub(super) static TLS: &[Key] = &[
    Key::new("ca", Kind::Path),
    Key::new("certificate", Kind::Path),
    Key::new("key", Kind::Path),
    Key::new("server_name", Kind::Text),
    Key::new("pin", Kind::List(&Kind::Form("^(/|sha256//|sha256:)."))),
];

/// The words of `forwarded`.
const FORWARDED: [(&str, ForwardedAs); 2] = [("chain", ForwardedAs::Chain), ("client", ForwardedAs::Client)];
/// The words of `proxy_protocol`.
const VERSIONS: [(&str, ProxyOut); 2] = [("v1", ProxyOut::V1), ("v2", ProxyOut::V2)];

/// Reads the sections `[upstream.NAME]` of a file, and appends the upstreams to `upstreams`.
pub(super) fn read_sections(root: &Table<'_, '_>, upstreams: &mut Vec<Upstream>) {
    let Some(table) = root.table("upstream") else { return };
    for (name, value) in table.all() {
        let Some(table) = value.table() else { continue };
        table.place(ConfigPath::Upstream(upstreams.len()));
        upstreams.push(upstream(name, &table));
    }
}

/// Reads an upstream; backups are its last targets. The protocol is that of the first valid target; a target with
/// another scheme is reported, and so is a missing one.
fn upstream(name: &str, table: &Table<'_, '_>) -> Upstream {
    let mut upstream = Upstream { name: name.into(), targets: Vec::new(), ..bare() };
    let written = [table.get("target"), table.get("targets")].into_iter().flatten();
    let addresses: Vec<_> = written.flat_map(|value| value.list()).collect();
    let backups = table.get("backup").map(|value| value.list()).unwrap_or_default();
    let mut first = None;
    let mut written = Vec::new();
    for value in addresses.iter().chain(&backups) {
        let Some(address) = address(value) else { continue };
        if *first.get_or_insert(address.scheme) != address.scheme {
            value.report_error("has another scheme than the first target: make it an upstream of its own");
        }
        upstream.targets.push(address.target);
        written.push(value.text().unwrap_or_default());
    }
    upstream.backups = backups.len();
    upstream.weights = balance::weights(table, &written);
    upstream.sticky = balance::sticky(table);
    if addresses.is_empty() {
        table.report_error("target", "missing: write one such as target = \"http://127.0.0.1:3000\"");
    }
    let scheme = first.unwrap_or(Scheme::Http);
    upstream.protocol = scheme.protocol();
    upstream.tls = scheme.is_tls().then(UpstreamTls::default);
    if let Some(tls) = tls(table, scheme) {
        upstream.tls = Some(tls);
    }
    upstream.balance = balance::balance(table);
    if let Some(health) = table.table("health") {
        upstream.health = balance::health(&health);
    }
    if let Some(retry) = table.table("retry") {
        upstream.retry = balance::retry(&retry);
    }
    upstream.proxy_protocol = table.get("proxy_protocol").and_then(|value| value.one_of(&VERSIONS));
    upstream.forwarded =
        table.get("forwarded").and_then(|value| value.one_of(&FORWARDED)).unwrap_or_default();
    if let Some(idle) = table.get("idle").and_then(|value| value.duration()) {
        upstream.idle = idle;
    }
    upstream.host = table.get("host").and_then(|value| value.text()).map(Into::into);
    table.finish();
    upstream
}

/// Reads the table `tls` of an upstream. `None` if it is missing or not a table. It is reported if `scheme` neither
/// uses TLS nor is a Unix socket.
fn tls(table: &Table<'_, '_>, scheme: Scheme) -> Option<UpstreamTls> {
    let tls = table.table("tls")?;
    if !scheme.is_tls() && scheme != Scheme::Unix {
        table.report_error("tls", "needs a target with https:// or h2://");
    }
    let file = |key| tls.get(key).and_then(|value| value.path());
    let found = UpstreamTls {
        ca: file("ca"),
        certificate: file("certificate"),
        key: file("key"),
        server_name: tls.get("server_name").and_then(|value| value.text()).map(Into::into),
        pins: tls.get("pin").map(|value| pins(&value)).unwrap_or_default(),
    };
    tls.finish();
    Some(found)
}

/// Reads the pinned certificates and keys. Those that are not valid are reported and left out. The paths of
/// certificates are recorded as files of the configuration.
fn pins(value: &Value<'_, '_>) -> Vec<Pin> {
    let form = "is not a valid pin: expected the absolute path of a PEM file, sha256//BASE64 or sha256:HEX";
    let pins: Vec<Pin> = value.list().iter().filter_map(|pin| pin.parse(form)).collect();
    for pin in &pins {
        if let Pin::Certificate(path) = pin {
            value.document.name_file(path.clone(), value);
        }
    }
    pins
}

/// Reads an upstream whose only target is the address under `key`, and whose TLS settings are in the table `tls`. Its
/// name is `key`. `None` if the address is missing or not valid; the latter is reported.
pub(super) fn upstream_by_address(table: &Table<'_, '_>, key: &'static str) -> Option<Upstream> {
    let address = table.get(key).and_then(|value| address(&value));
    // Errors in the table are reported even without a valid address.
    let written = tls(table, address.as_ref().map_or(Scheme::Https, |address| address.scheme));
    let Address { scheme, target } = address?;
    Some(Upstream {
        name: key.into(),
        targets: vec![target],
        protocol: scheme.protocol(),
        tls: written.or_else(|| scheme.is_tls().then(UpstreamTls::default)),
        ..bare()
    })
}

/// Returns the name of the upstream to which a site or route refers. An address in place of a name is itself the name,
/// and an upstream for it is appended to `upstreams` unless there is one. `None` if the value is not text or the
/// address is not valid, which is reported. Whether a name exists is not checked.
pub(super) fn upstream_name(value: &Value<'_, '_>, upstreams: &mut Vec<Upstream>) -> Option<String> {
    let text = value.text()?;
    if !text.contains("://") && !text.starts_with("unix:") {
        return Some(text.into());
    }
    let Address { scheme, target } = address(value)?;
    if !upstreams.iter().any(|upstream| upstream.name == text) {
        upstreams.push(Upstream {
            name: text.into(),
            targets: vec![target],
            protocol: scheme.protocol(),
            tls: scheme.is_tls().then(UpstreamTls::default),
            ..bare()
        });
    }
    Some(text.into())
}

/// Returns the name of the upstream to which TCP connections are forwarded. For a `tcp://` address or a Unix socket in
/// place of a name, an upstream is appended to `upstreams` unless there is one; that of a socket is named
/// `tcp+unix:PATH`. `None` if the address is not valid for TCP, which is reported.
pub(super) fn tcp_upstream_name(value: &Value<'_, '_>, upstreams: &mut Vec<Upstream>) -> Option<String> {
    let text = value.text()?;
    if let Some(path) = text.strip_prefix("unix:") {
        if !path.starts_with('/') {
            value.report_error("not an absolute path: write unix:/PATH, such as unix:/run/app.sock");
            return None;
        }
        // Apart from the upstream of the same socket over HTTP.
        let name = format!("tcp+{text}");
        if !upstreams.iter().any(|upstream| upstream.name == name) {
            let targets = vec![Target::Unix(path.into())];
            upstreams.push(Upstream { name: name.clone(), targets, protocol: Protocol::Tcp, ..bare() });
        }
        return Some(name);
    }
    if text.contains("://") && !text.starts_with("tcp://") {
        value.report_error("not an address for raw TCP: write tcp://HOST:PORT or unix:/PATH");
        return None;
    }
    upstream_name(value, upstreams)
}

/// Returns an upstream with default settings, an empty name and no targets.
fn bare() -> Upstream {
    Upstream { targets: Vec::new(), ..Upstream::new("", Target::Unix(PathBuf::new())) }
}

/// The scheme of the address of a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/1.1 without TLS.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// A TCP stream that is forwarded unchanged.
    Tcp,
    /// HTTP/1.1 over a Unix socket.
    Unix,
}

impl Scheme {
    /// Returns the protocol that is spoken to targets of this scheme.
    const fn protocol(self) -> Protocol {
        match self {
            Self::H2 | Self::H2c => Protocol::Http2,
            Self::Tcp => Protocol::Tcp,
            Self::Http | Self::Https | Self::Unix => Protocol::Http1,
        }
    }

    /// Returns true if the scheme uses TLS.
    const fn is_tls(self) -> bool {
        matches!(self, Self::H2 | Self::Https)
    }
}

/// A parsed address of a target.
struct Address {
    /// The scheme, which determines the protocol.
    scheme: Scheme,
    /// The host and port, or the path of the socket.
    target: Target,
}

/// Parses the address of a target. Without a port, it is 80 or 443 by the scheme; `tcp://` needs one. A final `/` is
/// dropped. The host may be an IPv6 address with a zone. `None` if the value is not valid, which is reported.
fn address(value: &Value<'_, '_>) -> Option<Address> {
    let text = value.text()?;
    let zoned = text.split_once("://").and_then(|(scheme, rest)| Some((scheme, zone::split(rest)?)));
    let (text, zone) = match zoned {
        Some((scheme, (rest, zone))) => (format!("{scheme}://{rest}"), Some(zone::read(value, zone)?)),
        None => (text.to_owned(), None),
    };
    let address = if let Some(path) = text.strip_prefix("unix:") {
        Some(Address { scheme: Scheme::Unix, target: Target::Unix(path.into()) })
    } else {
        let schemes = [
            ("http://", Scheme::Http, 80),
            ("https://", Scheme::Https, 443),
            ("h2c://", Scheme::H2c, 80),
            ("h2://", Scheme::H2, 443),
            ("tcp://", Scheme::Tcp, 0),
        ];
        schemes.iter().find_map(|(begin, scheme, port)| {
            let rest = text.strip_prefix(begin)?;
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let (host, written, _) = edge_http::host::split_authority(rest)?;
            if *port == 0 && written.is_none() {
                return None;
            }
            let host = zone.map_or_else(|| host.to_owned(), |zone| format!("{host}%{zone}"));
            let target = Target::Tcp { host, port: written.unwrap_or(*port) };
            Some(Address { scheme: *scheme, target })
        })
    };
    if address.is_none() {
        value.report_error("not a valid target: expected http://HOST:PORT, https://…, h2c://…, h2://… (HTTP/2 with TLS), tcp://HOST:PORT (forwarded as it is) or unix:/PATH");
    }
    address
}
