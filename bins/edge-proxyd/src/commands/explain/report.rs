//! The explanation of a request: its fields are the lines of the output, and the keys of the JSON.

use super::answer::{Answer, line};
use super::certificate::CertificateSource;
use super::connection::{handshake, listener, listener_answer};
use super::readings::{Reading, readings};
use super::settings::{Setting, settings};
use crate::cli::ExplainArgs;
use edge_http::host::{normalize, split_authority};
use edge_policy::client_address::{ClientAddress, StopReason};
use edge_policy::early_data::EarlyDataVerdict;
use edge_policy::tailnet::{Identities, IdentityMatcher, Node, TailnetIdentity, TailnetUser};
use edge_proxy::config::{Auth, PathMatch, Upstream};
use edge_proxy::decide::{Decision, RequestContext, Transport, Verdict, decide, request_fields};
use edge_proxy::{CertificateContext, ClientCertificate, Reason, RequestHead, Snapshot};
use serde::Serialize;
use std::fmt;
use std::net::IpAddr;

/// The decisions about a request, each with its reason.
#[derive(Serialize)]
pub(super) struct Explanation {
    /// The listener that accepts the connection, or that there is none.
    listener: Answer,
    /// The outcome of the TLS handshake. `None` on plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake: Option<Answer>,
    /// The server certificate for the SNI. `None` on plain HTTP, without SNI, or if the handshake ends before a
    /// certificate is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<Answer>,
    /// The stage at which the connection ends without a request: `listener`, `handshake` or `certificate`. `None` if
    /// there is a request. If set, `client`, `site`, `route`, `readings` and `early` are hypothetical.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'static str>,
    /// The client's address, and the source from which it was restored.
    client: Answer,
    /// The site that serves the host.
    site: Answer,
    /// The route of the site that matches the path.
    route: Answer,
    /// Other paths that a service may read the request's path as, each with the decision about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    readings: Vec<Reading>,
    /// The verdict on the request.
    verdict: Answer,
    /// The authentication that the client must pass before the verdict is carried out. `None` if there is none, the
    /// request is refused or dropped anyway, or the connection ends before.
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<Answer>,
    /// The code of the reason why the request is refused or dropped or, if the connection ends before a request, why
    /// the handshake is rejected. `None` if there is none, as for a name without a server certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// The decision about early data (0-RTT).
    early: Answer,
    /// Further settings that apply to the request, its response and errors. Empty if the connection ends before a
    /// request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<Setting>,
    /// The request as it is sent to the upstream. `None` if it is not forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded: Option<Forwarded>,
}

/// The request as the upstream receives it.
#[derive(Serialize)]
struct Forwarded {
    /// The name of the upstream.
    upstream: String,
    /// The addresses of the upstream's targets.
    targets: Vec<String>,
    /// The method of the request.
    method: String,
    /// The request target, after changes by the route.
    target: String,
    /// The value of the field `Host`.
    host: String,
    /// The protocol of the field `Upgrade`. `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade: Option<String>,
    /// Names and values of the other fields, in the order in which they are sent. Invalid UTF-8 is replaced by U+FFFD.
    fields: Vec<(String, String)>,
}

impl Forwarded {
    /// Changes `head` to the one that the upstream receives by this decision, and describes it. `facts` are those that
    /// the decision was made by.
    fn new(
        upstream: &Upstream,
        decision: &Decision<'_>,
        mut facts: RequestContext<'_>,
        head: &mut RequestHead,
    ) -> Self {
        // A request that waits for the handshake is forwarded after it.
        facts.early = decision.early == EarlyDataVerdict::Allowed;
        request_fields(decision, &facts, head);
        Self {
            upstream: upstream.name.clone(),
            targets: upstream.targets.iter().map(ToString::to_string).collect(),
            method: head.method.to_string(),
            target: head.target.clone(),
            host: upstream.host.clone().unwrap_or_else(|| head.authority.clone()),
            upgrade: decision.upgrade.map(String::from),
            fields: head.fields.iter().map(|field| (text(field.name), text(field.value))).collect(),
        }
    }
}

