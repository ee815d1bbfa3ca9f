//! Conversion of an nginx configuration: it is parsed by nginx's grammar, evaluated as far as its values are constant,
//! and written with the keys of edge-proxyd. If a directive that restricts access has no counterpart, access is denied
//! to everyone. Every difference is noted, the worst first.

mod access_log;
mod action;
mod auth;
mod beside;
mod certificates;
mod condition;
mod content;
mod differs;
mod error_pages;
mod fields;
mod forward;
mod guard;
mod known;
mod limits;
mod listen;
mod location;
mod matching;
mod media_types;
mod names;
mod notes;
mod other_format;
mod outline;
mod parse;
mod passwords;
mod pattern;
mod phase;
mod quote;
mod ranges;
mod real_ip;
mod redirect;
mod render;
mod rewriting;
mod route;
mod routes;
mod scope;
mod server;
mod sites;
mod stream;
mod times;
mod upstream;
mod upstream_block;
mod upstream_tls;
mod variables;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use fields::serves_headscale;
pub(crate) use notes::{Impact, Note};
pub(crate) use outline::{Outline, OutlinedServer};
pub(crate) use parse::{Directive, ParseError, parse};
pub(crate) use pattern::{PatternSuffix, Shape, shapes};
pub(crate) use ranges::net_of;

use certificates::Certificates;
use guard::Guards;
use listen::Listen;
use names::Names;
use notes::Notes;
use real_ip::RealIp;
use scope::Scope;
use server::HttpContext;
use sites::{ANY, Server, Site};
use std::path::PathBuf;
use stream::StreamServer;
use upstream::Upstreams;
use upstream_block::Block;
use variables::Variables;

/// The result of the conversion of an nginx configuration.
#[derive(Debug)]
pub(crate) struct Import {
    /// The converted configuration, as TOML.
    pub(crate) text: String,
    /// The differences from nginx, the worst first.
    pub(crate) notes: Vec<Note>,
    /// The number of sites with at least one route that forwards to an upstream and carries no comment, which a route
    /// has if it is closed to everyone.
    pub(crate) sites: usize,
    /// The hosts, addresses and targets, for a comparison with nginx.
    pub(crate) outline: Outline,
}

/// Information that a conversion needs and the nginx configuration does not contain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The domain that replaces the `*` of names such as `app.*`, and that servers without a name get, together with
    /// its subdomains. `None` if it is not known.
    pub(crate) domain: Option<String>,
    /// The absolute folder against which relative paths of the configuration are resolved.
    pub(crate) folder: String,
    /// The folder on this machine in which absolute paths of the configuration are looked up. `None` for `/`.
    pub(crate) root: Option<PathBuf>,
}

