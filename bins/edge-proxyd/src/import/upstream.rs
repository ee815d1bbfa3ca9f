//! Conversion of `upstream` and `proxy_pass`.

use super::notes::Notes;
use super::parse::Directive;
use super::scope::Scope;
use edge_proxy::host::split_authority;
use std::collections::BTreeMap;

/// The content of an `upstream NAME { … }` block.
#[derive(Debug, Default)]
pub(super) struct Block {
    servers: Vec<String>,
    balance: Option<&'static str>,
    health: Vec<(&'static str, String)>,
}

impl Block {
    pub(super) fn read(block: &[Directive], notes: &mut Notes) -> Self {
        let mut found = Self::default();
        let mut weights = Vec::new();
        for directive in block {
            let arguments: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
            match (directive.name.as_str(), arguments.as_slice()) {
                ("server", [address, options @ ..]) => {
                    if options.contains(&"down") {
                        continue;
                    }
                    found.servers.push((*address).to_owned());
                    let mut weight = "1";
                    for option in options {
                        match option.split_once('=') {
                            Some(("weight", value)) => weight = value,
                            Some(("max_fails", value))
                                if value.parse::<u8>().is_ok_and(|fails| fails < 255) =>
                            {
                                found.set("failures", value.to_owned());
                            }
                            Some(("fail_timeout", value)) => {
                                let seconds = value.bytes().all(|byte| byte.is_ascii_digit());
                                let time = if seconds { format!("{value}s") } else { value.to_owned() };
                                found.set("eject", toml::Value::String(time).to_string());
                            }
                            Some(("max_conns", _)) => {
                                notes.push(
                                    directive,
                                    "the number of connections to a target cannot be limited",
                                );
                            }
                            _ if *option == "backup" => notes.push(
                                directive,
                                "backup targets are not supported: it is used like the others",
                            ),
                            _ => notes.push(directive, format!("{option} is not supported by edge-proxyd")),
                        }
                    }
                    weights.push((weight.to_owned(), directive));
                }
                ("least_conn", _) => found.balance = Some("least-connections"),
                ("ip_hash", _) => found.balance = Some("hash-client"),
                ("hash", [key, ..]) => match *key {
                    "$request_uri" | "$uri" => found.balance = Some("hash-target"),
                    "$host" | "$http_host" => found.balance = Some("hash-host"),
                    "$remote_addr" | "$binary_remote_addr" => found.balance = Some("hash-client"),
                    _ => notes.push(directive, "edge-proxyd hashes by client, host or target only"),
                },
                ("keepalive" | "keepalive_requests" | "keepalive_timeout" | "zone", _) => {}
                _ => notes.unknown(directive),
            }
        }
        let same = weights.iter().all(|(weight, _)| *weight == weights[0].0);
        for (_, directive) in weights.iter().filter(|(weight, _)| !same && weight != "1") {
            notes.push(directive, "weights are not supported: each target gets the same share of requests");
        }
        found
    }

    fn set(&mut self, key: &'static str, value: String) {
        if !self.health.iter().any(|(known, _)| *known == key) {
            self.health.push((key, value));
        }
    }
}

/// An upstream of the converted configuration.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) targets: Vec<String>,
    pub(super) balance: Option<&'static str>,
    pub(super) health: Vec<(&'static str, String)>,
    pub(super) host: Option<String>,
}

/// The upstreams that `proxy_pass` refers to.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    pub(super) blocks: BTreeMap<String, Block>,
    pub(super) used: Vec<Upstream>,
}

/// The destination of `proxy_pass`: the upstream, and the path in its address.
pub(super) struct Passed {
    pub(super) upstream: String,
    pub(super) path: Option<String>,
}

impl Upstreams {
    /// Returns the upstream for a `proxy_pass` in this scope.
    pub(super) fn pass(&mut self, directive: &Directive, scope: &Scope, notes: &mut Notes) -> Option<Passed> {
        let url = directive.arguments.first()?;
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            _ => {
                notes.push(directive, "not an http:// or https:// address");
                return None;
            }
        };
        if rest.contains('$') {
            notes.push(directive, "edge-proxyd has no variables: write an upstream for each service");
            return None;
        }
        let (authority, path) = if let Some(socket) = rest.strip_prefix("unix:") {
            let (socket, path) =
                socket.split_once(':').map_or((socket, None), |(socket, path)| (socket, Some(path)));
            (format!("unix:{socket}"), path.map(String::from))
        } else {
            let at = rest.find('/').unwrap_or(rest.len());
            (rest[..at].to_owned(), Some(rest[at..].to_owned()).filter(|path| !path.is_empty()))
        };
        let host = self.host(directive, scope, &authority, notes);
        let block = self.blocks.get(&authority);
        let targets = match block {
            Some(block) => block.servers.iter().map(|server| target(scheme, server)).collect(),
            None => vec![target(scheme, &authority)],
        };
        let (balance, health) =
            block.map_or((None, Vec::new()), |block| (block.balance, block.health.clone()));
        if let Some(same) =
            self.used.iter().find(|one| one.targets == targets && one.host == host && one.balance == balance)
        {
            return Some(Passed { upstream: same.name.clone(), path });
        }
        let bare: String = authority
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' })
            .collect();
        let bare = bare.trim_matches('-').to_owned();
        let mut name = bare.clone();
        let mut number = 2;
        while self.used.iter().any(|one| one.name == name) {
            name = format!("{bare}-{number}");
            number += 1;
        }
        self.used.push(Upstream { name: name.clone(), targets, balance, health, host });
        Some(Passed { upstream: name, path })
    }

    /// Returns the Host for the upstream: `None` keeps the client's. nginx sends the upstream's own unless configured
    /// otherwise.
    fn host(
        &self,
        directive: &Directive,
        scope: &Scope,
        authority: &str,
        notes: &mut Notes,
    ) -> Option<String> {
        let set = scope
            .request
            .iter()
            .rev()
            .find(|one| one.arguments.first().is_some_and(|name| name.eq_ignore_ascii_case("host")));
        let value = set.and_then(|one| one.arguments.get(1)).map_or("$proxy_host", String::as_str);
        let host = match value {
            "$host" | "$http_host" | "$host:$server_port" => return None,
            "$proxy_host" if authority.starts_with("unix:") => "localhost",
            "$proxy_host" => authority,
            literal if !literal.contains('$') => literal,
            _ => {
                notes.push(
                    set.unwrap_or(directive),
                    "edge-proxyd has no variables: the upstream receives the client's Host",
                );
                return None;
            }
        };
        if split_authority(host).is_none() {
            notes.push(
                set.unwrap_or(directive),
                format!("`{host}` is not a valid Host: the upstream receives the client's"),
            );
            return None;
        }
        Some(host.to_owned())
    }
}

fn target(scheme: &str, server: &str) -> String {
    if server.starts_with("unix:") { server.to_owned() } else { format!("{scheme}://{server}") }
}
