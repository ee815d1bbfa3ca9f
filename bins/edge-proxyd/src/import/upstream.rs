//! Conversion of the addresses in `proxy_pass` and `grpc_pass`.

use super::notes::Notes;
use super::parse::Directive;
use super::scope::Scope;
use super::upstream_block::Block;
use edge_http::host::split_authority;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// An upstream of the converted configuration, whose values are as written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upstream {
    /// The name of the section `[upstream.NAME]`.
    pub(super) name: String,
    /// The URLs of the targets, or the address of a Unix socket.
    pub(super) targets: Vec<String>,
    /// The URLs of backup targets.
    pub(super) backups: Vec<String>,
    /// The URLs of targets and backups with their weights. Empty if all weights are equal.
    pub(super) weights: Vec<(String, u16)>,
    /// The value of `balance`. `None` for the default.
    pub(super) balance: Option<&'static str>,
    /// The value of `sticky`. `None` if clients are not bound to targets.
    pub(super) sticky: Option<String>,
    /// The value of `idle`. `None` for the default.
    pub(super) idle: Option<String>,
    /// True if `X-Forwarded-For` is to name the client alone, without the trusted proxies behind it.
    pub(super) client_alone: bool,
    /// The keys of `health`, with their values.
    pub(super) health: Vec<(&'static str, String)>,
    /// The value of `Host` in requests to the upstream. `None` if the client's is forwarded.
    pub(super) host: Option<String>,
    /// The keys of `tls`, with their values.
    pub(super) tls: Vec<(&'static str, String)>,
    /// True if connections to the targets begin with a PROXY header of version 1.
    pub(super) proxy_protocol: bool,
}

/// The `upstream` blocks of nginx, and the upstreams of the converted configuration.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    /// The `upstream` blocks of nginx, by their name.
    pub(super) blocks: BTreeMap<String, Block>,
    /// The upstreams of the converted configuration, to which requests, connections or subrequests are forwarded.
    pub(super) used: Vec<Upstream>,
}

/// The destination of a `proxy_pass` or `grpc_pass`.
pub(super) struct ProxyPass {
    /// The name of the upstream in the converted configuration.
    pub(super) upstream: String,
    /// The path in the address, with its query. `None` if the address has none, so that the path of the request is
    /// forwarded.
    pub(super) path: Option<String>,
    /// True if the upstream receives the client's `Host`, false if a fixed one.
    pub(super) keeps_host: bool,
}

/// The parts of the address of a `proxy_pass` or `grpc_pass`.
struct PassAddress {
    /// The scheme of targets in the converted configuration.
    scheme: &'static str,
    /// The host and port, the name of an `upstream` block, or `unix:PATH`.
    authority: String,
    /// The path with its query, or a variable in place of it. `None` if the address has none.
    path: Option<String>,
}

impl PassAddress {
    /// Splits the address of a `proxy_pass` or, if `grpc` is true, of a `grpc_pass`.
    ///
    /// # Errors
    /// A reason if the scheme is not one of the directive, or the path begins with a variable other than
    /// `$request_uri` or `$uri`.
    fn parse(url: &str, grpc: bool) -> Result<Self, &'static str> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("http", rest)) if !grpc => ("http", rest),
            Some(("https", rest)) if !grpc => ("https", rest),
            Some(("grpc", rest)) if grpc => ("h2c", rest),
            Some(("grpcs", rest)) if grpc => ("h2", rest),
            None if grpc => ("h2c", url),
            _ => return Err("not an http:// or https:// address"),
        };
        let (authority, path) = if let Some(socket) = rest.strip_prefix("unix:") {
            let (socket, path) =
                socket.split_once(':').map_or((socket, None), |(socket, path)| (socket, Some(path)));
            (format!("unix:{socket}"), path.map(String::from))
        } else {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            // A variable that begins with the path, such as $request_uri.
            let at = rest.find('$').map_or(at, |variable| at.min(variable));
            (rest[..at].to_owned(), Some(rest[at..].to_owned()).filter(|path| !path.is_empty()))
        };
        if path.as_ref().is_some_and(|path| {
            path.starts_with('$') && !path.starts_with("$request_uri") && !path.starts_with("$uri")
        }) {
            return Err("its address has variables that are not known here");
        }
        Ok(Self { scheme, authority, path })
    }
}

