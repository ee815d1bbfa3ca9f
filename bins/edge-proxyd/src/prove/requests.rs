//! The requests that both sides get: combinations of names, paths, methods, clients, header fields and protocols.

use super::job::{ClientCertificateKind, Probe, Version};
use super::paths::{Sample, limit_of, samples};
use super::recorder::{ANSWER, DENIED};
use crate::import::{Directive, Outline, OutlinedServer, net_of, serves_headscale};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A client address that is in no range of a configuration except those of all addresses (RFC 5737).
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

/// Returns at most `most` requests for a configuration, and the number of those that were left out. Simple requests for
/// all paths take precedence over those that vary one property, and these over combinations and other spellings.
pub(super) fn requests(outline: &Outline, most: usize) -> (Vec<Probe>, usize) {
    let mut all: [Vec<Probe>; 3] = Default::default();
    let servers: Vec<&Directive> = outline.servers.iter().map(|server| &server.directive).collect();
    let mut facts = Facts::default();
    servers.iter().for_each(|server| facts.read(server.inner()));
    facts.tailscale = facts.upgrades && servers.iter().any(|server| serves_headscale(server.inner()));
    let listens = listens(outline);
    for one in &outline.servers {
        let (hosts, server) = (&one.hosts, &one.directive);
        let samples = samples(server, limit_of(server.inner(), 1 << 20));
        for host in hosts.iter().take(3).map(|host| example_host(host)) {
            for listen in &listens {
                let basic = basic(listen, &host);
                server_requests(&basic, &samples, &facts, outline, &mut all);
                // The name in the handshake and that in the request differ.
                if listen.1
                    && let Some(other) = outline
                        .servers
                        .iter()
                        .flat_map(|server| &server.hosts)
                        .find(|other| **other != host && !other.starts_with("*."))
                {
                    all[1].push(Probe { sni: Some(other.clone()), ..basic.clone() });
                }
            }
        }
    }
    for listen in &listens {
        all[1].push(basic(listen, "unknown.invalid"));
    }
    for forward in &outline.forwards {
        add_forward_probes(forward, &mut all[0]);
    }
    let [plain, facts, others] = all;
    let (mut found, mut left_out) = sample_evenly(plain, most);
    for more in [facts, others] {
        let (some, beyond) = sample_evenly(more, most - found.len());
        found.extend(some);
        left_out += beyond;
    }
    (found, left_out)
}

/// Appends the requests for a server of `stream`: a line of text, or TLS with each of its names and an unknown one,
/// from a stranger and from each client that the server names.
fn add_forward_probes(forward: &OutlinedServer, all: &mut Vec<Probe>) {
    let mut facts = Facts::default();
    facts.read(forward.directive.inner());
    let ends: Vec<(SocketAddr, bool, bool)> =
        forward.addresses.iter().map(|address| (*address, !forward.hosts.is_empty(), false)).collect();
    for end in reachable_listens(&ends) {
        let names: Vec<String> = match forward.hosts.as_slice() {
            [] => vec![String::new()],
            hosts => hosts.iter().map(|host| example_host(host)).chain(["unknown.invalid".into()]).collect(),
        };
        for name in names {
            let mut one = basic(&end, &name);
            if forward.hosts.is_empty() {
                (one.version, one.sni) = (Version::Text, None);
            }
            let clients = facts.clients.iter().filter(|client| client.is_ipv4() == one.to.is_ipv4());
            all.extend(clients.map(|client| Probe { from: *client, ..one.clone() }));
            all.push(one);
        }
    }
}

/// Returns at most `most` of the requests, evenly distributed over the list and in its order, and the number of those
/// left out.
fn sample_evenly(all: Vec<Probe>, most: usize) -> (Vec<Probe>, usize) {
    let count = all.len();
    let kept = count.min(most);
    // The step to the next of those that are kept.
    let is_kept = |i: usize| i * kept / count.max(1) != (i + 1) * kept / count.max(1);
    let found: Vec<Probe> =
        all.into_iter().enumerate().filter(|(i, _)| is_kept(*i)).map(|(_, one)| one).collect();
    (found, count - kept)
}