/// Returns the machines of the tailnet that `--hop` describes, each with its address. The identities that are given for
/// one address describe one machine.
fn hop_nodes(args: &ExplainArgs) -> Vec<(IpAddr, Node)> {
    let mut nodes: Vec<(IpAddr, Node)> = Vec::new();
    for (address, _) in &args.hops {
        if !nodes.iter().any(|(known, _)| known == address) {
            let who: Vec<IdentityMatcher> =
                args.hops.iter().filter(|(hop, _)| hop == address).map(|(_, who)| who.clone()).collect();
            nodes.extend(node(&who).map(|node| (*address, node)));
        }
    }
    nodes
}

impl Explanation {
    /// Decides about a request, without sending anything. `head` is the request as the parser produces it, `args`
    /// describe the connection, and `certificates` are the server certificates that are known here.
    pub(super) fn new(
        snapshot: &Snapshot,
        args: &ExplainArgs,
        mut head: RequestHead,
        certificates: &CertificateSource,
    ) -> Self {
        let transport = match (args.plain, args.quic) {
            (true, _) => Transport::Plain,
            (_, true) => Transport::Quic,
            _ => Transport::Tls,
        };
        let host = split_authority(args.host()).map(|(host, _, _)| normalize(host));
        let sni = match &args.sni {
            _ if args.plain => None,
            Some(name) => Some(normalize(name)).filter(|name| !name.is_empty()),
            // Clients do not send an address as SNI (RFC 6066 §3).
            None => host.clone().filter(|host| host.parse::<IpAddr>().is_err()),
        };
        let source_node = node(&args.who);
        let identity = match (&snapshot.config().tailnet, &source_node) {
            (None, _) => TailnetIdentity::Unasked,
            (Some(_), Some(node)) => TailnetIdentity::Known(node),
            (Some(_), None) => TailnetIdentity::Nobody,
        };
        let nodes = hop_nodes(args);
        let hops: Vec<_> = nodes
            .iter()
            .map(|(address, node)| (address.to_canonical(), TailnetIdentity::Known(node)))
            .collect();
        let listener = listener(snapshot, args, transport, sni.as_deref().or(host.as_deref()));
        let mut facts = RequestContext::new(transport, args.from);
        facts.proxied = args.proxied;
        // A listener with an interface accepts what comes by it, and nothing else.
        let of_listener = listener.as_ref().and_then(|found| found.interface.as_deref());
        facts.interface = args.interface.as_deref().or(of_listener);
        facts.listener = listener.as_ref().and_then(|found| found.name.as_deref());
        facts.identities = Identities { source: identity, hops: &hops };
        facts.sni = sni.as_deref();
        facts.early = args.early;
        let source = args.proxied.unwrap_or(args.from).ip();
        let asked_site = facts.sni.and_then(|sni| snapshot.site_at(sni, facts.listener));
        let asks = asked_site.and_then(|at| snapshot.config().sites[at].client_certificates.as_ref());
        let shown = described_certificate(args);
        facts.certificate = match (asks.filter(|_| transport == Transport::Tls), &shown) {
            (Some(_), Some(certificate)) => CertificateContext::Verified(certificate),
            (Some(_), None) => CertificateContext::Absent,
            (None, _) => CertificateContext::NotAsked,
        };
        let handshake = transport.is_secure().then(|| handshake(snapshot, &facts, source));
        let certificate = match &handshake {
            Some(handshake) if handshake.goes_on => {
                let site = asked_site.map(|at| snapshot.config().sites[at].name.as_str());
                sni.as_deref().map(|name| certificate(certificates, name, site))
            }
            _ => None,
        };
        let code = handshake.as_ref().and_then(|handshake| handshake.code);
        let ended = match (&listener, &handshake, &certificate) {
            (None, ..) => Some("listener"),
            (_, Some(handshake), _) if !handshake.goes_on => Some("handshake"),
            (.., Some(certificate)) if certificate.what == "none" => Some("certificate"),
            _ => None,
        };
        let decision = decide(snapshot, &facts, &head);
        let others = readings(snapshot, &facts, &head, &decision);
        let settings = if ended.is_none() { settings(snapshot, &decision, &facts) } else { Vec::new() };
        let forwarded = match decision.verdict {
            Verdict::Forward { upstream } if ended.is_none() => {
                Some(Forwarded::new(&snapshot.config().upstreams[upstream], &decision, facts, &mut head))
            }
            _ => None,
        };
        Self {
            listener: listener_answer(args, listener),
            handshake: handshake.map(|handshake| handshake.answer),
            certificate,
            ended,
            client: client(&decision, facts.interface),
            site: site(&decision, host.as_deref()),
            route: route(&decision),
            readings: others,
            authentication: decision
                .auth
                .filter(|_| ended.is_none() && decision.verdict.reason().is_none())
                .and_then(|auth| authentication(auth, &decision)),
            verdict: match ended {
                Some(at) => Answer::new("no request", format!("the connection ends at the {at}")),
                None => verdict(snapshot, &decision),
            },
            code: if ended.is_some() { code } else { decision.verdict.reason().map(Reason::as_str) },
            early: early(decision.early),
            settings,
            forwarded,
        }
    }
}

