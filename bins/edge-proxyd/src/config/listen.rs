//! The readers of `[[listen]]`, `[trust]`, `[tailnet]`, `[limits]`, `[timeouts]`, `[status]`, `[log]`, and of
//! `congestion` and `kernel_tls`.

use super::StatusAddress;

use super::access::{CONNECTION_LIMITS, connection_limits};
use super::document::{Table, Value};
use super::keys::{ADDRESS, Key, Kind, words};
use super::ranges::access;
use super::upstream::{REFERRED, tcp_upstream_name};
use super::zone;
use crate::log::{Format, LogSettings, Template};
use cli_support::words::nearest;
use edge_proxy::ConfigPath;
use edge_proxy::config::{
    Congestion, Forward, KernelTls, Limits, Listener, ListenerKind, Tailnet, Timeouts, Trust, TrustedHeader,
    Upstream,
};
use std::net::SocketAddr;
use std::time::Duration;

/// The keys of `[[listen]]`.
pub(super) static LISTEN: &[Key] = &[
    Key::required("address", Kind::List(&Kind::Form(ADDRESS))),
    Key::new("name", Kind::Text),
    Key::new("tls", Kind::Boolean),
    Key::new("http3", Kind::Boolean),
    Key::new("h2c", Kind::Boolean),
    Key::new("interface", Kind::Text),
    Key::new("proxy_protocol", Kind::List(&Kind::Range)),
    Key::new("forward", REFERRED),
    Key::new("allow", Kind::List(&Kind::Range)),
    Key::new("deny", Kind::List(&Kind::Range)),
    Key::new("idle", Kind::Duration),
    Key::new("rate", Kind::Table(CONNECTION_LIMITS)),
];

/// The keys of `[trust]`.
pub(super) static TRUST: &[Key] = &[
    Key::new("ranges", Kind::List(&Kind::Range)),
    Key::new("interface", Kind::Text),
    Key::new("who", Kind::List(&Kind::Form("^(node|tag|login):."))),
    Key::new("fallback", Kind::Boolean),
    Key::new("header", Kind::Form("^[A-Za-z0-9-]+$")),
];

/// The keys of `[tailnet]`.
pub(super) static TAILNET: &[Key] = &[
    Key::new("socket", Kind::Path),
    Key::new("ranges", Kind::List(&Kind::Range)),
    Key::new("remember", Kind::Duration),
    Key::new("tell", Kind::Boolean),
];

/// The kind of a limit. The bound only ensures that the number fits its type; the library checks the valid range.
const COUNT: Kind = Kind::Number(0, u32::MAX as u64);

/// The keys of `[limits]`.
pub(super) static LIMITS: &[Key] = &[
    Key::new("header_bytes", Kind::Size),
    Key::new("header_fields", COUNT),
    Key::new("target_bytes", Kind::Size),
    Key::new("streams", COUNT),
    Key::new("resets", COUNT),
    Key::new("control_frames", COUNT),
    Key::new("connections", COUNT),
    Key::new("connections_per_client", COUNT),
    Key::new("idle_upstream", COUNT),
    Key::new("upstream_buffer", Kind::Size),
    Key::new("response_header_bytes", Kind::Size),
    Key::new("response_header_fields", COUNT),
    Key::new("rate_table", COUNT),
];

/// The keys of `timeouts` in a site and in a route. The others pass before the site is known.
pub(super) static SITE_TIMEOUTS: &[Key] = &[
    Key::new("body", Kind::Duration),
    Key::new("connect", Kind::Duration),
    Key::new("response", Kind::Duration),
    Key::new("tunnel", Kind::Duration),
];

/// The keys of `timeouts`: at the top level, in a site and in a route.
pub(super) static TIMEOUTS: &[Key] = &[
    Key::new("handshake", Kind::Duration),
    Key::new("header", Kind::Duration),
    Key::new("body", Kind::Duration),
    Key::new("idle", Kind::Duration),
    Key::new("connect", Kind::Duration),
    Key::new("response", Kind::Duration),
    Key::new("tunnel", Kind::Duration),
];