/// Appends the requests for the paths of a server. `basic` has its host and address. The first list gets simple
/// requests, the second those that vary one property in `facts`, and the third combinations, long content and other
/// spellings of paths.
fn server_requests(
    basic: &Probe,
    samples: &[Sample],
    facts: &Facts,
    outline: &Outline,
    all: &mut [Vec<Probe>; 3],
) {
    let with = |request: &Probe, name: &str, value: &str| {
        let mut one = request.clone();
        one.fields.push((name.to_owned(), value.to_owned()));
        one
    };
    for sample in samples {
        let get = Probe { path: sample.path.clone(), ..basic.clone() };
        all[0].push(get.clone());
        for client in &facts.clients {
            if client.is_ipv4() == get.to.is_ipv4() {
                all[1].push(Probe { from: *client, ..get.clone() });
            }
        }
        if let Some(header) = outline.header.as_deref().filter(|header| *header != "proxy_protocol") {
            for from in
                facts.clients.iter().chain([&STRANGER]).filter(|from| from.is_ipv4() == get.to.is_ipv4())
            {
                for told in facts.clients.iter().chain([&STRANGER]) {
                    all[2].push(Probe { from: *from, ..with(&get, header, &told.to_string()) });
                }
            }
        }
        if get.tls {
            all[1].push(Probe { version: Version::Http2, ..get.clone() });
            if outline.quic.iter().any(|one| one.port() == get.to.port()) && !get.proxied {
                all[1].push(Probe { version: Version::Http3, ..get.clone() });
            }
            if facts.certificates {
                let revoked = facts.revocations.then_some(ClientCertificateKind::Revoked);
                for shown in
                    [ClientCertificateKind::Known, ClientCertificateKind::Foreign].into_iter().chain(revoked)
                {
                    all[1].push(Probe { certificate: Some(shown), ..get.clone() });
                    let forged = with(&get, "X-Client-Verified", "SUCCESS");
                    all[2].push(Probe { certificate: Some(shown), version: Version::Http2, ..forged });
                }
            }
        }
        if facts.upgrades {
            all[1].push(with(&with(&get, "Upgrade", "websocket"), "Connection", "Upgrade"));
        }
        if facts.tailscale {
            let post = Probe { method: "POST".into(), ..get.clone() };
            all[1].push(with(&with(&post, "Upgrade", CONTROL), "Connection", "Upgrade"));
        }
        if facts.asks {
            all[1].push(with(&get, DENIED, "1"));
            all[1].push(with(&with(&get, DENIED, "1"), "Remote-User", "forged"));
        }
        if facts.passwords {
            all[1].push(with(&get, "Authorization", "Basic cHJvdmU6cHJvdmU="));
            for client in facts.clients.iter().filter(|client| client.is_ipv4() == get.to.is_ipv4()) {
                all[2].push(Probe { from: *client, ..with(&get, "Authorization", "Basic cHJvdmU6d3Jvbmc=") });
            }
        }
        // A page that is asked for itself is refused by both, and is no answer of a service.
        for answer in facts.answers.iter().filter(|_| !facts.pages.contains(&get.path)) {
            all[1].push(with(&get, ANSWER, answer));
        }
        for method in ["POST", "DELETE", "PROPFIND"] {
            let post = Probe { method: method.into(), ..get.clone() };
            all[1].push(with(&post, "Content-Length", "0"));
        }
        if sample.limit > 0 {
            let post = Probe { method: "POST".into(), ..get.clone() };
            all[2].push(with(&post, "Content-Length", &(sample.limit + 1).to_string()));
        }
        // Other spellings of the path.
        if let Some((first, rest)) = sample.path.get(1..2).zip(sample.path.get(2..)) {
            let encoded = format!("/%{:02X}{rest}", first.as_bytes()[0]);
            all[2].push(Probe { path: encoded, ..get.clone() });
            all[2].push(Probe { path: format!("/{}", sample.path), ..get.clone() });
            all[2].push(Probe { path: format!("/x/..{}", sample.path), ..get.clone() });
            all[2].push(Probe { path: sample.path.to_uppercase(), ..get.clone() });
        }
    }
}

/// The properties of a configuration that determine which requests are worthwhile.
#[derive(Debug, Default)]
struct Facts {
    /// An address in each range of clients that the configuration names, at most 8.
    clients: Vec<IpAddr>,
    /// True if an authentication service is used (`auth_request`).
    asks: bool,
    /// True if basic authentication is used.
    passwords: bool,
    /// True if client certificates are requested.
    certificates: bool,
    /// True if a revocation list is used.
    revocations: bool,
    /// The last arguments of `error_page`: paths of error pages.
    pages: Vec<String>,
    /// The values of [`ANSWER`] that requests carry, at most 8.
    answers: Vec<String>,
    /// True if `Upgrade` is forwarded with a variable, so that clients may switch protocols.
    upgrades: bool,
    /// True if clients may switch protocols and a server is one of headscale.
    tailscale: bool,
}

/// The protocol to which clients of headscale switch.
const CONTROL: &str = "tailscale-control-protocol";

impl Facts {
    /// Records the properties of a block and, recursively, of the blocks in it.
    fn read(&mut self, block: &[Directive]) {
        for one in block {
            match one.name.as_str() {
                "allow" | "deny" | "set_real_ip_from" => self.client(one.first()),
                "auth_request" => self.asks |= one.first() != "off",
                "ssl_crl" => self.revocations = true,
                "error_page" => {
                    self.pages.extend(one.arguments.last().cloned());
                    let named = one.arguments.iter().filter(|code| code.starts_with(['4', '5']));
                    named
                        .map(String::as_str)
                        .chain(["404", "502"])
                        .for_each(|code| self.answer(format!("status {code}")));
                }
                "proxy_redirect" | "proxy_cookie_path" | "proxy_cookie_domain" => self.rewriting(one),
                "ssl_verify_client" => self.certificates |= one.first() != "off",
                "proxy_set_header" if one.first().eq_ignore_ascii_case("upgrade") => {
                    self.upgrades |= one.arguments.get(1).is_some_and(|value| value.contains('$'));
                }
                "auth_basic" => self.passwords |= one.first() != "off",
                "if" => one.arguments.iter().for_each(|text| self.client(text.trim_matches(['(', ')']))),
                _ => {}
            }
            self.read(one.inner());
        }
    }

