//! Conversion of `stream`: TCP that is forwarded unchanged, to one upstream or by the name in the TLS handshake.

use super::listen::{Listen, listen};
use super::notes::Notes;
use super::parse::Directive;
use super::ranges::{Lists, Rule, everyone, lists, net_of};
use super::sites::ANY;
use super::times::{duration, milliseconds};
use super::upstream::Upstreams;
use super::upstream_block::Block;
use super::variables::Variables;
use edge_http::host::HostPattern;

/// A server of `stream`.
#[derive(Clone, Debug)]
pub(super) struct StreamServer {
    /// The `server` directive.
    pub(super) directive: Directive,
    /// The addresses on which the server listens, not empty.
    pub(super) listens: Vec<Listen>,
    /// The upstream of all connections, or `unix:PATH`. `None` if the name in the TLS handshake decides.
    pub(super) upstream: Option<String>,
    /// The address lists that decide which clients may connect.
    pub(super) lists: Lists,
    /// The duration after which an idle connection is closed, as the value of `idle`. `None` for the default.
    pub(super) idle: Option<String>,
    /// The limits of open connections: keys of `rate`, each with its number.
    pub(super) most: Vec<(&'static str, u32)>,
    /// Groups of hosts, each with the upstream to which TLS connections for them are forwarded. Empty if `upstream` is
    /// set.
    pub(super) by_name: Vec<(Vec<String>, String)>,
}

/// Directives of `stream` that servers do not inherit as settings: they have no effect here or are read separately.
const OUTER: &[&str] = &[
    "geo",
    "limit_conn",
    "limit_conn_zone",
    "log_format",
    "map",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "server",
    "upstream",
    "variables_hash_bucket_size",
    "variables_hash_max_size",
];

/// Converts the servers of a `stream` block. Their upstreams are added to `upstreams`.
pub(super) fn stream(block: &[Directive], upstreams: &mut Upstreams, notes: &mut Notes) -> Vec<StreamServer> {
    let all: Vec<&Directive> = block.iter().collect();
    let variables = Variables::read(&all);
    let mut known = Upstreams {
        blocks: std::mem::take(&mut upstreams.blocks),
        used: std::mem::take(&mut upstreams.used),
    };
    let http: Vec<String> = known.blocks.keys().cloned().collect();
    for directive in block.iter().filter(|directive| directive.name == "upstream") {
        let block = Block::read(directive.inner(), notes);
        known.blocks.insert(directive.first().to_owned(), block);
    }
    let servers = block.iter().filter(|directive| directive.name == "server");
    let found =
        servers.filter_map(|server| self::server(server, block, &variables, &mut known, notes)).collect();
    // The upstreams of `stream` are not those of `http`.
    known.blocks.retain(|name, _| http.contains(name));
    *upstreams = known;
    found
}

/// Converts a server of `stream`. `outer` are the directives of `stream`, which it inherits; its own `allow` and `deny`
/// replace those. `None`, with a note, if the server has a directive that is not supported, a limit that cannot be
/// converted, or no target that can; without a note if no address to listen on remains, which is noted by itself.
fn server(
    server: &Directive,
    outer: &[Directive],
    variables: &Variables,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Option<StreamServer> {
    let mut found = StreamServer {
        directive: server.clone(),
        listens: Vec::new(),
        upstream: None,
        lists: Lists::default(),
        idle: None,
        most: Vec::new(),
        by_name: Vec::new(),
    };
    let mut settings = ServerSettings::default();
    // The rules of a server take the place of those around it.
    let is_rule = |one: &&Directive| matches!(one.name.as_str(), "allow" | "deny");
    let has_rules = server.inner().iter().any(|one| is_rule(&one));
    let inherited = outer.iter().filter(|one| !OUTER.contains(&one.name.as_str()));
    let inherited = inherited.filter(|one| !(has_rules && is_rule(one)));
    let limits = limits(server.inner(), outer);
    let own = server.inner().iter().filter(|one| one.name != "limit_conn");
    for one in inherited.chain(own).chain(limits.iter().copied()) {
        settings.take(one, outer, variables, &mut found, notes)?;
    }
    let ServerSettings { pass, preread, proxied, rules } = settings;
    found.lists = lists(&rules).unwrap_or_else(Lists::deny_all);
    if found.listens.is_empty() {
        return None;
    }
    let Some((at, address)) = pass else {
        notes.closed(server, "forwards to nothing: its listener is left out");
        return None;
    };
    if !address.contains('$') {
        found.upstream = upstreams.tcp(&address, proxied);
        if found.upstream.is_none() {
            notes.closed(&at, "not an address with a port: its listener is left out");
            return None;
        }
        return Some(found);
    }
    if let Some(limit) = limits.first() {
        notes
            .closed(limit, "connections that a name decides about are not limited: its listener is left out");
        return None;
    }
    let Some((entries, default)) = variables.by_server_name(&address).filter(|_| preread) else {
        notes.closed(&at, "its variable is not known here: its listener is left out");
        return None;
    };
    found.add_names(&at, (&entries, default), (variables, proxied), upstreams, notes);
    (!found.by_name.is_empty()).then_some(found)
}

/// The settings of a server of `stream` that are not part of the converted server, but determine it.
#[derive(Default)]
struct ServerSettings {
    /// The `proxy_pass`, and its address after the expansion of variables. `None` without one.
    pass: Option<(Directive, String)>,
    /// True with `ssl_preread on`, by which the server name of the ClientHello is read.
    preread: bool,
    /// True with `proxy_protocol on`: connections to the upstream begin with a PROXY header.
    proxied: bool,
    /// The rules of `allow` and `deny`, in their order.
    rules: Vec<Rule>,
}

impl ServerSettings {
    /// Takes a directive of the server or of `stream` (`outer`) into the settings, or into `found`. `None`, with a
    /// note, if the server cannot be converted because of the directive.
    fn take(
        &mut self,
        one: &Directive,
        outer: &[Directive],
        variables: &Variables,
        found: &mut StreamServer,
        notes: &mut Notes,
    ) -> Option<()> {
        match (one.name.as_str(), one.first()) {
            ("listen", _) => found.listens.extend(listens(one, notes)),
            ("proxy_pass", address) => self.pass = Some((one.clone(), variables.expand(address))),
            ("ssl_preread", value) => self.preread = value == "on",
            ("proxy_protocol", value) => self.proxied = value == "on",
            ("proxy_timeout", value) => match milliseconds(value) {
                Some(time) if (1..=30 * 86_400_000).contains(&time) => found.idle = Some(duration(time)),
                _ => notes.different(one, "not a supported duration: write idle by hand"),
            },
            ("limit_conn", zone) => found.add_limit(one, zone, outer, notes)?,
            ("allow" | "deny", range) => self.add_rules(one, range, notes),
            (
                "proxy_connect_timeout"
                | "tcp_nodelay"
                | "proxy_buffer_size"
                | "access_log"
                | "error_log"
                | "proxy_socket_keepalive"
                | "preread_timeout"
                | "resolver"
                | "resolver_timeout"
                | "proxy_half_close"
                | "limit_conn_log_level"
                | "limit_conn_dry_run",
                _,
            ) => {}
            _ => {
                notes.closed(
                    one,
                    "not supported for TCP, and may limit who connects: its listener is left out",
                );
                return None;
            }
        }
        Some(())
    }

    /// Adds the rules of an `allow` or `deny` directive. A range that is not valid, which is noted, denies everyone.
    fn add_rules(&mut self, one: &Directive, range: &str, notes: &mut Notes) {
        let allows = one.name == "allow";
        match (range, net_of(range)) {
            ("all", _) => self.rules.extend(everyone().map(|range| Rule { allows, range })),
            (_, Some(range)) => self.rules.push(Rule { allows, range }),
            _ => {
                notes.closed(one, "not a range of addresses: nobody may connect until you write it");
                self.rules.insert(0, Rule { allows: false, range: everyone()[0] });
                self.rules.insert(0, Rule { allows: false, range: everyone()[1] });
            }
        }
    }
}

/// Returns the addresses of a `listen` directive of `stream`. Empty, with a note, if it is not supported for TCP.
fn listens(one: &Directive, notes: &mut Notes) -> Vec<Listen> {
    let first = one.first();
    let has = |name: &str| one.arguments.iter().any(|option| option == name);
    let range = first.rsplit_once(':').map_or(first, |(_, port)| port).split_once('-');
    if has("udp") {
        notes.closed(one, "UDP is not forwarded");
    } else if has("ssl") {
        notes.closed(one, "TLS of other protocols than HTTP does not end here");
    } else if has("proxy_protocol") {
        notes.closed(one, "PROXY headers are not read where TCP is forwarded");
    } else if let Some((ports, end)) = range {
        notes.closed(one, format!("a range of ports: write a [[listen]] for each from {ports} to {end}"));
    } else {
        return listen(one, notes);
    }
    Vec::new()
}

impl StreamServer {
    /// Adds the limit of a `limit_conn` directive for this zone; of several for the same key, the lowest counts. `None`,
    /// with a note, if connections are not counted by the zone's key, or the number is not valid.
    fn add_limit(
        &mut self,
        one: &Directive,
        zone: &str,
        outer: &[Directive],
        notes: &mut Notes,
    ) -> Option<()> {
        let most = one.arguments.get(1).and_then(|most| most.parse().ok()).filter(|most: &u32| *most > 0);
        let Some((key, most)) = counted(zone, outer).zip(most) else {
            notes.closed(
                one,
                "connections are not counted by this key, and were limited: its listener is left out",
            );
            return None;
        };
        match self.most.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = most.min(*known),
            None => self.most.push((key, most)),
        }
        Some(())
    }

    /// Adds the upstreams to which the `map` of the address of `at` forwards TLS by the server name: those of its
    /// entries, and of its default for all other names. What cannot be converted is noted and left out; the default
    /// is then left out, too. `proxied` is true if connections begin with a PROXY header.
    fn add_names(
        &mut self,
        at: &Directive,
        (entries, default): (&[&(String, String)], &str),
        (variables, proxied): (&Variables, bool),
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) {
        // Names that cannot be converted must not go where all other names go.
        let mut lost = false;
        for (name, target) in entries.iter().copied() {
            let hosts: Vec<String> = match name.strip_prefix('.') {
                Some(name) => vec![name.to_owned(), format!("*.{name}")],
                None => vec![name.clone()],
            };
            let valid: Vec<String> = hosts
                .iter()
                .filter_map(|host| HostPattern::parse(host).ok())
                .map(|host| host.to_string())
                .collect();
            let target = variables.expand(target);
            match (valid.len() == hosts.len(), upstreams.tcp(&target, proxied)) {
                (true, Some(upstream)) => {
                    let taken = |host: &String| self.by_name.iter().any(|(hosts, _)| hosts.contains(host));
                    let hosts: Vec<String> = valid.into_iter().filter(|host| !taken(host)).collect();
                    match self.by_name.iter_mut().find(|(_, known)| *known == upstream) {
                        _ if hosts.is_empty() => {}
                        Some((known, _)) => known.extend(hosts),
                        None => self.by_name.push((hosts, upstream)),
                    }
                }
                _ => {
                    lost = true;
                    let why = "not a host name and an address with a port";
                    notes.closed(at, format!("`{name}` does not go to `{target}`: {why}"));
                }
            }
        }
        if default.is_empty() {
            return;
        }
        if lost {
            let why = "since some names could not be converted";
            notes.closed(at, format!("TLS for other names does not go to `{default}`, {why}"));
            return;
        }
        match upstreams.tcp(&variables.expand(default), proxied) {
            Some(upstream) => {
                notes.different(at, format!("TLS without a name went to {default} too, and is dropped here"));
                match self.by_name.iter_mut().find(|(_, known)| *known == upstream) {
                    Some((known, _)) => known.push(ANY.into()),
                    None => self.by_name.push((vec![ANY.into()], upstream)),
                }
            }
            None => {
                let why = "not an address with a port";
                notes.closed(at, format!("TLS for other names does not go to `{default}`: {why}"));
            }
        }
    }
}

/// Returns the `limit_conn` directives in effect for a server: its own, or else those of `stream`. Empty with
/// `limit_conn_dry_run on`.
fn limits<'d>(own: &'d [Directive], outer: &'d [Directive]) -> Vec<&'d Directive> {
    let nearest = |name: &'static str| -> Vec<&'d Directive> {
        let of = |block: &'d [Directive]| block.iter().filter(move |one| one.name == name);
        if of(own).next().is_some() { of(own).collect() } else { of(outer).collect() }
    };
    let tried_out = nearest("limit_conn_dry_run").first().is_some_and(|one| one.first() == "on");
    if tried_out { Vec::new() } else { nearest("limit_conn") }
}

/// Returns the key of `rate` that counts connections as the `limit_conn_zone` named `zone` does: `client_concurrent`
/// for each client, `concurrent` for each address or port of the server. `None` for other keys, or if there is no such
/// zone.
fn counted(zone: &str, outer: &[Directive]) -> Option<&'static str> {
    let is_it = |one: &&Directive| {
        one.name == "limit_conn_zone"
            && one.arguments.iter().any(|option| {
                option.strip_prefix("zone=").and_then(|rest| rest.split(':').next()) == Some(zone)
            })
    };
    match outer.iter().find(is_it)?.first() {
        "$binary_remote_addr" | "$remote_addr" => Some("client_concurrent"),
        "$server_addr" | "$server_port" => Some("concurrent"),
        _ => None,
    }
}
