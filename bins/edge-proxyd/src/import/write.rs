//! The text of the converted configuration.

use super::EdgeConfig;
use super::differs;
use super::listen::Listen;
use super::quote::{list, quoted};
use super::ranges::Lists;
use super::render::PathlessRoute;
use super::route::Paths;
use super::sites::{Plain, Site};
use super::times::duration;
use super::upstream::Upstream;
use std::net::IpAddr;

/// Returns the configuration as TOML, beginning with the differences in default behaviour as comments. Upstreams to
/// which no key refers are left out.
pub(super) fn text(edge: &EdgeConfig) -> String {
    let mut out = String::from("# Imported from nginx.\n");
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    for difference in differs::default_differences(edge) {
        line(&format!("# - {difference}"));
    }
    if let Some(port) = https_port(&edge.listens) {
        line(&format!("https_port = {port}"));
    }
    if let Some(field) = &edge.request_id {
        line(&format!("request_id = {}", quoted(field)));
    }
    listeners(&mut line, edge);
    let real_ip = &edge.real_ip;
    if !real_ip.ranges.is_empty() && real_ip.header() != "proxy_protocol" {
        line(&format!(
            "\n[trust]\nranges = {}\nheader = {}",
            list(&real_ip.ranges),
            quoted(real_ip.header())
        ));
    }
    if !edge.timeouts.is_empty() {
        line("\n[timeouts]");
        for (key, time) in &edge.timeouts {
            line(&format!("{key} = {}", quoted(&duration(*time))));
        }
    }
    if !edge.limits.is_empty() {
        line("\n[limits]");
        edge.limits.iter().for_each(|(key, bytes)| line(&format!("{key} = {bytes}")));
    }
    if let Some(folder) = &edge.certificates {
        line(&format!("\n[certificates]\nfolder = {}", quoted(folder)));
    }
    let mut names: Vec<String> = Vec::new();
    for one in &edge.sites {
        site(&mut line, edge, one, &mut names);
    }
    log(&mut line, edge, &names);
    for forwarded in &edge.forwarded {
        for (hosts, upstream) in &forwarded.by_name {
            line(&format!("\n[[site]]\nhosts = {}", list(hosts)));
            write_name(&mut line, hosts, &mut names);
            let bound: Vec<String> = forwarded.listens.iter().map(|listen| name(listen, "tls")).collect();
            line(&format!("listen = {}", list(&bound)));
            addresses(&mut line, &forwarded.lists);
            line(&format!("passthrough = {}", quoted(upstream)));
        }
    }
    let text = out.clone();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    for one in &edge.upstreams.used {
        if text.contains(&format!(" = {}", quoted(&one.name))) {
            upstream(&mut line, one);
        }
    }
    out
}

/// Writes the section `[log]`, if there is a format and a site has an access log of its own. `names` are the names of
/// the sites, in their order.
fn log(line: &mut impl FnMut(&str), edge: &EdgeConfig, names: &[String]) {
    let own = |(site, name): (&Site, &String)| {
        site.body.log.as_ref().map(|file| format!("{} = {}", quoted(name), quoted(file)))
    };
    let sites: Vec<String> = edge.sites.iter().zip(names).filter_map(own).collect();
    if let (Some((key, format)), false) = (&edge.log_format, sites.is_empty()) {
        line(&format!("\n[log]\n{key} = {}\nsites = {{ {} }}", quoted(format), sites.join(", ")));
    }
}

/// Returns the port to which plain HTTP is redirected: that of the first listener with TLS. `None` if a listener with
/// TLS has port 443, the default, or no listener has TLS.
fn https_port(listens: &[Listen]) -> Option<u16> {
    let ports = || listens.iter().filter(|listen| listen.tls).map(|listen| listen.address.port());
    if ports().any(|port| port == 443) { None } else { ports().next() }
}

