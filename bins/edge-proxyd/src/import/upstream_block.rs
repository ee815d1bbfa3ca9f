//! The `upstream` blocks of nginx.

use super::notes::Notes;
use super::parse::Directive;
use super::quote::quoted;
use super::times::{duration, milliseconds};

/// An `upstream` block of nginx.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The addresses of the servers, without backups and those that are down. If there are only backups, the backups.
    pub(super) servers: Vec<String>,
    /// The addresses of backup servers. Empty if there are no other servers.
    pub(super) backups: Vec<String>,
    /// The addresses of servers and backups with their weights from 1 to 1000. Empty if all weights are equal.
    pub(super) weights: Vec<(String, u16)>,
    /// The value of `balance`. `None` for the default.
    pub(super) balance: Option<&'static str>,
    /// The value of `sticky`. `None` if clients are not bound to targets.
    pub(super) sticky: Option<String>,
    /// The value of `idle`, of `keepalive_timeout`. `None` for the default.
    pub(super) idle: Option<String>,
    /// The keys of `health`, with their values as TOML. The first server that sets a key counts.
    pub(super) health: Vec<(&'static str, String)>,
}

impl Block {
    /// Reads a block, and notes what cannot be converted.
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
                    let mut weight = "1";
                    for option in options {
                        match option.split_once('=') {
                            Some(("weight", value)) => weight = value,
                            Some(("max_fails", value))
                                if value.parse::<u8>().is_ok_and(|fails| fails < 255) =>
                            {
                                found.set("failures", value.to_owned());
                            }
                            Some(("fail_timeout", value)) => match milliseconds(value) {
                                Some(time) if time >= 100 => {
                                    found.set("eject", toml::Value::String(duration(time)).to_string());
                                }
                                _ => notes
                                    .different(directive, "not a supported fail_timeout: write health.eject"),
                            },
                            Some(("max_conns", _)) => {
                                notes.different(
                                    directive,
                                    "the number of connections to a target is not limited",
                                );
                            }
                            _ if matches!(*option, "backup" | "resolve") => {}
                            _ => notes.different(directive, format!("{option} is not supported")),
                        }
                    }
                    if options.contains(&"backup") {
                        found.backups.push((*address).to_owned());
                    } else {
                        found.servers.push((*address).to_owned());
                    }
                    weights.push(((*address).to_owned(), weight.to_owned(), directive));
                }
                ("least_conn", _) => found.balance = Some("least-connections"),
                ("ip_hash", _) => found.balance = Some("hash-client"),
                ("hash", [key, ..]) => match *key {
                    "$request_uri" | "$uri" => found.balance = Some("hash-target"),
                    "$host" | "$http_host" => found.balance = Some("hash-host"),
                    "$remote_addr" | "$binary_remote_addr" => found.balance = Some("hash-client"),
                    _ => notes.different(directive, "targets are hashed by client, host or target only"),
                },
                ("sticky", ["cookie", name, options @ ..]) => {
                    found.sticky = Some(sticky(name, options));
                    if options.iter().any(|option| option.starts_with("domain=")) {
                        notes.different(directive, "the cookie is of the host that sets it alone");
                    }
                }
                ("sticky", _) => {
                    notes.different(directive, "a target is kept by a cookie of its own only: write sticky");
                }
                ("keepalive_timeout", [time, ..]) => match milliseconds(time) {
                    Some(time) if (1..=86_400_000).contains(&time) => found.idle = Some(duration(time)),
                    _ => notes.different(directive, "not a supported keepalive_timeout: write idle"),
                },
                (
                    "keepalive" | "keepalive_requests" | "keepalive_time" | "zone" | "random" | "resolver"
                    | "resolver_timeout",
                    _,
                ) => {}
                _ => notes.different(directive, "not supported for targets"),
            }
        }
        let same = weights.iter().all(|(_, weight, _)| *weight == weights[0].1);
        for (address, weight, directive) in weights.iter().filter(|_| !same) {
            match weight.parse::<u16>() {
                Ok(weight) if (1..=1000).contains(&weight) => found.weights.push((address.clone(), weight)),
                _ => notes.different(directive, "not a supported weight: expected 1 to 1000"),
            }
        }
        if found.servers.is_empty() {
            found.servers.append(&mut found.backups);
        }
        found
    }

    /// Sets a key of `health`, unless it is set already.
    fn set(&mut self, key: &'static str, value: String) {
        if !self.health.iter().any(|(known, _)| *known == key) {
            self.health.push((key, value));
        }
    }
}

/// Returns the value of `sticky` as TOML for a cookie of this name, with the lifetime from the option `expires=`, if it
/// is a valid duration greater than 0. Other options are ignored.
fn sticky(name: &str, options: &[&str]) -> String {
    let name = quoted(name);
    let lifetime = options.iter().find_map(|option| milliseconds(option.strip_prefix("expires=")?));
    match lifetime.filter(|lifetime| *lifetime > 0) {
        Some(lifetime) => format!("{{ cookie = {name}, lifetime = {} }}", quoted(&duration(lifetime))),
        None => name,
    }
}