/// Returns the client's address, and the source that it was restored from. `interface` is the one that the connection
/// arrives on, `None` if it is not known.
fn client(decision: &Decision<'_>, interface: Option<&str>) -> Answer {
    let ClientAddress { address, source, stop, .. } = &decision.client;
    let why = match (stop, interface) {
        (StopReason::WrongInterface, None) => {
            format!("from {source}: {stop}, since it is not known: --interface")
        }
        _ => format!("from {source}: {stop}"),
    };
    Answer::new(address.to_string(), why)
}

/// Returns a client certificate that has the subject of `--client-certificate` and no content. `None` without the
/// option.
fn described_certificate(args: &ExplainArgs) -> Option<ClientCertificate> {
    args.client_certificate.as_ref().map(|subject| {
        let mut certificate = ClientCertificate::new(vec![Vec::new()]);
        certificate.subject.clone_from(subject);
        certificate
    })
}

/// Returns the answer about the server certificate for a name: `found` if the site has its own or one covers the name,
/// `none`, or `unknown` if the certificates could not be read.
fn certificate(certificates: &CertificateSource, name: &str, site: Option<&str>) -> Answer {
    match certificates {
        CertificateSource::Loaded(found) if site.is_some_and(|site| found.has_own(site)) => {
            Answer::new("found", "that of the site")
        }
        CertificateSource::Loaded(found) if found.covers(name) => {
            Answer::new("found", format!("one covers {name}"))
        }
        CertificateSource::Loaded(_) => {
            Answer::new("none", format!("none covers {name}: the handshake fails"))
        }
        CertificateSource::Unknown(why) => Answer::new("unknown", format!("{why} (by this user)")),
        CertificateSource::Unneeded => Answer::new("unknown", "not looked at"),
    }
}

/// Returns a node of the tailnet that has all these identities: all tags, and of several names or logins the last.
/// `None` if the list is empty.
fn node(who: &[IdentityMatcher]) -> Option<Node> {
    if who.is_empty() {
        return None;
    }
    let mut node = Node::default();
    for who in who {
        match who {
            IdentityMatcher::Node(name) => node.name.clone_from(name),
            IdentityMatcher::Tag(tag) => node.tags.push(tag.clone()),
            IdentityMatcher::Login(login) => {
                node.user = Some(TailnetUser { login: login.clone(), ..TailnetUser::default() });
            }
        }
    }
    Some(node)
}

/// Returns the answer about the site: its name, and how its hosts match `host`; `none` with the reason if no site
/// serves the host.
fn site(decision: &Decision<'_>, host: Option<&str>) -> Answer {
    let Some((_, site)) = decision.site else {
        let why = decision.verdict.reason().map(|reason| reason.description().to_owned());
        return Answer::new("none", why.unwrap_or_default());
    };
    let named = |pattern: &&edge_http::host::HostPattern| Some(pattern.to_string().as_str()) == host;
    let why = match site.hosts.iter().find(named) {
        Some(pattern) => format!("exact match of the host {pattern}"),
        None if site.hosts.contains(&edge_http::host::HostPattern::Any) => {
            "the site of hosts that no other site has, or the longest matching pattern".into()
        }
        None => "longest matching pattern".into(),
    };
    Answer::new(&site.name, why)
}

/// Returns the answer about the route: its path, and how it matches; `none` if no route was chosen.
fn route(decision: &Decision<'_>) -> Answer {
    match decision.route.map(|(_, route)| &route.path) {
        Some(PathMatch::Begins(path)) => Answer::new(path, "longest matching beginning"),
        Some(PathMatch::Exact(path)) => Answer::new(path, "exact match of the path"),
        Some(PathMatch::Prefix(path)) => Answer::new(path, "longest matching prefix"),
        None if decision.verdict.reason().is_some() => {
            Answer::new("none", "refused before routing, or no route matches")
        }
        None => Answer::new("none", "answered before routing"),
    }
}