/// The keys of `[status]`.
pub(super) static STATUS: &[Key] =
    &[Key::required("address", Kind::Either(&[Kind::Form(ADDRESS), Kind::Form("^unix:/")]))];

/// The keys of `[log]`.
pub(super) static LOG: &[Key] = &[
    Key::new("format", Kind::Word(&const { words(&FORMATS) })),
    Key::new("file", Kind::Path),
    Key::new("rejected", Kind::Boolean),
    Key::new("template", Kind::Text),
    Key::new("sites", Kind::Named(&Kind::Path)),
];

/// The words of `format` in `[log]`.
const FORMATS: [(&str, Format); 3] =
    [("json", Format::Json), ("combined", Format::Combined), ("off", Format::Off)];

/// Reads the listeners, one for each address of a `[[listen]]`. Listeners without a valid address are left out. Errors
/// are reported. An upstream that `forward` names by its address is appended to `upstreams`.
pub(super) fn listeners(root: &Table<'_, '_>, upstreams: &mut Vec<Upstream>) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for table in root.get("listen").map(|value| value.tables()).unwrap_or_default() {
        let boolean = |key| table.get(key).and_then(|value| value.boolean()).unwrap_or(false);
        let (tls, http3) = (boolean("tls"), boolean("http3"));
        if http3 && !tls {
            table.report_error(
                "http3",
                "needs tls, since HTTP/3 is always encrypted: write tls = true, or leave it out",
            );
        }
        let h2c = boolean("h2c");
        if h2c && tls {
            table.report_error("h2c", "is for listeners without TLS: with TLS clients choose HTTP/2 in the handshake, so leave it out");
        }
        let forward = forward(&table, upstreams);
        if forward.is_some() && tls {
            table.report_error("forward", "excludes `tls`: bytes are forwarded as they come; to pass TLS through by its server name, use `passthrough` of a site");
        }
        let kind = match (&forward, tls) {
            (Some(_), _) => ListenerKind::Tcp,
            (None, true) => ListenerKind::Tls { http3 },
            (None, false) => ListenerKind::Plain,
        };
        let name: Option<String> = table.get("name").and_then(|value| value.text()).map(Into::into);
        let interface = table.get("interface").and_then(|value| value.text()).map(Into::into);
        let proxy_protocol = table.get("proxy_protocol").map(|value| value.ranges()).unwrap_or_default();
        match table.get("address") {
            None => table.report_error("address", "missing: write address and port, such as \"0.0.0.0:443\""),
            Some(value) => {
                let addresses = value.list();
                if addresses.is_empty() {
                    value.report_error("is empty: write address and port, such as \"0.0.0.0:443\"");
                }
                for value in addresses {
                    let Some((address, zone)) = socket_address(&value) else { continue };
                    table.place(ConfigPath::Listener(listeners.len()));
                    if let (Some(zone), Some(interface)) = (&zone, &interface)
                        && zone != interface
                    {
                        value.report_error(&format!(
                            "the zone is {zone}, but `interface` is {interface}: leave one of them out"
                        ));
                    }
                    let (name, interface) = (name.clone(), zone.or_else(|| interface.clone()));
                    let proxy_protocol = proxy_protocol.clone();
                    let forward = forward.clone();
                    listeners.push(Listener { name, address, kind, interface, proxy_protocol, forward, h2c });
                }
            }
        }
        table.finish();
    }
    listeners
}

