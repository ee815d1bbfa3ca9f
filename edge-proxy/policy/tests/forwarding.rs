//! Connections that are forwarded byte for byte: they reach the upstream of their listener or of their site, and no other.

use edge_http::{RequestHead, Version};
use edge_policy::Snapshot;
use edge_policy::config::{
    Access, Config, Forward, Listener, ListenerKind, PlainHttp, Protocol, Reject, Route, Site, Target,
    Upstream,
};
use edge_policy::decide::{RequestContext, Transport, Verdict, decide, hello};
use proptest::prelude::*;

const NAMES: [&str; 4] = ["h0", "h1", "t0", "t1"];
const HOSTS: [&str; 4] = ["a.example.org", "b.example.org", "*.example.org", "*"];
const LISTENERS: [&str; 2] = ["public", "tailnet"];

/// Upstreams at one and the same address: two for HTTP and two for raw TCP.
fn upstreams() -> Vec<Upstream> {
    let target = || Target::Tcp { host: "127.0.0.1".into(), port: 9 };
    let of = |name: &str| {
        let protocol = if name.starts_with('t') { Protocol::Tcp } else { Protocol::Http1 };
        Upstream { protocol, ..Upstream::new(name, target()) }
    };
    NAMES.map(of).to_vec()
}

fn any_listener() -> impl Strategy<Value = Listener> {
    let kind = prop_oneof![Just(None), Just(Some("plain")), Just(Some("t0")), Just(Some("t1")),];
    (kind, proptest::option::of(proptest::sample::select(&LISTENERS[..]))).prop_map(|(kind, name)| {
        let any = ([127, 0, 0, 1], 0).into();
        let listener = match kind {
            None => Listener::tls(any),
            Some("plain") => Listener::plain(any),
            Some(upstream) => Listener::tcp(any, Forward::to(upstream)),
        };
        Listener { name: name.map(str::to_owned), ..listener }
    })
}

fn any_site() -> impl Strategy<Value = Site> {
    let upstream = proptest::sample::select(&NAMES[..]);
    let listen = prop_oneof![2 => Just(None), 1 => proptest::sample::select(&LISTENERS[..]).prop_map(Some)];
    (proptest::sample::select(&HOSTS[..]), upstream, listen, any::<bool>()).prop_map(
        |(host, upstream, listen, closed)| {
            let mut site = Site::new("", vec![host.parse().expect("a host")]);
            if upstream.starts_with('t') {
                site.passthrough = Some(upstream.into());
            } else {
                site = site.route(Route::forward(upstream));
                site.plain = PlainHttp::Serve;
            }
            if closed {
                site.access =
                    Access { deny: vec!["192.0.2.0/24".parse().expect("a range")], ..Access::default() };
            }
            site.listen = listen.into_iter().map(str::to_owned).collect();
            site
        },
    )
}

/// Configurations of sites that do not claim the same host at the same listener.
fn any_config() -> impl Strategy<Value = Config> {
    let sites = proptest::collection::vec(any_site(), 1..6);
    (proptest::collection::vec(any_listener(), 1..5), sites).prop_filter_map(
        "no such host twice",
        |(mut listeners, mut sites)| {
            listeners.extend(LISTENERS.map(|name| Listener::tls(([127, 0, 0, 1], 0).into()).named(name)));
            for (number, site) in sites.iter_mut().enumerate() {
                site.name = format!("site{number}");
            }
            let config = Config { listeners, sites, upstreams: upstreams(), ..Config::default() };
            Snapshot::new(config.clone()).is_ok().then_some(config)
        },
    )
}

/// The upstream of a connection, by the rules in words: that of the listener, or of the site whose host is the server name, or
/// the longest ending of it, and which the listener serves.
fn expected<'c>(
    config: &'c Config,
    listener: &'c Listener,
    sni: &str,
) -> Option<(&'c str, Option<&'c Site>)> {
    if let Some(forward) = &listener.forward {
        return Some((&forward.upstream, None));
    }
    let pattern = HOSTS.into_iter().find(|host| {
        let covers = match host.strip_prefix("*") {
            None => sni == *host,
            Some(end) => sni.ends_with(end) && sni.len() > end.len(),
        };
        covers && config.sites.iter().any(|site| site.hosts[0].to_string() == *host)
    })?;
    let serves = |site: &&Site| {
        site.hosts[0].to_string() == pattern
            && (site.listen.is_empty()
                || listener.name.as_ref().is_some_and(|name| site.listen.contains(name)))
    };
    let site = config.sites.iter().find(serves)?;
    site.passthrough.as_deref().map(|upstream| (upstream, Some(site)))
}