impl Upstreams {
    /// Adds the upstream for the address `url` of a `proxy_pass` or `grpc_pass` in this scope, unless there is an equal
    /// one. Notes targets that are left out, a `Host` that is not known, and with TLS and no trusted authority, that
    /// the certificate is verified now.
    ///
    /// # Errors
    /// A reason if the scheme is not one of the directive, the path begins with a variable other than `$request_uri` or
    /// `$uri`, or no target can be written.
    pub(super) fn pass(
        &mut self,
        directive: &Directive,
        url: &str,
        scope: &Scope,
        notes: &mut Notes,
    ) -> Result<ProxyPass, &'static str> {
        let PassAddress { scheme, authority, path } = PassAddress::parse(url, directive.name == "grpc_pass")?;
        let block = self.blocks.get(&authority);
        let servers = match block {
            Some(block) => block.servers.clone(),
            None => vec![authority.clone()],
        };
        let targets = targets(scheme, &servers, block.is_some());
        let zoneless = servers.iter().any(|server| is_link_local(server));
        if targets.is_empty() {
            return Err(if zoneless {
                "its address is link-local, and nginx cannot name the interface: write http://[ADDRESS%INTERFACE]:PORT by hand"
            } else {
                "it has no target that can be written"
            });
        }
        if zoneless {
            notes.different(
                directive,
                "a link-local target of its upstream, for which nginx cannot name the interface, is left out: write http://[ADDRESS%INTERFACE]:PORT by hand",
            );
        } else if targets.len() < servers.len() {
            notes.different(directive, "some targets of its upstream cannot be written, and are left out");
        }
        let mut backups = block.map_or_else(Vec::new, |block| self::targets(scheme, &block.backups, true));
        backups.retain(|backup| {
            !targets.contains(backup) && backup.starts_with("unix:") == targets[0].starts_with("unix:")
        });
        let mut weights: Vec<(String, u16)> = Vec::new();
        for (address, weight) in block.map_or(&[][..], |block| &block.weights) {
            let written = self::targets(scheme, std::slice::from_ref(address), true);
            weights.extend(
                written
                    .into_iter()
                    .filter(|one| targets.contains(one) || backups.contains(one))
                    .map(|one| (one, *weight)),
            );
        }
        weights.dedup_by(|a, b| a.0 == b.0);
        let host = host(directive, scope, (scheme, &authority), notes);
        let tls = if matches!(scheme, "https" | "h2") {
            if !scope.tls.iter().any(|(key, _)| matches!(*key, "ca" | "pin")) {
                notes.closed(directive, "the certificate of the service is verified now, as nginx does not by default: if no public authority signed it, write tls = { pin = \"/PATH/OF/ITS.pem\" } in the upstream, or 502 is the answer");
            }
            let mut keys = scope.tls.clone();
            // Both or neither.
            let pair = ["certificate", "key"].iter().all(|key| keys.iter().any(|(known, _)| known == key));
            keys.retain(|(key, _)| pair || !matches!(*key, "certificate" | "key"));
            keys
        } else {
            Vec::new()
        };
        let (balance, health) =
            block.map_or((None, Vec::new()), |block| (block.balance, block.health.clone()));
        let sticky = block.and_then(|block| block.sticky.clone());
        let idle = block.and_then(|block| block.idle.clone());
        let upstream = Upstream {
            name: String::new(),
            targets,
            backups,
            weights,
            balance,
            sticky,
            idle,
            client_alone: ends_with_the_client(scope),
            health,
            host,
            tls,
            proxy_protocol: false,
        };
        let keeps_host = upstream.host.is_none();
        Ok(ProxyPass { upstream: self.name_for(&authority, upstream), path, keeps_host })
    }

    /// Returns the upstream for raw TCP to an address or an `upstream` block of nginx: its name, after it is added
    /// unless there is an equal one; or `unix:PATH` itself for a Unix socket, which has no upstream. `None` if no
    /// server has a port and an address that is not link-local, or for a Unix socket with a PROXY header.
    pub(super) fn tcp(&mut self, address: &str, proxy_protocol: bool) -> Option<String> {
        // A socket is no target of an upstream for raw TCP, which a PROXY header needs.
        if let Some(path) = address.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return (!proxy_protocol).then(|| format!("unix:{}", path.trim_end_matches(':')));
        }
        let servers = match self.blocks.get(address) {
            Some(block) => block.servers.clone(),
            None => vec![address.to_owned()],
        };
        let valid = |server: &&String| {
            split_authority(server).is_some_and(|(_, port, _)| port.is_some_and(|port| port > 0))
                && !is_link_local(server)
        };
        let targets: Vec<String> =
            servers.iter().filter(valid).map(|server| format!("tcp://{server}")).collect();
        if targets.is_empty() {
            return None;
        }
        let upstream = Upstream {
            name: String::new(),
            targets,
            backups: Vec::new(),
            weights: Vec::new(),
            balance: None,
            sticky: None,
            idle: None,
            client_alone: false,
            health: Vec::new(),
            host: None,
            tls: Vec::new(),
            proxy_protocol,
        };
        Some(self.name_for(address, upstream))
    }

    /// Adds an upstream, unless there is one with equal settings, and returns its name: that of the equal one, or
    /// `authority` with other characters than letters, digits, `-` and `_` replaced by `-`, followed by a number if the
    /// name is taken.
    fn name_for(&mut self, authority: &str, mut upstream: Upstream) -> String {
        for known in &self.used {
            upstream.name.clone_from(&known.name);
            if *known == upstream {
                return upstream.name;
            }
        }
        let letters =
            authority.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' });
        let bare: String = letters.collect();
        let bare =
            Some(bare.trim_matches('-')).filter(|bare| !bare.is_empty()).unwrap_or("service").to_owned();
        let mut name = bare.clone();
        let mut number = 2;
        while self.used.iter().any(|one| one.name == name) {
            name = format!("{bare}-{number}");
            number += 1;
        }
        upstream.name.clone_from(&name);
        self.used.push(upstream);
        name
    }
}