/// Returns a name for a listener: `scheme`, the address unless it is that of all of IPv4 (`-ipv6` for all of IPv6), and
/// the port unless it is 80 for `http` and 443 otherwise. An example is `https-8443`.
fn name(listen: &Listen, scheme: &str) -> String {
    let ip = listen.address.ip();
    let usual = if scheme == "http" { 80 } else { 443 };
    let port = listen.address.port();
    let port = if port == usual { String::new() } else { format!("-{port}") };
    let at = match ip {
        IpAddr::V4(four) if four.is_unspecified() => String::new(),
        IpAddr::V6(six) if six.is_unspecified() => "-ipv6".into(),
        ip => format!("-{ip}"),
    };
    format!("{scheme}{at}{port}")
}

/// Returns the scheme of URLs for a listener: `https` with TLS, otherwise `http`.
pub(super) fn scheme(listen: &Listen) -> &'static str {
    if listen.tls { "https" } else { "http" }
}

/// Returns groups of indices into the listeners. The listeners of a group have the same protocols, port and sites, and
/// are written as one `[[listen]]`; addresses of one interface and of all interfaces are not grouped together.
fn groups(edge: &EdgeConfig) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let sites = |l: usize| edge.sites.iter().map(move |site| site.listeners.contains(&l)).collect::<Vec<_>>();
    for (l, listen) in edge.listens.iter().enumerate() {
        let alike = |other: &usize| {
            let other_listen = &edge.listens[*other];
            (listen.tls, listen.quic, listen.h2c, listen.proxy_protocol)
                == (other_listen.tls, other_listen.quic, other_listen.h2c, other_listen.proxy_protocol)
                && listen.address.port() == other_listen.address.port()
                && listen.address.ip().is_unspecified() == other_listen.address.ip().is_unspecified()
                && sites(l) == sites(*other)
        };
        match groups.iter_mut().find(|group| alike(&group[0])) {
            Some(group) => group.push(l),
            None => groups.push(vec![l]),
        }
    }
    groups
}

/// Returns the name of the `[[listen]]` that contains the listener with the index `l`.
fn name_at(edge: &EdgeConfig, l: usize) -> String {
    let first = groups(edge).into_iter().find(|group| group.contains(&l)).map_or(l, |group| group[0]);
    name(&edge.listens[first], scheme(&edge.listens[first]))
}

/// Writes a `[[listen]]` for each group of listeners of HTTP, and for each listener that forwards TCP.
fn listeners(line: &mut impl FnMut(&str), edge: &EdgeConfig) {
    for group in groups(edge) {
        let first = &edge.listens[group[0]];
        line("\n[[listen]]");
        if needs_names(edge) {
            line(&format!("name = {}", quoted(&name(first, scheme(first)))));
        }
        let all: Vec<String> = group.iter().map(|l| edge.listens[*l].address.to_string()).collect();
        line(&format!("address = {}", list(&all)));
        if first.tls {
            line("tls = true");
        }
        if first.quic {
            line("http3 = true");
        }
        if first.h2c && !first.tls {
            line("h2c = true");
        }
        if first.proxy_protocol && !edge.real_ip.ranges.is_empty() {
            line(&format!("proxy_protocol = {}", list(&edge.real_ip.ranges)));
        }
    }
    for forwarded in &edge.forwarded {
        for listen in &forwarded.listens {
            line("\n[[listen]]");
            match &forwarded.upstream {
                Some(upstream) => {
                    line(&format!("address = {}", quoted(&listen.address.to_string())));
                    line(&format!("forward = {}", quoted(upstream)));
                    addresses(line, &forwarded.lists);
                    if let Some(idle) = &forwarded.idle {
                        line(&format!("idle = {}", quoted(idle)));
                    }
                    if !forwarded.most.is_empty() {
                        let most: Vec<String> =
                            forwarded.most.iter().map(|(key, most)| format!("{key} = {most}")).collect();
                        line(&format!("rate = {{ {} }}", most.join(", ")));
                    }
                }
                None => {
                    line(&format!("name = {}", quoted(&name(listen, "tls"))));
                    line(&format!("address = {}\ntls = true", quoted(&listen.address.to_string())));
                }
            }
        }
    }
}

/// Returns true if listeners need names: a site has to be bound to some of them, or TLS is passed through by its server
/// name.
fn needs_names(edge: &EdgeConfig) -> bool {
    edge.forwarded.iter().any(|one| one.upstream.is_none())
        || edge
            .sites
            .iter()
            .any(|site| site.listeners.len() < edge.listens.len() && !is_everywhere(edge, site))
}

