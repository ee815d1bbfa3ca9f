//! Conversion of an nginx configuration, as far as edge-proxyd supports it: parsed by nginx's grammar, written with
//! edge-proxyd's keys, and a note for every significant directive that was not converted.

mod differs;
mod notes;
mod parse;
mod scope;
mod server;
mod upstream;
mod write;

pub(crate) use notes::Note;
pub(crate) use parse::parse;

use ipnet::IpNet;
use notes::Notes;
use parse::Directive;
use scope::Scope;
use server::{Action, Listen, Route, Server};
use std::net::{IpAddr, SocketAddr};
use upstream::{Block, Upstreams};

/// The result of a conversion.
#[derive(Debug)]
pub(crate) struct Import {
    /// The converted configuration.
    pub(crate) text: String,
    /// The directives that were not converted.
    pub(crate) notes: Vec<Note>,
}

/// The trusted proxies and their header.
#[derive(Debug, Default)]
struct RealIp {
    ranges: Vec<IpNet>,
    /// The header; `None` is nginx's default, X-Real-IP.
    header: Option<String>,
}

/// A site of the converted configuration.
#[derive(Debug)]
struct ImportedSite {
    hosts: Vec<String>,
    plain: &'static str,
    server: Server,
}

/// The configuration to write.
#[derive(Debug, Default)]
struct Edge {
    listens: Vec<Listen>,
    real_ip: RealIp,
    certificates: Option<String>,
    sites: Vec<ImportedSite>,
    upstreams: Upstreams,
}

/// Converts an nginx configuration.
pub(crate) fn import(directives: &[Directive]) -> Import {
    let (mut edge, mut notes) = (Edge::default(), Notes::default());
    let mut all: Vec<&Directive> = Vec::new();
    let top = [
        "daemon",
        "env",
        "error_log",
        "events",
        "master_process",
        "pcre_jit",
        "pid",
        "thread_pool",
        "timer_resolution",
        "user",
        "worker_cpu_affinity",
        "worker_processes",
        "worker_rlimit_nofile",
        "worker_shutdown_timeout",
        "load_module",
    ];
    for directive in directives {
        match (directive.name.as_str(), &directive.block) {
            ("http", Some(block)) => all.extend(block),
            (name, _) if top.contains(&name) => {}
            // A file of sites, as distributions ship it, is the content of http.
            _ => all.push(directive),
        }
    }
    http(&all, &mut edge, &mut notes);
    Import { text: write::text(&edge), notes: notes.0 }
}

fn http(all: &[&Directive], edge: &mut Edge, notes: &mut Notes) {
    let mut scope = Scope::default();
    let (mut certificate, mut key) = (None, None);
    let mut servers = Vec::new();
    for directive in all {
        let first = || directive.arguments.first().cloned().unwrap_or_default();
        match (directive.name.as_str(), &directive.block) {
            ("upstream", Some(block)) => {
                let block = Block::read(block, notes);
                edge.upstreams.blocks.insert(first(), block);
            }
            ("server", Some(_)) => servers.push(*directive),
            // WebSocket upgrades need no configuration.
            ("map", Some(_)) if first() == "$http_upgrade" => {}
            ("ssl_certificate", None) => certificate = Some((first(), (*directive).clone())),
            ("ssl_certificate_key", None) => key = Some(first()),
            _ => {
                if !edge.real_ip.take(directive, notes) && !scope.take(directive, notes) {
                    notes.unknown(directive);
                }
            }
        }
    }
    // nginx allows it per server; here it applies to the whole proxy.
    let mut read = Vec::new();
    for directive in servers {
        let mut directive = directive.clone();
        if let Some(block) = &mut directive.block {
            block.retain(|inner| !edge.real_ip.take(inner, notes));
        }
        let mut server = Server::read(&directive, &scope, &mut edge.upstreams, notes);
        if server.certificate.is_none()
            && let (Some((certificate, at)), Some(key)) = (&certificate, &key)
            && server.tls()
        {
            server.certificate = Some((certificate.clone(), key.clone(), at.clone()));
        }
        read.push(server);
    }
    for server in &read {
        for listen in &server.listens {
            match edge.listens.iter_mut().find(|known| known.address == listen.address) {
                Some(known) => {
                    known.tls |= listen.tls;
                    known.quic |= listen.quic;
                    known.proxy_protocol |= listen.proxy_protocol;
                }
                None => edge.listens.push(listen.clone()),
            }
        }
    }
    certificates(&read, edge, notes);
    sites(read, edge, notes);
}