    /// Adds the responses for a directive that rewrites redirects or cookies: one with the text that the directive
    /// rewrites, and one with other targets, paths and domains.
    fn rewriting(&mut self, directive: &Directive) {
        let from = directive.arguments.first().filter(|from| {
            // `http://` stands for every Location, which the import leaves to the service, and says so.
            directive.arguments.len() == 2
                && *from != "http://"
                && from.bytes().all(|byte| byte.is_ascii_graphic())
                && !from.contains(['$', '~'])
        });
        let of = |name: &str, usual: &str| {
            from.filter(|_| directive.name == name)
                .map_or_else(|| usual.to_owned(), |from| format!("{from}x"))
        };
        let (to, path) = (of("proxy_redirect", "/x"), of("proxy_cookie_path", "/x"));
        let domain =
            from.filter(|_| directive.name == "proxy_cookie_domain").map_or("internal.test", String::as_str);
        self.answer(format!("redirect {to} {path} {domain}"));
        self.answer("redirect https://elsewhere.test/x /elsewhere elsewhere.test".into());
    }

    /// Adds a value of [`ANSWER`], unless it is known or there are 8.
    fn answer(&mut self, answer: String) {
        if self.answers.len() < 8 && !self.answers.contains(&answer) {
            self.answers.push(answer);
        }
    }

    /// Adds an address in a range of clients, if the text is a range other than that of all addresses: the address
    /// itself, or the one after the network address. At most 8 different ones are added, and no multicast addresses.
    fn client(&mut self, text: &str) {
        let Some(range) = net_of(text).filter(|range| range.prefix_len() > 0) else { return };
        let inside = if range.prefix_len() == range.max_prefix_len() {
            range.addr()
        } else {
            match range.network() {
                IpAddr::V4(four) => IpAddr::V4(Ipv4Addr::from(u32::from(four) + 1)),
                IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) + 1)),
            }
        };
        if self.clients.len() < 8 && !self.clients.contains(&inside) && !inside.is_multicast() {
            self.clients.push(inside);
        }
    }
}

/// Returns an address for each listener of HTTP, as [`reachable_listens`] does. The first boolean is true with TLS, the
/// second with PROXY headers.
fn listens(outline: &Outline) -> Vec<(SocketAddr, bool, bool)> {
    reachable_listens(&outline.listens)
}

/// Returns an address for each listener, with its two booleans. A listener on all addresses is represented by one of
/// documentation (RFC 5737, RFC 3849); one on all IPv6 addresses is left out if another is on all IPv4 addresses at the
/// same port.
fn reachable_listens(listens: &[(SocketAddr, bool, bool)]) -> Vec<(SocketAddr, bool, bool)> {
    let four = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let six: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let mut found = Vec::new();
    for (address, tls, proxied) in listens {
        let both = |other: &(SocketAddr, bool, bool)| {
            other.0.is_ipv4() && other.0.port() == address.port() && other.0.ip().is_unspecified()
        };
        if address.is_ipv6() && address.ip().is_unspecified() && listens.iter().any(both) {
            continue;
        }
        let ip = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => four,
            IpAddr::V6(_) => six,
        };
        found.push((SocketAddr::new(ip, address.port()), *tls, *proxied));
    }
    found
}

/// Returns a host name that a host of the configuration matches: `any.NAME` for `*.NAME`, an unknown name for `*`, and
/// otherwise the host itself.
fn example_host(host: &str) -> String {
    if host == "*" {
        return "unknown.invalid".into();
    }
    host.strip_prefix("*.").map_or_else(|| host.to_owned(), |rest| format!("any.{rest}"))
}

/// Returns a GET request for `/` over HTTP/1.1 by a stranger, for a host at a listener, whose booleans are true with
/// TLS and with PROXY headers. The server name is the host, or none if that is an address.
fn basic((to, tls, proxied): &(SocketAddr, bool, bool), host: &str) -> Probe {
    let from =
        if to.is_ipv4() { STRANGER } else { IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7)) };
    let name = Some(host.to_owned()).filter(|_| host.parse::<IpAddr>().is_err());
    Probe {
        from,
        to: *to,
        tls: *tls,
        proxied: *proxied,
        sni: name,
        host: host.to_owned(),
        method: "GET".into(),
        path: "/".into(),
        fields: Vec::new(),
        version: Version::Http1,
        certificate: None,
    }
}