/// Returns true if a site can leave out `listen`: it is on every listener; or no other site has its hosts, it rejects
/// plain HTTP, and it is missing only on listeners without TLS.
fn is_everywhere(edge: &EdgeConfig, site: &Site) -> bool {
    let at = |l: usize| site.listeners.contains(&l);
    // TLS that is passed through by name has listeners without terminated sites.
    edge.forwarded.iter().all(|one| one.upstream.is_some())
        && (0..edge.listens.len())
            .all(|l| at(l) || site.alone && site.plain == Plain::Refuse && !edge.listens[l].tls)
}

/// Writes the keys `allow` and `deny`, without those whose list is empty.
fn addresses(line: &mut impl FnMut(&str), lists: &Lists) {
    if !lists.allow.is_empty() {
        line(&format!("allow = {}", list(&lists.allow)));
    }
    if !lists.deny.is_empty() {
        line(&format!("deny = {}", list(&lists.deny)));
    }
}

/// Determines the name of a site: its first host, followed by a number such as ` (2)` if that is already in `names`.
/// Writes the key `name` only in the latter case. Appends the name to `names`. Does nothing if there are no hosts.
fn write_name(line: &mut impl FnMut(&str), hosts: &[String], names: &mut Vec<String>) {
    let Some(first) = hosts.first() else { return };
    let mut name = first.clone();
    let mut number = 2;
    while names.contains(&name) {
        name = format!("{first} ({number})");
        number += 1;
    }
    if name != *first {
        line(&format!("name = {}", quoted(&name)));
    }
    names.push(name);
}