/// Returns the answer about the verdict: what happens to the request, and why.
fn verdict(snapshot: &Snapshot, decision: &Decision<'_>) -> Answer {
    let (what, why): (String, String) = match &decision.verdict {
        Verdict::Drop { why } => ("dropped without a response".into(), why.description().into()),
        Verdict::Forward { upstream } => {
            let name = &snapshot.config().upstreams[*upstream].name;
            (format!("forwarded to `{name}`"), "action of the route; no rule refuses it".into())
        }
        // A configuration file has no handlers.
        Verdict::Handle { .. } => ("handled by the program".into(), "the route says so".into()),
        Verdict::Redirect { status, location } => {
            let why = if decision.route.is_some() {
                "action of the route"
            } else {
                "the site redirects plain HTTP to HTTPS"
            };
            (format!("{status} to {location}"), why.into())
        }
        Verdict::Refuse { status, why } => (format!("refused with {status}"), why.description().into()),
        Verdict::Respond(response) => {
            (format!("answered with {}", response.status), "action of the route".into())
        }
    };
    Answer::new(what, why)
}

/// Returns the answer about the authentication of the client: by password, or by a service. `None` if the site is open
/// to all.
fn authentication(auth: &Auth, decision: &Decision<'_>) -> Option<Answer> {
    match auth {
        Auth::Open => None,
        Auth::Basic(basic) => Some(Answer::new(
            "a password",
            match &basic.user_field {
                None => format!("of one of {} users, for `{}`", basic.users.len(), basic.realm),
                Some(field) => format!(
                    "of one of {} users, for `{}`; {field} tells the service the name",
                    basic.users.len(),
                    basic.realm
                ),
            },
        )),
        Auth::Forward(forward) => {
            let mut why = match decision.readings.len() {
                0 => "about the path".to_owned(),
                more => format!("about the path and {more} other readings of it, and must allow all"),
            };
            if !forward.copy.is_empty() {
                why += &format!("; {} of its answer go to the service", forward.copy.join(", "));
            }
            Some(Answer::new(format!("`{}` is asked at {}", forward.upstream, forward.path), why))
        }
    }
}

/// Returns the answer about early data: whether the request is forwarded at once, is not in early data, or waits for
/// the handshake.
fn early(early: EarlyDataVerdict) -> Answer {
    match early {
        EarlyDataVerdict::Allowed => {
            Answer::new("forwarded at once", "the site opted in, and the request is safe")
        }
        EarlyDataVerdict::NotEarly => Answer::new("not early", "the request is not in early data"),
        EarlyDataVerdict::Wait(why) => Answer::new("waits for the handshake", why.to_string()),
    }
}

/// Converts bytes into text. Invalid UTF-8 is replaced by U+FFFD.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of a request that is never sent.
        let request = self.ended.is_none();
        let lines = [
            ("listener", Some(&self.listener)),
            ("handshake", self.handshake.as_ref()),
            ("certificate", self.certificate.as_ref()),
            ("client", request.then_some(&self.client)),
            ("site", request.then_some(&self.site)),
            ("route", request.then_some(&self.route)),
        ];
        let rest = [
            ("verdict", Some(&self.verdict)),
            ("authentication", self.authentication.as_ref()),
            ("early data", request.then_some(&self.early)),
        ];
        for (name, answer) in lines {
            line(f, name, answer)?;
        }
        for reading in self.readings.iter().filter(|_| request) {
            writeln!(f, "{:<11}  {reading}", "may be read")?;
        }
        for (name, answer) in rest {
            line(f, name, answer)?;
        }
        if let Some(code) = self.code {
            writeln!(f, "{:<11}  {code}", "code")?;
        }
        for setting in &self.settings {
            writeln!(f, "{setting}")?;
        }
        if let Some(forwarded) = &self.forwarded {
            writeln!(f, "{:<11}  {} at {}", "upstream", forwarded.upstream, forwarded.targets.join(", "))?;
            writeln!(f, "\n{} {}\nHost: {}", forwarded.method, forwarded.target, forwarded.host)?;
            if let Some(protocol) = &forwarded.upgrade {
                writeln!(f, "Connection: Upgrade\nUpgrade: {protocol}")?;
            }
            for (name, value) in &forwarded.fields {
                writeln!(f, "{name}: {value}")?;
            }
        }
        Ok(())
    }
}