/// Parses an address and port. A link-local address has a zone, as in `[fe80::1%eth0]:443`: a name is returned as the
/// interface of the listener, which need not exist yet, and an index as the scope ID of the address. `None` if the
/// value is not valid, which is reported.
fn socket_address(value: &Value<'_, '_>) -> Option<(SocketAddr, Option<String>)> {
    let text = value.text()?;
    let (bare, zone) = match zone::split(text) {
        Some((bare, written)) => (bare, Some(zone::read(value, written)?)),
        None => (text.to_owned(), None),
    };
    let Ok(mut address) = bare.parse::<SocketAddr>() else {
        value.report_error("not a valid address and port: expected one such as 0.0.0.0:443 or [::]:443");
        return None;
    };
    let Some(zone) = zone else { return Some((address, None)) };
    match &mut address {
        SocketAddr::V6(scoped) if scoped.ip().is_unicast_link_local() => {
            if !zone.bytes().all(|b| b.is_ascii_digit()) {
                return Some((address, Some(zone.to_owned())));
            }
            match zone.parse() {
                Ok(index) if index > 0 => scoped.set_scope_id(index),
                _ => {
                    value.report_error("not a valid zone: write the name of the interface, such as %eth0");
                    return None;
                }
            }
            Some((address, None))
        }
        _ => {
            value.report_error(&format!(
                "only link-local addresses (fe80::/10) have zones: leave %{zone} out, or write it as `interface`"
            ));
            None
        }
    }
}

/// Reads the key `forward` of a listener, and the keys that apply only with it. `None` if the listener does not have
/// `forward` and thus serves HTTP; then the other keys are reported. An upstream that is not valid is reported, and its
/// name is empty.
fn forward(table: &Table<'_, '_>, upstreams: &mut Vec<Upstream>) -> Option<Forward> {
    let Some(value) = table.get("forward") else {
        for key in ["allow", "deny", "idle", "rate"] {
            if table.get(key).is_some() {
                table.report_error(key, "goes with `forward`: for HTTP, write it in a site");
            }
        }
        return None;
    };
    // An upstream that is wrong is one error, not a listener of another kind besides.
    let mut forward = Forward::to(tcp_upstream_name(&value, upstreams).unwrap_or_default());
    forward.access = access(table);
    forward.idle = table.get("idle").and_then(|value| value.duration());
    forward.rate = table.table("rate").map(|table| connection_limits(&table)).unwrap_or_default();
    Some(forward)
}

/// Reads the table `trust`. Keys that are missing or not valid have their defaults; the latter are reported.
pub(super) fn trust(table: &Table<'_, '_>) -> Trust {
    let trust = Trust {
        ranges: table.get("ranges").map(|value| value.ranges()).unwrap_or_default(),
        interface: table.get("interface").and_then(|value| value.text()).map(Into::into),
        who: table
            .get("who")
            .map(|value| {
                let form = "not a valid tailnet identity: expected node:NAME, tag:NAME or login:NAME";
                value.list().iter().filter_map(|who| who.parse(form)).collect()
            })
            .unwrap_or_default(),
        fallback: table.get("fallback").and_then(|value| value.boolean()).unwrap_or(false),
        header: table.get("header").and_then(|value| trusted_header(&value)).unwrap_or_default(),
    };
    table.finish();
    trust
}

/// Parses the name of the header that trusted proxies set: `X-Forwarded-For`, `Forwarded` or `X-Real-IP` in any case,
/// or any other field, which has one address. `None` if the value is not text, or is a likely misspelling of one of the
/// three names; both are reported.
fn trusted_header(value: &Value<'_, '_>) -> Option<TrustedHeader> {
    let name = value.text()?;
    let usual = [TrustedHeader::XForwardedFor, TrustedHeader::Forwarded, TrustedHeader::XRealIp];
    if let Some(header) = usual.iter().find(|header| header.name().eq_ignore_ascii_case(name)) {
        return Some(header.clone());
    }
    // A misspelt usual name would trust a field that nobody writes, or that clients write.
    if let Some(near) = nearest(&name.to_ascii_lowercase(), ["x-forwarded-for", "forwarded", "x-real-ip"])
        && near.len().abs_diff(name.len()) <= 2
        && near.as_bytes()[..3].eq_ignore_ascii_case(&name.as_bytes()[..3.min(name.len())])
    {
        value.report_error(&format!("not a known header: did you mean `{near}`?"));
        return None;
    }
    Some(TrustedHeader::Custom(name.into()))
}