/// Writes a `[[site]]` with its routes. A single route for `/` that a site can express is written as keys of the site.
fn site(line: &mut impl FnMut(&str), edge: &EdgeConfig, site: &Site, names: &mut Vec<String>) {
    line(&format!("\n[[site]]\nhosts = {}", list(&site.hosts)));
    write_name(line, &site.hosts, names);
    if needs_names(edge) && !is_everywhere(edge, site) {
        let mut bound: Vec<String> = site.listeners.iter().map(|l| name_at(edge, *l)).collect();
        bound.dedup();
        let mut seen = Vec::new();
        bound.retain(|name| {
            let new = !seen.contains(name);
            seen.push(name.clone());
            new
        });
        line(&format!("listen = [{}]", bound.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")));
    }
    line(&format!("plain = {}", quoted(site.plain.word())));
    site.body.keys.iter().for_each(|key| line(key));
    if let [(Paths::Begins(path), one)] = site.body.routes.as_slice()
        && path == "/"
        && one.of_a_site
    {
        return keys(line, one);
    }
    let shared = shared_keys(&site.body.routes);
    shared.iter().for_each(|key| line(key));
    for (paths, one) in &site.body.routes {
        line("\n[[site.route]]");
        match paths {
            Paths::Begins(path) if path.ends_with('/') => line(&format!("path = {}", quoted(path))),
            Paths::Begins(path) => line(&format!("begins = {}", quoted(path))),
            Paths::Exact(path) => line(&format!("exact = {}", quoted(path))),
        }
        let mut own = one.clone();
        own.guard.extend(exact_case(&site.body.routes, paths, one));
        own.keys.retain(|key| !shared.contains(key));
        keys(line, &own);
    }
}

/// Returns the key `case = "exact"` for a route with access restrictions whose path, in another spelling, nginx would
/// give to routes that are not open. `None` if the route has no access restrictions, ignores case, has no letters in
/// its path, or if all routes for other spellings forward without restrictions.
fn exact_case(routes: &[(Paths, PathlessRoute)], paths: &Paths, one: &PathlessRoute) -> Option<String> {
    let (Paths::Begins(path) | Paths::Exact(path)) = paths;
    let spelt = |text: &str| text.bytes().any(|byte| byte.is_ascii_alphabetic());
    if one.guard.is_empty() || one.any_case || !spelt(path) {
        return None;
    }
    let is_open = |around: &PathlessRoute| {
        around.guard.is_empty() && around.keys.iter().any(|key| key.starts_with("upstream = "))
    };
    // Every spelling is covered by the longest of the routes without letters of their own; some spellings are covered
    // by those that are the beginning of such a spelling.
    let (mut always, mut sometimes): (Option<(usize, &PathlessRoute)>, Vec<&PathlessRoute>) =
        (None, Vec::new());
    for (other, rendered) in routes.iter().filter(|(other, _)| other != paths) {
        let same =
            |begin: &str| path.get(..begin.len()).is_some_and(|found| found.eq_ignore_ascii_case(begin));
        match other {
            Paths::Begins(begin) if same(begin) && spelt(begin) && !rendered.any_case => {
                sometimes.push(rendered);
            }
            Paths::Begins(begin) if same(begin) => {
                if always.is_none_or(|(length, _)| length <= begin.len()) {
                    always = Some((begin.len(), rendered));
                }
            }
            Paths::Exact(other) if other.eq_ignore_ascii_case(path) => sometimes.push(rendered),
            Paths::Begins(_) | Paths::Exact(_) => {}
        }
    }
    let open = always.is_some_and(|(_, around)| is_open(around)) && sometimes.into_iter().all(is_open);
    (!open).then(|| "case = \"exact\"".into())
}

/// Returns the keys `body_limit` and `request_headers` that all forwarding routes of a site have with the same values,
/// so that the site can have them instead. Empty if fewer than two routes forward.
fn shared_keys(routes: &[(Paths, PathlessRoute)]) -> Vec<String> {
    let forwards = |one: &PathlessRoute| one.keys.iter().any(|key| key.starts_with("upstream = "));
    let mut all = routes.iter().map(|(_, one)| one).filter(|one| forwards(one));
    let Some(first) = all.next() else { return Vec::new() };
    let others: Vec<&PathlessRoute> = all.collect();
    let of_request =
        |key: &&String| key.starts_with("body_limit = ") || key.starts_with("request_headers = ");
    let common = |key: &&String| !others.is_empty() && others.iter().all(|one| one.keys.contains(*key));
    first.keys.iter().filter(of_request).filter(common).cloned().collect()
}

/// Writes the reasons for which a route is closed as comments, and then its keys: first those that restrict access.
fn keys(line: &mut impl FnMut(&str), one: &PathlessRoute) {
    one.comments.iter().for_each(|comment| line(&format!("# {comment}")));
    one.guard.iter().chain(&one.keys).for_each(|key| line(key));
}

/// Writes the section of an upstream, and its section `health` if it has keys for it.
fn upstream(line: &mut impl FnMut(&str), upstream: &Upstream) {
    line(&format!("\n[upstream.{}]\ntargets = {}", quoted(&upstream.name), list(&upstream.targets)));
    if !upstream.backups.is_empty() {
        line(&format!("backup = {}", list(&upstream.backups)));
    }
    if !upstream.weights.is_empty() {
        let all: Vec<String> = upstream
            .weights
            .iter()
            .map(|(target, weight)| format!("{} = {weight}", quoted(target)))
            .collect();
        line(&format!("weights = {{ {} }}", all.join(", ")));
    }
    if let Some(balance) = upstream.balance {
        line(&format!("balance = {}", quoted(balance)));
    }
    if let Some(sticky) = &upstream.sticky {
        line(&format!("sticky = {sticky}"));
    }
    if let Some(idle) = &upstream.idle {
        line(&format!("idle = {}", quoted(idle)));
    }
    if let Some(host) = &upstream.host {
        line(&format!("host = {}", quoted(host)));
    }
    if upstream.client_alone {
        line("forwarded = \"client\"");
    }
    if upstream.proxy_protocol {
        line("proxy_protocol = \"v1\"");
    }
    if !upstream.tls.is_empty() {
        let keys: Vec<String> =
            upstream.tls.iter().map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
        line(&format!("tls = {{ {} }}", keys.join(", ")));
    }
    if !upstream.health.is_empty() {
        line(&format!("\n[upstream.{}.health]", quoted(&upstream.name)));
    }
    for (key, value) in &upstream.health {
        line(&format!("{key} = {value}"));
    }
}