/// The configuration of edge-proxyd that is written as TOML.
#[derive(Debug, Default)]
struct EdgeConfig {
    /// The listeners for HTTP, one for each address.
    listens: Vec<Listen>,
    /// The trusted proxies, and the header with the client's address: the most common setting of all servers.
    real_ip: RealIp,
    /// The folder of `[certificates]`. `None` if sites name their files, or nothing uses TLS.
    certificates: Option<String>,
    /// The keys of `[timeouts]` that apply before the site of a request is known, with their durations in milliseconds.
    /// Empty if edge-proxyd's defaults apply.
    timeouts: Vec<(&'static str, u64)>,
    /// The keys of `[limits]`, with their values in bytes. Empty if edge-proxyd's defaults suffice.
    limits: Vec<(&'static str, u64)>,
    /// The name of the field for the request identifier. `None` if requests have none.
    request_id: Option<String>,
    /// The key of `[log]` for the format and its value. `None` if no site has an access log of its own.
    log_format: Option<(&'static str, String)>,
    sites: Vec<Site>,
    /// The servers of `stream`, which forward TCP.
    forwarded: Vec<StreamServer>,
    /// The upstreams to which sites and listeners forward.
    upstreams: Upstreams,
    /// The servers of `http`, for the outline.
    servers: Vec<OutlinedServer>,
}

/// Directives of the top level that are skipped without a note, because they do not affect responses.
const TOP: &[&str] = &[
    "daemon",
    "env",
    "error_log",
    "events",
    "google_perftools_profiles",
    "load_module",
    "lock_file",
    "master_process",
    "pcre_jit",
    "pid",
    "quic_bpf",
    "ssl_engine",
    "thread_pool",
    "timer_resolution",
    "use",
    "user",
    "worker_connections",
    "worker_cpu_affinity",
    "worker_priority",
    "worker_processes",
    "worker_rlimit_core",
    "worker_rlimit_nofile",
    "worker_shutdown_timeout",
    "working_directory",
];

/// Returns a configuration that nginx can read: all directives outside of `http`, `stream`, `mail` and those of [`TOP`]
/// are wrapped into an `http` block at the end; if there is a `location` among them, they are first wrapped into a
/// `server` block, except `server`, `upstream`, `map` and `geo`. A whole configuration is returned unchanged.
pub(crate) fn whole(directives: &[Directive], options: &Options) -> Vec<Directive> {
    let is_top = |one: &&Directive| {
        TOP.contains(&one.name.as_str()) || matches!(one.name.as_str(), "http" | "stream" | "mail")
    };
    let mut found: Vec<Directive> = directives.iter().filter(is_top).cloned().collect();
    let mut inner: Vec<Directive> = directives.iter().filter(|one| !is_top(one)).cloned().collect();
    let references: Vec<&Directive> = inner.iter().collect();
    if let Some(server) = fragment(&references, options, &mut Notes::default()) {
        inner.retain(|one| matches!(one.name.as_str(), "server" | "upstream" | "map" | "geo"));
        inner.push(server);
    }
    if let Some(first) = inner.first() {
        let (file, line) = (first.file.clone(), first.line);
        let http = Directive { file, line, name: "http".into(), arguments: Vec::new(), block: Some(inner) };
        found.push(http);
    }
    found
}

/// Converts the directives of an nginx configuration, or of the content of an `http` or `server` block.
///
/// `mail` is noted and left out. An address on which HTTP listens is removed from the servers of `stream`. If nothing
/// listens, a default listener is added.
pub(crate) fn import(directives: &[Directive], options: &Options) -> Import {
    let (mut edge, mut notes) = (EdgeConfig::default(), Notes::default());
    let mut all: Vec<&Directive> = Vec::new();
    let mut streams = Vec::new();
    for directive in directives {
        match (directive.name.as_str(), &directive.block) {
            ("http", Some(block)) => all.extend(block),
            ("stream", Some(block)) => streams.push(block),
            ("mail", Some(_)) => notes.closed(directive, "mail is not forwarded"),
            (name, _) if TOP.contains(&name) => {}
            // A file of sites, as distributions ship it, is the content of http.
            _ => all.push(directive),
        }
    }
    let fragment = fragment(&all, options, &mut notes);
    if let Some(server) = &fragment {
        all.retain(|directive| matches!(directive.name.as_str(), "server" | "upstream" | "map" | "geo"));
        all.push(server);
    }
    http(&all, &mut edge, options, &mut notes);
    for block in streams {
        let found = stream::stream(block, &mut edge.upstreams, &mut notes);
        edge.forwarded.extend(found);
    }
    // An address that HTTP has as well cannot be forwarded.
    let taken: Vec<_> = edge.listens.iter().map(|listen| listen.address).collect();
    for forwarded in &mut edge.forwarded {
        forwarded.listens.retain(|listen| !taken.contains(&listen.address));
    }
    edge.forwarded.retain(|forwarded| !forwarded.listens.is_empty());
    let by_name = edge.forwarded.iter().any(|one| one.upstream.is_none());
    if by_name && !edge.listens.iter().any(|listen| listen.tls) {
        // A listener with TLS needs certificates, though it passes all of it on.
        edge.certificates = Some("/var/lib/acme".into());
    }
    if edge.listens.is_empty() && edge.forwarded.is_empty() {
        // A configuration needs a listener to be one.
        edge.listens.push(listen::default_listen());
    }
    let forwards = |site: &&Site| {
        let open = |one: &render::PathlessRoute| {
            one.keys.iter().any(|key| key.starts_with("upstream = ")) && one.comments.is_empty()
        };
        site.body.routes.iter().any(|(_, one)| open(one))
    };
    let sites = edge.sites.iter().filter(forwards).count();
    let outline = Outline {
        listens: edge.listens.iter().map(|one| (one.address, one.tls, one.proxy_protocol)).collect(),
        targets: edge
            .upstreams
            .used
            .iter()
            .flat_map(|one| one.targets.iter().chain(&one.backups))
            .cloned()
            .collect(),
        groups: edge
            .upstreams
            .used
            .iter()
            .filter(|one| one.targets.len() > 1)
            .map(|one| one.targets.clone())
            .collect(),
        header: Some(edge.real_ip.header().to_owned()).filter(|_| edge.real_ip.is_set()),
        servers: std::mem::take(&mut edge.servers),
        quic: edge.listens.iter().filter(|one| one.quic).map(|one| one.address).collect(),
        forwards: edge
            .forwarded
            .iter()
            .map(|one| OutlinedServer {
                hosts: one.by_name.iter().flat_map(|(hosts, _)| hosts.clone()).collect(),
                addresses: one.listens.iter().map(|listen| listen.address).collect(),
                directive: one.directive.clone(),
            })
            .collect(),
    };
    Import { text: write::text(&edge), notes: notes.sorted(), sites, outline }
}

/// Returns a `server` block around directives that are the content of a `server` block, which is assumed if there is a
/// `location` at their top level; `None` otherwise.
///
/// `server`, `upstream`, `map` and `geo` stay outside. Without a `listen`, the block listens on port 443 with TLS, over
/// IPv4 and IPv6. A missing domain in `options` is noted.
fn fragment(all: &[&Directive], options: &Options, notes: &mut Notes) -> Option<Directive> {
    let first = all.iter().find(|directive| directive.name == "location")?;
    if options.domain.is_none() {
        notes.closed(first, "the file is the content of a server without a name: give it by --domain");
    }
    let is_outer =
        |directive: &&&Directive| matches!(directive.name.as_str(), "server" | "upstream" | "map" | "geo");
    let mut block: Vec<Directive> =
        all.iter().filter(|one| !is_outer(one)).map(|one| (*one).clone()).collect();
    let make = |name: &str, arguments: &[&str]| Directive {
        file: first.file.clone(),
        line: first.line,
        name: name.into(),
        arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
        block: None,
    };
    if !block.iter().any(|one| one.name == "listen") {
        block.push(make("listen", &["443", "ssl"]));
        block.push(make("listen", &["[::]:443", "ssl"]));
    }
    Some(Directive { block: Some(block), ..make("server", &[]) })
}

/// Converts the directives of `http` into `edge`: listeners, trusted proxies, certificates, timeouts, log format,
/// upstreams and sites. Notes each server that takes the client's address from another source than `[trust]`.
fn http(all: &[&Directive], edge: &mut EdgeConfig, options: &Options, notes: &mut Notes) {
    let variables = Variables::read(all);
    let mut guards = Guards { folder: &options.folder, root: options.root.as_deref(), ..Guards::default() };
    let mut scope = Scope { request_id: fields::request_id(all), ..Scope::default() };
    edge.request_id.clone_from(&scope.request_id);
    edge.limits = limits::limits(all);
    let mut servers: Vec<Server> = Vec::new();
    for directive in all {
        match (directive.name.as_str(), &directive.block) {
            ("upstream", Some(block)) => {
                let block = Block::read(block, notes);
                edge.upstreams.blocks.insert(directive.first().to_owned(), block);
            }
            ("server", Some(block)) => servers.push(server(directive, block, options, notes)),
            ("map" | "geo", Some(_))
            | (
                "access_log"
                | "log_format"
                | "ssl_certificate"
                | "ssl_certificate_key"
                | "error_page"
                | "proxy_intercept_errors"
                | "root",
                None,
            ) => {}
            ("limit_req_zone", None) => guards.zone(directive),
            _ => scope.take(directive, &variables, notes),
        }
    }
    for listen in servers.iter().flat_map(|server| &server.listens) {
        match edge.listens.iter_mut().find(|known| known.address == listen.address) {
            Some(known) => known.join(listen),
            None => edge.listens.push(listen.clone()),
        }
    }
    let own = |server: &Server| {
        let block = server.directive.inner();
        let mut real_ip = scope.real_ip.enter(block);
        for one in block {
            real_ip.take(one, &mut Notes::default());
        }
        real_ip
    };
    edge.real_ip = real_ip::most_common(&servers.iter().map(own).collect::<Vec<_>>());
    for server in &servers {
        let real_ip = own(server);
        if real_ip.is_equivalent(&edge.real_ip) {
        } else if lists_addresses(server.directive.inner()) {
            notes.closed(&server.directive, "takes the client's address from elsewhere than [trust], which is of all sites: `deny` keeps everyone out where addresses decide");
        } else {
            notes.different(
                &server.directive,
                "takes the client's address from elsewhere than [trust], which is of all sites",
            );
        }
    }
    unnamed(&mut servers, &edge.listens, &Certificates::read(all, &[], &[]), notes);
    let certificates = Certificates::read(all, &servers, &edge.listens);
    edge.certificates.clone_from(&certificates.folder);
    edge.timeouts = connection_timeouts(&scope, &servers);
    edge.log_format = access_log::format(all, servers.iter().map(|server| &server.directive), notes);
    let around = HttpContext { http: all, scope: &scope, real_ip: &edge.real_ip, guards: &guards };
    let upstreams = &mut edge.upstreams;
    let mut convert = |server: &Server, host: &str, listen: &Listen, notes: &mut Notes| {
        let mut variables = variables.clone();
        variables.context = variables::Context {
            host: Some(host.to_owned()).filter(|host| !host.starts_with('*')),
            server_name: server.names.first.clone(),
            tls: listen.tls,
            port: listen.address.port(),
            host_has_port: false,
        };
        let mut body = server::convert(server.directive.inner(), &around, variables, upstreams, notes);
        // Beside TLS it is one site over plain HTTP too.
        if listen.tls || server.listens.iter().any(|one| one.tls) {
            body.keys.splice(0..0, certificates.keys(server, host, &options.folder));
        }
        body
    };
    let outlined = |server: &Server| OutlinedServer {
        hosts: server
            .names
            .hosts
            .iter()
            .cloned()
            .chain((!server.unnamed_at.is_empty()).then(|| ANY.to_owned()))
            .collect(),
        addresses: server.listens.iter().map(|listen| listen.address).collect(),
        directive: server.directive.clone(),
    };
    edge.servers = servers.iter().map(outlined).collect();
    edge.sites = sites::sites(&servers, &edge.listens, &mut convert, notes);
}

/// Reads the addresses and names of a server; without `listen`, the default listener. With `http2 on` and no TLS, its
/// listeners take HTTP/2 with prior knowledge. A server that answers for every
/// name and has no host of its own gets the domain of the options and its subdomains, if there is a domain and the
/// server has a `location` or `return`.
fn server(directive: &Directive, block: &[Directive], options: &Options, notes: &mut Notes) -> Server {
    let mut listens = Vec::new();
    for one in block.iter().filter(|one| one.name == "listen") {
        for found in listen::listen(one, notes) {
            match listens.iter_mut().find(|known: &&mut Listen| known.address == found.address) {
                Some(known) => known.join(&found),
                None => listens.push(found),
            }
        }
    }
    if !block.iter().any(|one| one.name == "listen") {
        listens.push(listen::default_listen());
    }
    // Beside TLS, clients of plain HTTP know nothing of it.
    if listens.iter().all(|listen| !listen.tls)
        && block.iter().any(|one| one.name == "http2" && one.first() == "on")
    {
        listens.iter_mut().for_each(|listen| listen.h2c = true);
    }
    let mut names = Names::read(block, options.domain.as_deref(), notes);
    let forwards = block.iter().any(|one| one.name == "location" || one.name == "return");
    if let Some(domain) =
        options.domain.as_deref().filter(|_| names.anything && names.hosts.is_empty() && forwards)
    {
        names.hosts.extend([domain.to_owned(), format!("*.{domain}")]);
        names.first = domain.to_owned();
        names.anything = false;
        names.of_domain = true;
    }
    Server { directive: directive.clone(), listens, names, unnamed_at: Vec::new() }
}

/// Returns the timeouts of [`CONNECTION_TIMEOUTS`](scope::CONNECTION_TIMEOUTS) in milliseconds: of each the longest of
/// all servers, so that no request is cut off that nginx answers. A server without the directive counts with that of
/// `http`, or else with edge-proxyd's default. A key is left out if no server sets it, or if the result is not from 1
/// ms to 30 days.
fn connection_timeouts(scope: &Scope, servers: &[Server]) -> Vec<(&'static str, u64)> {
    let of = |(key, directive, default): (&'static str, &str, u64)| {
        let outer = scope.timeouts.iter().find(|(known, _)| *known == key).map(|(_, time)| *time);
        let own = |server: &Server| {
            let all = server.directive.inner().iter().filter(|one| one.name == directive);
            all.filter_map(|one| times::milliseconds(one.first())).next_back().or(outer)
        };
        let all: Vec<Option<u64>> = servers.iter().map(own).collect();
        let longest = all.iter().map(|time| time.unwrap_or(default)).max()?;
        let known = all.iter().any(Option::is_some) && (1..=30 * 86_400_000).contains(&longest);
        known.then_some((key, longest))
    };
    scope::CONNECTION_TIMEOUTS.into_iter().filter_map(of).collect()
}

/// Returns true if a block, or any block nested in it, has `allow`, `deny` or `if`, which may depend on the client's
/// address.
fn lists_addresses(block: &[Directive]) -> bool {
    block
        .iter()
        .any(|one| matches!(one.name.as_str(), "allow" | "deny" | "if") || lists_addresses(one.inner()))
}

/// Determines the servers that answer for names that no server has, and appends the address of the listener to their
/// `unnamed_at`: the default server of each listener, if it is marked as such, is a server for every name or has no
/// host, and has a `location` or `return`.
///
/// Servers that refuse (4xx), redirect to HTTPS, reject handshakes or stand for the domain of the options are skipped.
/// Notes each server that is added, and those that cannot be because names of another server at the listener were lost
/// or no certificate is known.
fn unnamed(servers: &mut [Server], listens: &[Listen], certificates: &Certificates, notes: &mut Notes) {
    for listen in listens {
        let Some(at) = sites::default_at(servers, listen) else { continue };
        let server = &servers[at];
        let marked = server.listens.iter().any(|one| one.address == listen.address && one.default);
        let is_meant = marked || server.names.anything || server.names.hosts.is_empty();
        let block = server.directive.inner();
        let has = |name: &str| block.iter().any(|one| one.name == name);
        let rejects = block.iter().any(|one| one.name == "ssl_reject_handshake" && one.first() == "on");
        // A refusal, or the way to https, which nothing answers there.
        let refuses = block.iter().any(|one| {
            one.name == "return"
                && (one.first().starts_with('4')
                    || one.arguments.last().is_some_and(|to| to.starts_with("https://$")))
        });
        let answers = (has("location") || has("return")) && !refuses && !(listen.tls && rejects);
        if !is_meant || !answers || server.names.of_domain {
            continue;
        }
        let is_lost = servers.iter().enumerate().any(|(other, one)| {
            other != at && one.names.lost && one.listens.iter().any(|its| its.address == listen.address)
        });
        if is_lost {
            notes.closed(&server.directive, "answers for names that no server has, which are dropped here, since names of other servers could not be converted: write hosts = \"*\" once those are written");
            continue;
        }
        if listen.tls && !certificates.has(server) {
            notes.closed(&server.directive, "answers for names that no server has, which are dropped here, since no file of a certificate is known for them: write hosts = \"*\" with `certificate` and `key`");
            continue;
        }
        if servers[at].unnamed_at.is_empty() {
            let text = "answers for names that no server has: so does a site with hosts = \"*\", but not for TLS without a name, nor for names of sites at other listeners";
            notes.different(&servers[at].directive, text);
        }
        servers[at].unnamed_at.push(listen.address);
    }
}