/// Reads the table `tailnet`. A key that is missing or not valid has its default; the latter is reported.
pub(super) fn tailnet(table: &Table<'_, '_>) -> Tailnet {
    let mut tailnet = Tailnet::default();
    if let Some(socket) = table.get("socket").and_then(|value| value.path()) {
        tailnet.socket = socket;
    }
    if let Some(ranges) = table.get("ranges").map(|value| value.ranges()) {
        tailnet.ranges = ranges;
    }
    if let Some(remember) = table.get("remember").and_then(|value| value.duration()) {
        tailnet.remember = remember;
    }
    if let Some(tell) = table.get("tell").and_then(|value| value.boolean()) {
        tailnet.tell = tell;
    }
    table.finish();
    tailnet
}

/// Reads the table `limits`. Keys that are missing or not valid have their defaults; the latter are reported.
pub(super) fn limits(table: &Table<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    let size = |key, slot: &mut usize| {
        if let Some(size) = table.get(key).and_then(|value| value.size()) {
            *slot = usize::try_from(size).unwrap_or(usize::MAX);
        }
    };
    size("header_bytes", &mut limits.header_bytes);
    size("target_bytes", &mut limits.target_bytes);
    size("upstream_buffer", &mut limits.upstream_buffer);
    size("response_header_bytes", &mut limits.response_header_bytes);
    let number = |key| table.get(key).and_then(|value| value.number());
    let count = |key, slot: &mut usize| {
        if let Some(count) = number(key) {
            *slot = count as usize;
        }
    };
    count("header_fields", &mut limits.header_fields);
    count("connections", &mut limits.connections);
    count("idle_upstream", &mut limits.idle_upstream);
    count("response_header_fields", &mut limits.response_header_fields);
    count("rate_table", &mut limits.rate_table);
    if let Some(streams) = number("streams") {
        limits.streams = streams as u32;
    }
    if let Some(connections) = number("connections_per_client") {
        limits.connections_per_client = connections as u32;
    }
    if let Some(frames) = number("control_frames") {
        limits.control_frames = frames as u32;
    }
    if let Some(resets) = number("resets") {
        limits.resets = resets as u32;
    }
    table.finish();
    limits
}

/// The words of `kernel_tls`, each with true if kernel TLS is used where possible.
const KERNEL_TLS: [(&str, bool); 2] = [("auto", true), ("off", false)];
/// The kind of `kernel_tls`.
pub(super) const KERNEL_TLS_KIND: Kind = Kind::Word(&const { words(&KERNEL_TLS) });

/// The kind of `congestion`.
pub(super) const CONGESTION: Kind = Kind::Word(&const { words(&CONTROLLERS) });

/// The words of `congestion`.
const CONTROLLERS: [(&str, Congestion); 2] = [("bbr", Congestion::Bbr), ("cubic", Congestion::Cubic)];

/// Reads the key `congestion`, the congestion control of QUIC. The default of [`Congestion`] if the key is missing or
/// not valid; the latter is reported.
pub(super) fn congestion(root: &Table<'_, '_>) -> Congestion {
    root.get("congestion").and_then(|value| value.one_of(&CONTROLLERS)).unwrap_or_default()
}

/// Reads the keys `kernel_tls`, by default `auto`, and `kernel_tls_after`, the bytes that a connection sends before the
/// kernel encrypts. The latter is reported if the former is `off`.
pub(super) fn kernel_tls(root: &Table<'_, '_>) -> KernelTls {
    let mode = root.get("kernel_tls").and_then(|value| value.one_of(&KERNEL_TLS));
    let after = root.get("kernel_tls_after");
    match (mode.unwrap_or(true), after) {
        (true, after) => after
            .and_then(|value| value.size())
            .map_or_else(KernelTls::default, |after| KernelTls::Auto { after }),
        (false, None) => KernelTls::Off,
        (false, Some(value)) => {
            value.report_error("has no effect with kernel_tls = \"off\": leave one of them out");
            KernelTls::Off
        }
    }
}