impl RealIp {
    /// Takes a directive about the client address. Returns whether it was one.
    fn take(&mut self, directive: &Directive, notes: &mut Notes) -> bool {
        let first = directive.arguments.first().map_or("", String::as_str);
        match directive.name.as_str() {
            "set_real_ip_from" => {
                let range = first.parse::<IpNet>().map(|range| range.trunc());
                match range.or_else(|_| first.parse::<IpAddr>().map(IpNet::from)) {
                    Ok(range) if !self.ranges.contains(&range) => self.ranges.push(range),
                    Ok(_) => {}
                    Err(_) => {
                        notes.push(directive, "not a valid CIDR range: write it into [trust] ranges by hand");
                    }
                }
            }
            "real_ip_header" => match first.to_ascii_lowercase().as_str() {
                header @ ("x-forwarded-for" | "x-real-ip" | "forwarded" | "proxy_protocol") => {
                    self.header = Some(header.to_owned());
                }
                _ => notes.push(
                    directive,
                    "edge-proxyd supports X-Forwarded-For, Forwarded, X-Real-IP and the PROXY protocol",
                ),
            },
            "real_ip_recursive" => {
                if first == "off" {
                    notes.push(directive, "edge-proxyd always skips all trusted proxies");
                }
            }
            _ => return false,
        }
        true
    }
}

/// Returns the folder of certificates, if all are in subfolders of one folder as edge-proxyd expects.
fn certificates(servers: &[Server], edge: &mut Edge, notes: &mut Notes) {
    let mut folder: Option<&str> = None;
    let mut fits = true;
    let all: Vec<_> = servers.iter().filter_map(|server| server.certificate.as_ref()).collect();
    for (certificate, key, _) in &all {
        let of = |file: &'static str| {
            let path = certificate.strip_suffix("/fullchain.pem")?;
            (key.strip_prefix(path)?.strip_prefix('/')? == file).then(|| path.rsplit_once('/')).flatten()
        };
        match of("key.pem") {
            Some((parent, _)) if folder.is_none_or(|known| known == parent) => folder = Some(parent),
            _ => fits = false,
        }
    }
    let folder = folder.filter(|_| fits).unwrap_or("/var/lib/acme");
    if !fits {
        for (certificate, key, directive) in &all {
            notes.push(
                directive,
                format!("edge-proxyd reads {folder}/NAME/fullchain.pem and key.pem: link {certificate} and {key} there, or obtain certificates by [acme]"),
            );
        }
    }
    if edge.listens.iter().any(|listen| listen.tls) {
        edge.certificates = Some(folder.to_owned());
    }
}

/// Converts servers, which are names at an address, into sites, which are names at all addresses.
fn sites(servers: Vec<Server>, edge: &mut Edge, notes: &mut Notes) {
    let (everything, named): (Vec<_>, Vec<_>) =
        servers.into_iter().partition(|server| server.names.is_empty());
    for server in named.iter().chain(&everything) {
        let default = server.catches_all || server.listens.iter().any(|listen| listen.default);
        let harmless = match server.only() {
            Some(Action::Drop) => true,
            Some(Action::Redirect { to, .. }) => to == "https://{host}{path}{query}",
            _ => server.routes.is_empty() && server.action.is_none() && server.names.is_empty(),
        };
        if default && !harmless {
            notes.push(
                &server.directive,
                "answers for unknown names, which edge-proxyd drops: add each name to its site",
            );
        }
    }
    let to_https = |server: &Server| matches!(server.only(), Some(Action::Redirect { to, .. }) if to.starts_with("https://") && to.ends_with("{path}{query}"));
    let redirects_all = everything.iter().any(|server| server.plain() && to_https(server));
    let (tls, plain): (Vec<_>, Vec<_>) = named.into_iter().partition(Server::tls);
    let mut taken: Vec<String> = Vec::new();
    for server in tls {
        let hosts: Vec<String> = server.names.iter().filter(|name| !taken.contains(name)).cloned().collect();
        if hosts.is_empty() {
            notes.push(&server.directive, "another server already has its names");
            continue;
        }
        taken.extend(hosts.iter().cloned());
        let beside = plain.iter().find(|plain| hosts.iter().all(|host| plain.names.contains(host)));
        let plain = match beside {
            _ if server.plain() => "serve",
            Some(beside) if to_https(beside) => {
                if let Some(Action::Redirect { status, .. }) = beside.only()
                    && *status != 308
                {
                    notes.push(
                        &beside.directive,
                        format!(
                            "edge-proxyd redirects with 308, which keeps the method, instead of {status}"
                        ),
                    );
                }
                "redirect"
            }
            Some(beside) => {
                notes.push(&beside.directive, "plain HTTP is served like TLS, not as this server does");
                "serve"
            }
            None if redirects_all => "redirect",
            None => "refuse",
        };
        edge.sites.push(ImportedSite { hosts, plain, server });
    }
    for server in plain {
        let hosts: Vec<String> = server.names.iter().filter(|name| !taken.contains(name)).cloned().collect();
        if hosts.is_empty() {
            continue;
        }
        taken.extend(hosts.iter().cloned());
        edge.sites.push(ImportedSite { hosts, plain: "serve", server });
    }
}

/// Returns the port of redirects to HTTPS, if it is not the default.
fn https_port(listens: &[Listen]) -> Option<u16> {
    let port = |listen: &&Listen| listen.tls.then(|| SocketAddr::port(&listen.address));
    listens.iter().find_map(|listen| port(&listen)).filter(|port| *port != 443)
}