/// Returns the URLs of the servers over TCP, without repetitions and at most 64; or, if there are none and the scheme
/// is `http`, the first Unix socket with an absolute path. Invalid and link-local addresses and port 0 are left out.
/// `block` is true for servers of an `upstream` block, whose default port is 80 even with TLS.
fn targets(scheme: &str, servers: &[String], block: bool) -> Vec<String> {
    let valid = |server: &&String| {
        !server.starts_with("unix:")
            && split_authority(server).is_some_and(|(_, port, _)| port != Some(0))
            && !is_link_local(server)
    };
    let mut found: Vec<String> = Vec::new();
    for server in servers.iter().filter(valid) {
        // In a block, port 80 is nginx's default for https:// too.
        let port = split_authority(server).and_then(|(_, port, _)| port);
        let port = if block && port.is_none() && matches!(scheme, "https" | "h2") { ":80" } else { "" };
        let target = format!("{scheme}://{server}{port}");
        if !found.contains(&target) && found.len() < 64 {
            found.push(target);
        }
    }
    if found.is_empty() && matches!(scheme, "http") {
        let socket = servers.iter().find(|server| server.starts_with("unix:/") && server.len() < 112);
        found.extend(socket.cloned());
    }
    found
}

/// Returns true if the last entry of `X-Forwarded-For` that a service receives is the restored address of the client: a
/// proxy is trusted, and the field is set to `$remote_addr` or `$proxy_add_x_forwarded_for`. By default edge-proxyd appends
/// the trusted proxy instead.
fn ends_with_the_client(scope: &Scope) -> bool {
    let set = scope.request.iter().rev().find(|one| one.first().eq_ignore_ascii_case("x-forwarded-for"));
    let value = set.and_then(|one| one.arguments.get(1)).map_or("", String::as_str);
    !scope.real_ip.ranges.is_empty()
        && scope.real_ip.header() != "proxy_protocol"
        && matches!(value, "$remote_addr" | "$proxy_add_x_forwarded_for")
}

/// Returns whether the address of a server is link-local. nginx takes such an address without its zone, and fails to
/// connect to it.
fn is_link_local(server: &str) -> bool {
    let host = server.strip_prefix('[').and_then(|rest| rest.split([']', '%']).next());
    let address = host.and_then(|host| host.parse::<Ipv6Addr>().ok());
    address.is_some_and(|address| address.is_unicast_link_local())
}

/// Returns the `Host` of requests to the upstream: that of `proxy_set_header Host`, or `authority` as in nginx, without
/// the default port of the scheme, and `localhost` for a Unix socket. `None` if the client's is forwarded: because a
/// variable such as `$host` says so, or because the value is not known or not valid, which is noted.
fn host(
    directive: &Directive,
    scope: &Scope,
    (scheme, authority): (&str, &str),
    notes: &mut Notes,
) -> Option<String> {
    let set = scope.request.iter().rev().find(|one| one.first().eq_ignore_ascii_case("host"));
    let value = set.and_then(|one| one.arguments.get(1)).map_or("$proxy_host", String::as_str);
    let host = match value {
        "$host" | "$http_host" | "$host:$server_port" | "$server_name" | "$ssl_server_name" => return None,
        "$proxy_host" if authority.starts_with("unix:") => "localhost",
        "$proxy_host" => {
            let port = if matches!(scheme, "https" | "h2") { ":443" } else { ":80" };
            authority.strip_suffix(port).unwrap_or(authority)
        }
        literal if !literal.contains('$') => literal,
        _ => {
            notes.different(
                set.unwrap_or(directive),
                "its variable is not known here: the service receives the client's Host",
            );
            return None;
        }
    };
    if split_authority(host).is_none() {
        notes.different(
            set.unwrap_or(directive),
            format!("`{host}` is not a valid Host: the service receives the client's"),
        );
        return None;
    }
    Some(host.to_owned())
}