/// Reads the table `timeouts` of the top level. Keys that are missing or not valid have their defaults; the latter are
/// reported.
pub(super) fn timeouts(table: &Table<'_, '_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    read_durations(
        table,
        [
            ("handshake", &mut timeouts.handshake),
            ("header", &mut timeouts.header),
            ("idle", &mut timeouts.idle),
        ],
    );
    site_timeouts(table, timeouts)
}

/// Reads the table `timeouts` of a site or a route. Keys that are missing have the values of `inherited`.
pub(super) fn site_timeouts(table: &Table<'_, '_>, inherited: Timeouts) -> Timeouts {
    let mut timeouts = inherited;
    read_durations(
        table,
        [
            ("body", &mut timeouts.body),
            ("connect", &mut timeouts.connect),
            ("response", &mut timeouts.response),
            ("tunnel", &mut timeouts.tunnel),
        ],
    );
    table.finish();
    timeouts
}

/// Replaces the values of the keys that a table has by its valid durations. Others are reported.
fn read_durations<const N: usize>(table: &Table<'_, '_>, slots: [(&'static str, &mut Duration); N]) {
    for (key, slot) in slots {
        if let Some(duration) = table.get(key).and_then(|value| value.duration()) {
            *slot = duration;
        }
    }
}

/// Reads the table `status`. `None` if the address is missing, not valid or not a loopback address, which is reported.
pub(super) fn status(table: &Table<'_, '_>) -> Option<StatusAddress> {
    let address = table.get("address").and_then(|value| {
        let text = value.text()?;
        if let Some(path) = text.strip_prefix("unix:/") {
            return Some(StatusAddress::Unix(format!("/{path}").into()));
        }
        let Ok(address) = text.parse::<SocketAddr>() else {
            value.report_error("not a valid address: expected 127.0.0.1:9180 or unix:/run/edge-proxyd/status.sock");
            return None;
        };
        if !address.ip().is_loopback() {
            value.report_error("not a local address, and the page must not be reachable from other hosts: expected a loopback address, or unix:/PATH");
            return None;
        }
        Some(StatusAddress::Loopback(address))
    });
    if table.get("address").is_none() {
        table.report_error("address", "missing: write address = \"127.0.0.1:9180\", or unix:/PATH");
    }
    table.finish();
    address
}

/// Reports the keys of `log.sites` that are not names of sites in `proxy`, with the most similar name.
pub(super) fn log_sites(table: &Table<'_, '_>, log: &LogSettings, proxy: &edge_proxy::config::Config) {
    let known = || proxy.sites.iter().map(|site| site.name.as_str());
    for (site, _) in log.sites.iter().filter(|(site, _)| !known().any(|name| name == site)) {
        let hint = nearest(site, known()).map_or_else(
            || "write the `name` of a site, which is its first host unless it has one".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        table.report_error("sites", &format!("no site has the name `{site}`: {hint}"));
    }
}

/// Reads the table `log`. `format` beside a template is reported. A key that is missing or not valid has its default;
/// the latter is reported.
pub(super) fn log(table: &Table<'_, '_>) -> LogSettings {
    let sites = table.table("sites").map(|table| {
        table.all().filter_map(|(name, value)| Some((name.to_owned(), value.path()?))).collect()
    });
    let template = table
        .get("template")
        .and_then(|value| Template::parse(value.text()?).map_err(|why| value.report_error(&why)).ok());
    if template.is_some() && table.get("format").is_some() {
        table.report_error("format", "excludes `template`: write one of the two");
    }
    let log = LogSettings {
        template,
        sites: sites.unwrap_or_default(),
        format: table.get("format").and_then(|value| value.one_of(&FORMATS)).unwrap_or_default(),
        file: table.get("file").and_then(|value| value.path()),
        rejected: table.get("rejected").and_then(|value| value.boolean()).unwrap_or(false),
    };
    table.finish();
    log
}
