//! The sites of the converted configuration: in nginx, servers listen on addresses and have names; in edge-proxyd,
//! sites have names and may be bound to listeners.

use super::listen::Listen;
use super::names::Names;
use super::notes::Notes;
use super::parse::Directive;
use super::server::Body;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A server of nginx.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// The `server` directive.
    pub(super) directive: Directive,
    /// The addresses on which it listens.
    pub(super) listens: Vec<Listen>,
    /// The names of its `server_name` directives.
    pub(super) names: Names,
    /// The addresses at which the server answers for names that no server has. Empty if it does not.
    pub(super) unnamed_at: Vec<SocketAddr>,
}

/// The host of a site for names that no other site has.
pub(super) const ANY: &str = "*";

/// A site of the converted configuration.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The hosts that the site serves.
    pub(super) hosts: Vec<String>,
    /// The indices of its listeners, ascending within those of one kind.
    pub(super) listeners: Vec<usize>,
    /// The handling of plain HTTP. [`Plain::Serve`] also for a site without TLS.
    pub(super) plain: Plain,
    /// The keys and routes.
    pub(super) body: Body,
    /// True if none of its hosts has another site, so that it need not be bound to its listeners.
    pub(super) alone: bool,
}

/// The handling of requests over plain HTTP by a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Plain {
    /// Requests are redirected to HTTPS.
    Redirect,
    /// Plain HTTP is not served.
    Refuse,
    /// Requests are served.
    Serve,
}

impl Plain {
    /// Returns the value of the key `plain`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Refuse => "refuse",
            Self::Serve => "serve",
        }
    }
}

/// A function that converts a server for one of its hosts on one listener, and adds notes.
pub(super) type Convert<'c> = dyn FnMut(&Server, &str, &Listen, &mut Notes) -> Body + 'c;

/// Returns the index of the server for names that no server has on a listener: the first that is marked as the default
/// there, or else the first that listens there. `None` if no server does.
pub(super) fn default_at(servers: &[Server], listen: &Listen) -> Option<usize> {
    let at = |server: &Server| server.listens.iter().find(|one| one.address == listen.address).cloned();
    let named = servers.iter().position(|server| at(server).is_some_and(|one| one.default));
    named.or_else(|| servers.iter().position(|server| at(server).is_some()))
}

/// Returns the sites of all servers, by host in the order of the servers; the site for [`ANY`] is last. A host has
/// several sites if its listeners handle requests differently; hosts whose sites are equal share one. Notes a server
/// whose host another has on all of its listeners.
pub(super) fn sites(
    servers: &[Server],
    listens: &[Listen],
    convert: &mut Convert<'_>,
    notes: &mut Notes,
) -> Vec<Site> {
    // For each name: the server at each listener that has it.
    let mut order: Vec<String> = Vec::new();
    let mut at: BTreeMap<(String, usize), usize> = BTreeMap::new();
    for (s, server) in servers.iter().enumerate() {
        for host in &server.names.hosts {
            let mut ours = false;
            for (l, listen) in listens.iter().enumerate() {
                if server.listens.iter().any(|one| one.address == listen.address) {
                    ours |= *at.entry((host.clone(), l)).or_insert(s) == s;
                }
            }
            if !ours {
                notes.harmless(&server.directive, format!("another server has the name {host} already"));
            }
            if !order.contains(host) {
                order.push(host.clone());
            }
        }
    }
    for (s, server) in servers.iter().enumerate() {
        for (l, listen) in listens.iter().enumerate() {
            if server.unnamed_at.contains(&listen.address) {
                at.insert((ANY.to_owned(), l), s);
            }
        }
    }
    if at.keys().any(|(host, _)| host == ANY) {
        order.push(ANY.to_owned());
    }
    let mut found: Vec<Site> = Vec::new();
    for host in &order {
        for site in of_host(host, servers, listens, &at, convert, notes) {
            let same = found.iter_mut().find(|known| {
                known.alone == site.alone
                    && known.listeners == site.listeners
                    && known.plain == site.plain
                    && known.body == site.body
            });
            match same {
                Some(known) => known.hosts.extend(site.hosts),
                None => found.push(site),
            }
        }
    }
    found
}

/// Returns the sites of a host: one for each group of listeners with equal content. `at` maps pairs of host and
/// listener index to the index of the server.
///
/// Plain HTTP that redirects to HTTPS becomes [`Plain::Redirect`] of the site with TLS, or a site of its own if that
/// site serves plain HTTP as well. A site for [`ANY`] that would only refuse is left out, which is noted.
fn of_host(
    host: &str,
    servers: &[Server],
    listens: &[Listen],
    at: &BTreeMap<(String, usize), usize>,
    convert: &mut Convert<'_>,
    notes: &mut Notes,
) -> Vec<Site> {
    let mut found: Vec<Site> = Vec::new();
    let mut redirected = Vec::new();
    let has_tls =
        listens.iter().enumerate().any(|(l, listen)| listen.tls && at.contains_key(&(host.to_owned(), l)));
    for (l, listen) in listens.iter().enumerate() {
        let named = at.get(&(host.to_owned(), l)).copied();
        // A name that this listener does not know is answered by its default server.
        let Some(s) = named.or_else(|| default_at(servers, listen).filter(|_| !listen.tls && has_tls)) else {
            continue;
        };
        let server = &servers[s];
        let body = convert(server, host, listen, notes);
        let to_https = body.redirect.as_ref().is_some_and(|to| {
            let rest =
                to.strip_prefix("https://{host}").or_else(|| to.strip_prefix(&format!("https://{host}")));
            rest == Some("{path}{query}")
        });
        if !listen.tls && has_tls && to_https {
            notes.harmless(&server.directive, "redirects with 308, which keeps the method");
            redirected.push(l);
            continue;
        }
        if named.is_none() {
            continue;
        }
        if host == ANY && !body.shows() {
            notes.closed(
                &server.directive,
                "answers for names that no server has, which are dropped here: nothing of it could be taken over",
            );
            continue;
        }
        match found.iter_mut().find(|site| site.body == body) {
            Some(site) => site.listeners.push(l),
            None => found.push(Site {
                hosts: vec![host.to_owned()],
                listeners: vec![l],
                plain: Plain::Serve,
                body,
                alone: true,
            }),
        }
    }
    // Redirects go with the site over TLS.
    let tls = |site: &Site| site.listeners.iter().any(|l| listens[*l].tls);
    if let Some(site) = found.iter_mut().find(|site| tls(site)) {
        let serves = site.listeners.iter().any(|l| !listens[*l].tls);
        if !redirected.is_empty() && !serves {
            site.plain = Plain::Redirect;
            site.listeners.append(&mut redirected);
        } else if !serves {
            site.plain = Plain::Refuse;
        }
        site.listeners.sort_unstable();
    }
    // Beside a site that serves plain HTTP elsewhere, a redirect is a site of its own.
    if !redirected.is_empty() {
        let body = Body::redirect_to_https();
        found.push(Site {
            hosts: vec![host.to_owned()],
            listeners: redirected,
            plain: Plain::Serve,
            body,
            alone: false,
        });
    }
    let alone = found.len() == 1;
    found.iter_mut().for_each(|site| site.alone = alone);
    found
}
