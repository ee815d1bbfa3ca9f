//! Decisions about requests, clients and upstream fields, and about logins to PostgreSQL.

use crate::{Path, http};
use edge_http::Name;
use edge_http::proxy_protocol;
use edge_http::trace_context::{Sampler, TraceContext, received};
use edge_policy::Snapshot;
use edge_policy::config::{Config, Listener, Route, Site, Target, Upstream};
use edge_policy::decide::{
    RequestContext, Transport, Verdict, decide, hello, request_fields, response_fields,
};
use pg_hba::{Attempt, Document, EmptyEnvironment, Index, Server, Version};
use std::fmt::Write as _;
use std::hint::black_box;

/// Paths of this module, each a name and a function that runs the path the given number of times.
pub(crate) const PATHS: &[Path] = &[
    ("decide", decide_direct),
    ("decide-behind-hops", decide_behind_hops),
    ("request-fields", fields),
    ("response-fields", answer_fields),
    ("client-hello", client_hello),
    ("proxy-protocol", proxy_header),
    ("trace-context", trace_context),
    ("pg-hba-decide", pg_hba_decide),
    ("pg-hba-parse", pg_hba_parse),
];

/// Returns a snapshot of a configuration with a hundred sites, of which `git.example.org` is the last, one upstream,
/// and a trusted range of proxies.
fn snapshot() -> Snapshot {
    let mut config = Config::default();
    for n in 0..99 {
        let host = format!("site{n}.example.org").parse().expect("a name");
        config.sites.push(Site::new("other", vec![host]).route(Route::forward("forgejo")));
    }
    let host = "git.example.org".parse().expect("a name");
    config.sites.push(Site::new("git", vec![host]).route(Route::forward("forgejo")));
    for (n, site) in config.sites.iter_mut().enumerate() {
        site.name = format!("site{n}");
    }
    config.listeners.push(Listener::tls(([192, 0, 2, 1], 443).into()).http3(true));
    let target = Target::Tcp { host: "100.64.0.2".into(), port: 80 };
    config.upstreams.push(Upstream::new("forgejo", target));
    config.trust.ranges.push("100.64.0.0/10".parse().expect("a range"));
    Snapshot::new(config).expect("a good configuration")
}

/// Returns the context of a request over TLS for `git.example.org` from an address with port.
fn facts(peer: &str) -> RequestContext<'static> {
    RequestContext::tls(peer.parse().expect("an address"), "git.example.org")
}

/// Decides about a request that comes from a client directly, `count` times.
fn decide_direct(count: u32) {
    let (snapshot, facts, head) = (snapshot(), facts("203.0.113.7:40000"), http::request());
    for _ in 0..count {
        let decision = decide(&snapshot, black_box(&facts), black_box(&head));
        assert_eq!(black_box(decision).verdict, Verdict::Forward { upstream: 0 });
    }
}

/// Decides about a request from a trusted proxy whose X-Forwarded-For names the client and two more proxies, `count`
/// times.
fn decide_behind_hops(count: u32) {
    let (snapshot, facts, mut head) = (snapshot(), facts("100.64.0.1:40000"), http::request());
    head.fields.push(b"X-Forwarded-For", b"203.0.113.7, 100.64.0.9, 100.64.0.5");
    for _ in 0..count {
        let decision = decide(&snapshot, black_box(&facts), black_box(&head));
        assert_eq!(black_box(decision).client.address.to_string().len(), 11);
    }
}

/// Rewrites the fields of a request, `count` times. Includes the copy of the head into existing memory.
fn fields(count: u32) {
    let (snapshot, facts, received) = (snapshot(), facts("203.0.113.7:40000"), http::request());
    let decision = decide(&snapshot, &facts, &received);
    let mut head = received.clone();
    for _ in 0..count {
        head.clone_from(&received);
        request_fields(&decision, black_box(&facts), &mut head);
        assert!(black_box(&head).fields.contains(Name::XRealIp));
    }
}

/// Rewrites the fields of a response, `count` times. Includes the copy of the fields into existing memory.
fn answer_fields(count: u32) {
    let (snapshot, facts, response) = (snapshot(), facts("203.0.113.7:40000"), http::response());
    let decision = decide(&snapshot, &facts, &http::request());
    let mut head = response.clone();
    for _ in 0..count {
        head.fields.clone_from(&response.fields);
        response_fields(&decision, black_box(&facts), Some("h3=\":443\"; ma=86400"), &mut head);
        assert!(black_box(&head).fields.contains(Name::AltSvc));
    }
}

/// Decides about a ClientHello with a known host and one with an unknown host, `count` times.
fn client_hello(count: u32) {
    let snapshot = snapshot();
    for _ in 0..count {
        assert!(hello(&snapshot, Transport::Tls, None, None, black_box(Some("git.example.org"))).is_ok());
        assert!(
            hello(&snapshot, Transport::Tls, None, None, black_box(Some("stranger.example.org"))).is_err()
        );
    }
}

/// Parses a header of the PROXY protocol, version 2, `count` times.
fn proxy_header(count: u32) {
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x64\x40\0\x01\x9c\x40\x01\xbb";
    for _ in 0..count {
        assert!(proxy_protocol::parse(black_box(header)).is_ok_and(|found| found.is_some()));
    }
}

/// Parses a trace context, decides on its sampling, and formats it for the upstream, `count` times.
fn trace_context(count: u32) {
    let (sampling, mut head) = (Sampler::new(0.1).expect("a share"), http::request());
    head.fields.push(b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    head.fields.push(b"tracestate", b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7");
    for _ in 0..count {
        let (parent, state) = received(black_box(&head.fields)).expect("it is well formed");
        let sampled = sampling.keeps(Some(parent), parent.trace);
        let told = TraceContext { sampled, ..parent }.to_bytes();
        assert_eq!((black_box(told).len(), black_box(state).len()), (55, 39));
    }
}

/// Returns the text of a pg_hba.conf with `count` rules, each for its own database, user and network, and a last rule
/// that rejects every IPv4 address.
fn rules(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        let (a, b) = (n / 250, n % 250);
        writeln!(text, "hostssl db{n} user{n} 10.{a}.{b}.0/24 scram-sha-256").expect("a string takes it");
    }
    text.push_str("host all all 0.0.0.0/0 reject\n");
    text
}

/// Decides about a connection among 1,001 rules, by an index, `count` times.
fn pg_hba_decide(count: u32) {
    let document = Document::parse(&rules(1_000), &Server::new(Version::V18));
    let index = Index::new(document.rules().expect("rules"));
    let attempt = Attempt::tls("db900", "user900", "10.3.150.9".parse().expect("an address"));
    for _ in 0..count {
        black_box(index.decide(black_box(&attempt), &EmptyEnvironment));
    }
}

/// Parses ten rules of a pg_hba.conf, `count` times.
fn pg_hba_parse(count: u32) {
    let (text, server) = (rules(9), Server::new(Version::V18));
    for _ in 0..count {
        let document = Document::parse(black_box(&text), &server);
        assert_eq!(document.rules().map(|rules| rules.len()).ok(), Some(10));
    }
}