/// The upstream that the connection is forwarded to, as the server asks for it.
fn forwarded_to(snapshot: &Snapshot, listener: &Listener, client: &str, sni: &str) -> Option<usize> {
    let name = match (&listener.forward, listener.kind) {
        (Some(forward), _) => Some(forward.upstream.as_str()),
        (None, ListenerKind::Tls { .. }) => {
            let client = client.parse().expect("an address");
            let site =
                hello(snapshot, Transport::Tls, listener.name.as_deref(), Some(client), Some(sni)).ok();
            site.and_then(|site| snapshot.config().sites[site].passthrough.as_deref())
        }
        (None, _) => None,
    };
    name.and_then(|name| snapshot.tcp_upstream_named(name))
}

fn any_sni() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a.example.org"), Just("b.example.org"), Just("c.example.org"), Just("example.com")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn s29_a_connection_reaches_the_upstream_of_its_listener_or_site(
        config in any_config(), at in any::<proptest::sample::Index>(), sni in any_sni(),
        client in prop_oneof![Just("192.0.2.1"), Just("198.51.100.1")],
    ) {
        let listener = config.listeners[at.index(config.listeners.len())].clone();
        let snapshot = Snapshot::new(config.clone()).expect("valid");
        let found = forwarded_to(&snapshot, &listener, client, sni);
        let raw = matches!(listener.kind, ListenerKind::Tls { .. }) || listener.forward.is_some();
        let expected = expected(&config, &listener, sni).filter(|_| raw);
        let permitted = |site: Option<&Site>| site.is_none_or(|site| site.access.permits(client.parse().expect("an address")));
        let name = found.map(|upstream| config.upstreams[upstream].name.as_str());
        prop_assert_eq!(name, expected.filter(|(_, site)| permitted(*site)).map(|(name, _)| name));
        if let Some(upstream) = found {
            prop_assert_eq!(config.upstreams[upstream].protocol, Protocol::Tcp);
        }
    }

    /// Requests, for their part, reach no upstream for raw TCP.
    #[test]
    fn no_request_reaches_an_upstream_of_connections(
        config in any_config(), at in any::<proptest::sample::Index>(), sni in any_sni(), host in any_sni(),
        transport in prop_oneof![Just(Transport::Plain), Just(Transport::Tls), Just(Transport::Quic)],
    ) {
        let snapshot = Snapshot::new(config.clone()).expect("valid");
        let listener = &config.listeners[at.index(config.listeners.len())];
        let mut facts = RequestContext::new(transport, "198.51.100.1:4000".parse().expect("an address"));
        (facts.listener, facts.sni) = (listener.name.as_deref(), transport.is_secure().then_some(sni));
        let mut head = RequestHead::new(Version::Http11);
        (head.authority, head.target) = (host.into(), "/".into());
        if let Verdict::Forward { upstream } = decide(&snapshot, &facts, &head).verdict {
            prop_assert_eq!(config.upstreams[upstream].protocol, Protocol::Http1);
            prop_assert!(!transport.is_secure() || forwarded_to(&snapshot, &Listener::tls(listener.address).named(listener.name.clone().unwrap_or_default()), "198.51.100.1", host).is_none());
        }
    }

    /// A connection that waits while its upstream becomes one for HTTP, by a reload, does not reach it.
    #[test]
    fn names_that_become_those_of_http_are_not_found(http in proptest::sample::subsequence(NAMES.to_vec(), 0..=4), name in proptest::sample::select(&NAMES[..])) {
        let mut config = Config { upstreams: upstreams(), ..Config::default() };
        for upstream in &mut config.upstreams {
            upstream.protocol = if http.contains(&upstream.name.as_str()) { Protocol::Http1 } else { Protocol::Tcp };
        }
        let snapshot = Snapshot::new(config).expect("valid");
        prop_assert_eq!(snapshot.tcp_upstream_named(name).is_some(), !http.contains(&name));
        prop_assert_eq!(snapshot.tcp_upstream_named("another"), None);
    }
}

#[test]
fn one_address_is_a_target_of_both() {
    let mut raw = Site::new("raw", vec!["raw.example.org".parse().expect("a host")]);
    raw.passthrough = Some("t0".into());
    let web = Site::new("web", vec!["web.example.org".parse().expect("a host")]).route(Route::forward("h0"));
    let config =
        Config { sites: vec![raw, web], upstreams: upstreams(), reject: Reject::Silent, ..Config::default() };
    let snapshot = Snapshot::new(config).expect("the owner says so, for each use by itself");
    let tls = Listener::tls(([127, 0, 0, 1], 0).into());
    assert_eq!(forwarded_to(&snapshot, &tls, "192.0.2.1", "raw.example.org"), Some(2));
    assert_eq!(forwarded_to(&snapshot, &tls, "192.0.2.1", "web.example.org"), None);
}
