//! Decisions about connections and requests, by known attacks and by properties.

use edge_http::{BodyLength, Method, Name, RequestHead, ResponseHead, Version};
use edge_policy::config::{
    Access, Action, Auth, Config, FieldEdits, ForwardAuth, Listener, PathMatch, PlainHttp, Reject, Response,
    Route, Site, Tailnet, Target, Trust, Upstream,
};
use edge_policy::decide::{
    Decision, Rejection, RequestContext, Transport, Verdict, decide, hello, request_fields, response_fields,
};
use edge_policy::early_data::{EarlyDataVerdict, WaitReason};
use edge_policy::handler::Handler;
use edge_policy::{ConfigPath, Reason, Snapshot};
use proptest::prelude::*;

fn site(name: &str, hosts: &[&str]) -> Site {
    Site::new(name, hosts.iter().map(|host| host.parse().unwrap()).collect())
}

fn config() -> Config {
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    let mut git = site("git", &["git.example.org", "*.git.example.org"]).route(Route::forward("a"));
    git.plain = PlainHttp::Serve;
    git.early_data = true;
    git.body_limit = Some(1000);
    git.request_fields =
        FieldEdits { set: vec![("Remote-User".into(), "nobody".into())], ..FieldEdits::default() };
    let mut api = Route::new(prefix("/api"), Action::Forward { upstream: "b".into() });
    api.strip_prefix = Some("/api".into());
    git.routes.push(api);
    let to = "https://x.org{path}{query}".into();
    git.routes.push(Route::new(PathMatch::Exact("/old".into()), Action::Redirect { status: 301, to }));

    let mut vault = site("vault", &["vault.example.org"]).route(Route::forward("a"));
    let mut admin = Route::new(prefix("/admin"), Action::Forward { upstream: "b".into() });
    admin.access = Access { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: Vec::new() };
    vault = vault.route(admin);
    vault.plain = PlainHttp::Serve;
    vault.early_data = true;

    let mut closed = site("closed", &["closed.example.org"]).route(Route::forward("a"));
    closed.access.deny = vec!["192.0.2.0/24".parse().unwrap()];
    closed.early_data = true;
    let redirected = site("redirected", &["r.example.org"]).route(Route::forward("a"));
    let mut hidden = site("hidden", &["hidden.example.org"]).route(Route::forward("a"));
    hidden.plain = PlainHttp::Refuse;

    let target = |port| Target::Tcp { host: "127.0.0.1".into(), port };
    Config {
        sites: vec![git, vault, closed, redirected, hidden],
        upstreams: vec![Upstream::new("a", target(1)), Upstream::new("b", target(2))],
        trust: Trust { ranges: vec!["100.64.0.0/10".parse().unwrap()], ..Trust::default() },
        ..Config::default()
    }
}

fn snapshot() -> Snapshot {
    let mut config = config();
    config.listeners.push(Listener::tls(([127, 0, 0, 1], 443).into()).http3(true));
    Snapshot::new(config).unwrap()
}

fn plain(peer: &str) -> RequestContext<'static> {
    RequestContext::plain(format!("{peer}:40000").parse().unwrap())
}

fn tls(sni: &str) -> RequestContext<'_> {
    RequestContext::tls("192.0.2.1:40000".parse().unwrap(), sni)
}

fn early(sni: &str) -> RequestContext<'_> {
    let mut context = tls(sni);
    context.early = true;
    context
}

fn get(authority: &str, target: &str) -> RequestHead {
    let mut head = RequestHead::new(Version::Http11);
    head.authority = authority.into();
    head.target = target.into();
    head
}

fn refused(facts: &RequestContext<'_>, head: &RequestHead) -> Option<(u16, Reason)> {
    match decide(&snapshot(), facts, head).verdict {
        Verdict::Refuse { status, why } => Some((status, why)),
        Verdict::Drop { why } => Some((0, why)),
        _ => None,
    }
}

/// A handler that leaves all requests to others.
struct Forwards;

impl Handler for Forwards {}

fn values(head: &RequestHead, name: &str) -> Vec<String> {
    let same = |field: &edge_http::Field<'_>| field.name.eq_ignore_ascii_case(name.as_bytes());
    head.fields.iter().filter(same).map(|field| String::from_utf8_lossy(field.value).into_owned()).collect()
}

fn forwarded(facts: &RequestContext<'_>, head: &RequestHead) -> RequestHead {
    let snapshot = snapshot();
    let decision = decide(&snapshot, facts, head);
    assert!(matches!(decision.verdict, Verdict::Forward { .. }), "{:?}", decision.verdict);
    let mut head = head.clone();
    request_fields(&decision, facts, &mut head);
    head
}

#[test]
fn the_sinkhole_at_the_hello() {
    let snapshot = snapshot();
    let silent = |why| Err(Rejection { how: Reject::Silent, why });
    let stranger = Some("192.0.2.1".parse().unwrap());
    assert_eq!(hello(&snapshot, Transport::Tls, None, stranger, Some("git.example.org")), Ok(0));
    assert_eq!(hello(&snapshot, Transport::Tls, None, stranger, Some("A.Git.Example.ORG.")), Ok(0));
    assert_eq!(hello(&snapshot, Transport::Tls, None, stranger, None), silent(Reason::NoSni));
    assert_eq!(hello(&snapshot, Transport::Tls, None, stranger, Some("")), silent(Reason::NoSni));
    assert_eq!(
        hello(&snapshot, Transport::Tls, None, stranger, Some("192.0.2.9")),
        silent(Reason::RawAddress)
    );
    assert_eq!(
        hello(&snapshot, Transport::Tls, None, stranger, Some("example.org")),
        silent(Reason::UnknownName)
    );
    assert_eq!(
        hello(&snapshot, Transport::Tls, None, stranger, Some("closed.example.org")),
        silent(Reason::AccessDenied)
    );
    assert_eq!(hello(&snapshot, Transport::Tls, None, None, Some("closed.example.org")), Ok(2));
}

#[test]
fn unknown_hosts_are_dropped() {
    let facts = plain("192.0.2.1");
    for (authority, why) in [
        ("", Reason::NoHost),
        ("198.51.100.7", Reason::RawAddress),
        ("[::1]:80", Reason::RawAddress),
        ("other.example.org", Reason::UnknownName),
        ("user@git.example.org", Reason::BadAuthority),
        ("hidden.example.org", Reason::PlainRefused),
        ("closed.example.org", Reason::AccessDenied),
    ] {
        assert_eq!(refused(&facts, &get(authority, "/")), Some((0, why)), "{authority}");
    }
    assert_eq!(refused(&facts, &get("GIT.example.org.:80", "/")), None);
}

#[test]
fn s11_another_sites_authority() {
    let not_covered = Some((421, Reason::AuthorityNotCovered));
    for authority in ["vault.example.org", "unknown.example.org", "198.51.100.7"] {
        assert_eq!(refused(&tls("git.example.org"), &get(authority, "/")), not_covered);
    }
    assert_eq!(refused(&tls("git.example.org"), &get("a.git.example.org:8443", "/")), None);
    let mut nameless = tls("");
    nameless.sni = None;
    assert_eq!(refused(&nameless, &get("git.example.org", "/")), not_covered);
}

#[test]
fn s12_nominated_fields_are_stripped_before_ours_are_set() {
    let mut head = get("git.example.org", "/");
    head.fields.push(b"Connection", b"X-Forwarded-For, X-Real-IP, Forwarded, Remote-User");
    head.fields.push(b"X-Forwarded-For", b"6.6.6.6");
    let head = forwarded(&tls("git.example.org"), &head);
    assert_eq!(values(&head, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(values(&head, "x-real-ip"), ["192.0.2.1"]);
    assert_eq!(values(&head, "forwarded"), ["for=192.0.2.1;host=git.example.org;proto=https"]);
    assert_eq!(values(&head, "remote-user"), ["nobody"]);
    assert!(values(&head, "connection").is_empty());
}

#[test]
fn s13_aliases_are_dropped() {
    let mut head = get("git.example.org", "/");
    let aliases = [
        "X_Forwarded_For",
        "X.Real.IP",
        "x-forwarded_proto",
        "X_Forwarded_Anything",
        "Early_Data",
        "Remote.User",
        "Remote_User",
    ];
    for name in aliases {
        head.fields.push(name.as_bytes(), b"6.6.6.6");
    }
    head.fields.push(b"X_Other", b"stays");
    let head = forwarded(&plain("192.0.2.1"), &head);
    for name in aliases {
        assert!(values(&head, name).is_empty(), "{name}");
    }
    assert_eq!(values(&head, "x_other"), ["stays"]);
}

#[test]
fn s14_ambiguous_paths_only_where_the_path_decides() {
    for path in ["/npm/@scope%2fpkg", "/x;y", "/a//b", "/%41", "/x/../y"] {
        assert_eq!(refused(&plain("192.0.2.1"), &get("vault.example.org", path)), None, "{path}");
    }
    for path in ["/x/%2e%2e/admin", "//admin", "/admin;y", "/%61dmin", "/x/../admin", "/admin%2f"] {
        let ambiguous = Some((400, Reason::AmbiguousPath));
        assert_eq!(refused(&plain("192.0.2.1"), &get("vault.example.org", path)), ambiguous, "{path}");
        let head = forwarded(&plain("192.0.2.1"), &get("git.example.org", path));
        assert_eq!(head.target, path);
    }
    assert_eq!(
        refused(&plain("192.0.2.1"), &get("vault.example.org", "/admin/x")),
        Some((0, Reason::AccessDenied))
    );
    assert_eq!(refused(&plain("10.1.2.3"), &get("vault.example.org", "/admin/x")), None);
}

#[test]
fn a_route_that_refuses_everyone_ignores_letter_case() {
    for status in [400, 404, 499, 500, 503, 599] {
        let respond =
            |status| Action::Respond(Response { status, content_type: String::new(), body: Vec::new() });
        let mut config = config();
        config.sites[1].routes.push(Route::new(PathMatch::Begins("/Closed".into()), respond(status)));
        let snapshot = Snapshot::new(config).expect("a valid configuration");
        let status_of =
            |path: &str| match decide(&snapshot, &plain("10.1.2.3"), &get("vault.example.org", path)).verdict
            {
                Verdict::Respond(response) => Some(response.status),
                Verdict::Refuse { status, .. } => Some(status),
                _ => None,
            };
        assert_eq!(status_of("/closed/x"), Some(status), "{status}");
        assert_eq!(status_of("/x/..%2fclosed"), Some(400), "{status}: another reading is decided otherwise");
        assert_eq!(status_of("/open"), None, "{status}");
    }
}

#[test]
fn httpoxy_methods_and_targets() {
    let facts = plain("192.0.2.1");
    let mut head = get("git.example.org", "/");
    head.fields.push(b"PROXY", b"http://evil.example");
    assert_eq!(refused(&facts, &head), None);
    assert!(values(&forwarded(&facts, &head), "proxy").is_empty());
    let mut head = get("git.example.org", "*");
    assert_eq!(refused(&facts, &head), Some((400, Reason::BadTarget)));
    head.method = Method::Options;
    assert_eq!(refused(&facts, &head), None);
    for target in ["", "a", "http://x/", "/\r\nx", "/ "] {
        assert_eq!(
            refused(&facts, &get("git.example.org", target)),
            Some((400, Reason::BadTarget)),
            "{target:?}"
        );
    }
    for (method, why) in [(Method::Trace, Reason::Trace), (Method::Connect, Reason::Connect)] {
        let mut head = get("git.example.org", "/");
        head.method = method;
        assert_eq!(refused(&facts, &head), Some((405, why)));
    }
}

#[test]
fn only_websocket_passes() {
    let decided = |version, method: Method, protocol: &str| {
        let mut head = get("git.example.org", "/");
        (head.version, head.method, head.upgrade) = (version, method, Some(protocol.into()));
        let snapshot = snapshot();
        let facts = plain("192.0.2.1");
        let decision = decide(&snapshot, &facts, &head);
        let (websocket, refusal) = (decision.upgrade.is_some(), decision.verdict.reason());
        request_fields(&decision, &facts, &mut head);
        (websocket, refusal, head.upgrade.is_some())
    };
    assert_eq!(decided(Version::Http11, Method::Get, "WebSocket"), (true, None, true));
    assert_eq!(decided(Version::Http11, Method::Get, "h2c"), (false, None, false));
    assert_eq!(decided(Version::Http11, Method::Post, "websocket"), (false, None, false));
    assert_eq!(decided(Version::Http10, Method::Get, "websocket"), (false, None, false));
    assert_eq!(decided(Version::Http3, Method::Connect, "websocket"), (true, None, true));
    assert_eq!(decided(Version::Http2, Method::Connect, "connect-udp").1, Some(Reason::UnknownProtocol));
}

#[test]
fn redirects() {
    let location = |config: Config, facts: &RequestContext<'_>, head: &RequestHead| {
        let snapshot = Snapshot::new(config).unwrap();
        match decide(&snapshot, facts, head).verdict {
            Verdict::Redirect { status, location } => (status, location),
            other => panic!("{other:?}"),
        }
    };
    let facts = plain("192.0.2.1");
    let head = get("R.example.org:80", "/a?b");
    assert_eq!(location(config(), &facts, &head), (308, "https://r.example.org/a?b".into()));
    let config_8443 = Config { https_port: Some(8443), ..config() };
    assert_eq!(location(config_8443, &facts, &head), (308, "https://r.example.org:8443/a?b".into()));
    assert_eq!(
        location(config(), &facts, &get("git.example.org", "/old?q")),
        (301, "https://x.org/old?q".into())
    );
    // A trusted proxy that reports https must not be redirected in a loop.
    let mut head = get("r.example.org", "/");
    head.fields.push(b"X-Forwarded-Proto", b"https");
    assert!(matches!(decide(&snapshot(), &plain("100.64.0.1"), &head).verdict, Verdict::Forward { .. }));
    assert!(matches!(decide(&snapshot(), &facts, &head).verdict, Verdict::Redirect { .. }));
}

#[test]
fn content_over_the_limit() {
    let mut head = get("git.example.org", "/");
    head.method = Method::Post;
    head.body = BodyLength::Exact(1000);
    assert_eq!(refused(&plain("192.0.2.1"), &head), None);
    head.body = BodyLength::Exact(1001);
    assert_eq!(refused(&plain("192.0.2.1"), &head), Some((413, Reason::ContentTooLarge)));
    head.body = BodyLength::Unknown;
    assert_eq!(decide(&snapshot(), &plain("192.0.2.1"), &head).body_limit, Some(1000));
}

#[test]
fn early_data() {
    let verdict = |host: &'static str, change: fn(&mut RequestHead)| {
        let mut head = get(host, "/");
        change(&mut head);
        decide(&snapshot(), &early(host), &head).early
    };
    assert_eq!(verdict("git.example.org", |_| {}), EarlyDataVerdict::Allowed);
    assert_eq!(
        verdict("git.example.org", |head| head.method = Method::Post),
        EarlyDataVerdict::Wait(WaitReason::Method)
    );
    assert_eq!(
        verdict("git.example.org", |head| head.body = BodyLength::Unknown),
        EarlyDataVerdict::Wait(WaitReason::Content)
    );
    let upgrade = verdict("git.example.org", |head| head.upgrade = Some("websocket".into()));
    assert_eq!(upgrade, EarlyDataVerdict::Wait(WaitReason::Upgrade));
    assert_eq!(verdict("r.example.org", |_| {}), EarlyDataVerdict::Wait(WaitReason::SiteNotOptedIn));
    let address = verdict("vault.example.org", |head| head.target = "/admin".into());
    assert_eq!(address, EarlyDataVerdict::Wait(WaitReason::AddressRule));
    // Over QUIC the source of early data proves nothing.
    let quic = |peer: &str, change: fn(&mut RequestHead)| {
        let mut head = get("git.example.org", "/");
        change(&mut head);
        let peer = format!("{peer}:40000").parse().unwrap();
        let mut facts = tls("git.example.org");
        (facts.early, facts.transport, facts.peer) = (true, Transport::Quic, peer);
        decide(&snapshot(), &facts, &head).early
    };
    assert_eq!(quic("192.0.2.1", |_| {}), EarlyDataVerdict::Allowed);
    assert_eq!(quic("100.64.0.9", |_| {}), EarlyDataVerdict::Wait(WaitReason::UnvalidatedAddress));
    let login = |head: &mut RequestHead| head.fields.push(b"authorization", b"Basic eDp5");
    assert_eq!(quic("192.0.2.1", login), EarlyDataVerdict::Wait(WaitReason::Authorization));
    assert_eq!(verdict("git.example.org", login), EarlyDataVerdict::Allowed);
    // A program that decides about the request receives the address.
    let told = |change: fn(&mut Config), transport| {
        let mut config = config();
        config.listeners.push(Listener::tls(([127, 0, 0, 1], 443).into()).http3(true));
        change(&mut config);
        let mut facts = early("git.example.org");
        facts.transport = transport;
        decide(&Snapshot::new(config).unwrap(), &facts, &get("git.example.org", "/")).early
    };
    fn auth() -> Option<Auth> {
        let copy = vec!["X-User".into()];
        Some(Auth::Forward(ForwardAuth { upstream: "b".into(), path: "/auth".into(), copy }))
    }
    // So is whoever limits the rate of clients, or asks whom the address belongs to.
    let changes: [fn(&mut Config); 6] = [
        |config| config.sites[0].rate.client = Some("5/d".parse().unwrap()),
        |config| {
            let ranges = vec!["192.0.2.0/24".parse().unwrap()];
            config.tailnet = Some(Tailnet { ranges, ..Tailnet::default() });
        },
        |config| config.sites[0].auth = auth(),
        |config| config.sites[0].routes[0].auth = auth(),
        |config| config.sites[0].routes[0].action = Action::handle(Forwards),
        |config| config.sites[0].routes[0].action = Action::handle_or_forward(Forwards, "a"),
    ];
    for change in changes {
        let waits = EarlyDataVerdict::Wait(WaitReason::UnvalidatedAddress);
        assert_eq!(told(change, Transport::Quic), waits);
        assert_eq!(told(change, Transport::Tls), EarlyDataVerdict::Allowed);
    }
    // Not where the route is exempt.
    let exempt = |config: &mut Config| {
        config.sites[0].auth = auth();
        config.sites[0].routes[0].auth = Some(Auth::Open);
    };
    assert_eq!(told(exempt, Transport::Quic), EarlyDataVerdict::Allowed);

    let early = early("git.example.org");
    let head = get("git.example.org", "/");
    assert_eq!(values(&forwarded(&early, &head), "early-data"), ["1"]);
    let mut complete = early;
    complete.early = false;
    assert!(values(&forwarded(&complete, &head), "early-data").is_empty());
    let mut received = head;
    received.fields.push(b"Connection", b"early-data");
    received.fields.push(b"Early-Data", b"1");
    assert_eq!(values(&forwarded(&early, &received), "early-data"), ["1"]);
    assert_eq!(values(&forwarded(&complete, &received), "early-data"), ["1"]);
}

#[test]
fn what_a_hop_said_is_kept_and_what_a_stranger_said_is_not() {
    let mut head = get("git.example.org", "/api/x?y");
    for (name, value) in [
        ("X-Forwarded-For", "6.6.6.6, 2001:db8::7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/p"),
        ("TE", "trailers"),
    ] {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    let by_hop = forwarded(&plain("100.64.0.1"), &head);
    assert_eq!(by_hop.target, "/x?y");
    assert_eq!(values(&by_hop, "x-forwarded-for"), ["2001:db8::7, 100.64.0.1"]);
    assert_eq!(values(&by_hop, "x-forwarded-proto"), ["https"]);
    assert_eq!(values(&by_hop, "x-forwarded-port"), ["443"]);
    assert_eq!(values(&by_hop, "x-forwarded-prefix"), ["/p"]);
    assert_eq!(values(&by_hop, "te"), ["trailers"]);
    let forwarded_field = "for=\"[2001:db8::7]\";host=git.example.org;proto=https, for=100.64.0.1";
    assert_eq!(values(&by_hop, "forwarded"), [forwarded_field]);
    let by_stranger = forwarded(&plain("192.0.2.1"), &head);
    assert_eq!(values(&by_stranger, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(values(&by_stranger, "x-forwarded-proto"), ["http"]);
    assert!(values(&by_stranger, "x-forwarded-prefix").is_empty());
}

#[test]
fn responses() {
    let snapshot = snapshot();
    let answered = |facts: &RequestContext<'_>| {
        let decision = decide(&snapshot, facts, &get("git.example.org", "/"));
        let mut head = ResponseHead::new(200);
        for (name, value) in [
            ("Connection", "X-Hop"),
            ("X-Hop", "1"),
            ("Alt-Svc", "h3=\":1\""),
            ("Keep-Alive", "x"),
            ("X-End", "2"),
        ] {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        response_fields(&decision, facts, Some("h3=\":443\""), &mut head);
        head.fields.iter().map(|field| format!("{field:?}")).collect::<Vec<_>>()
    };
    assert_eq!(answered(&plain("192.0.2.1")), ["X-End: 2"]);
    assert_eq!(answered(&tls("git.example.org")), ["X-End: 2", "Alt-Svc: h3=\\\":443\\\""]);
}

#[test]
fn a_snapshot_says_everything_that_is_wrong() {
    let mut config = config();
    config.sites[0].hosts.push("vault.example.org".parse().unwrap());
    config.sites[1].routes[0].action = Action::Forward { upstream: "c".into() };
    config.sites[2].response_fields.remove.push("Transfer-Encoding".into());
    let body = Response { status: 99, content_type: "text/plain".into(), body: Vec::new() };
    config.sites[3].routes.push(Route::new(PathMatch::Exact("x".into()), Action::Respond(body)));
    config.upstreams[0].targets.clear();
    config.trust.ranges.push("::/0".parse().unwrap());
    let errors = Snapshot::new(config).unwrap_err();
    let found: Vec<_> = errors.0.iter().map(|error| (error.place, error.key)).collect();
    for expected in [
        (ConfigPath::Site(1), "hosts"),
        (ConfigPath::Route(1, 0), "upstream"),
        (ConfigPath::Site(2), "response_fields.remove"),
        (ConfigPath::Route(3, 1), "path"),
        (ConfigPath::Route(3, 1), "status"),
        (ConfigPath::Upstream(0), "targets"),
        (ConfigPath::Config, "trust.ranges"),
    ] {
        assert!(found.contains(&expected), "{expected:?}: {errors}");
    }
    assert_eq!(found.len(), 7, "{errors}");
}

fn any_head() -> impl Strategy<Value = RequestHead> {
    let authority = prop_oneof![
        Just("git.example.org".to_string()),
        Just("vault.example.org:1".to_string()),
        Just("closed.example.org".to_string()),
        any::<String>(),
        "[a-z.]{0,20}",
    ];
    let target = prop_oneof!["/[ -~]{0,20}", any::<String>(), "/api(/[a-z]{0,3})?(\\?x)?"];
    let name = prop_oneof![
        "[a-zA-Z_.-]{1,12}",
        Just("Connection".to_string()),
        Just("X-Forwarded-For".to_string()),
        Just("X_Forwarded.For".to_string()),
        Just("Forwarded".to_string()),
        Just("x-real-ip".to_string()),
        Just("TE".to_string()),
    ];
    let value =
        prop_oneof!["[ -~]{0,30}", Just("X-Forwarded-For, te".to_string()), Just("192.0.2.9".to_string())];
    let method = prop_oneof![
        Just(Method::Get),
        Just(Method::Post),
        Just(Method::Connect),
        Just(Method::Options),
        Just(Method::Other("PURGE".into()))
    ];
    let version =
        prop_oneof![Just(Version::Http10), Just(Version::Http11), Just(Version::Http2), Just(Version::Http3)];
    let upgrade =
        prop_oneof![Just(None), Just(Some("websocket".to_string())), any::<String>().prop_map(Some)];
    let fields = proptest::collection::vec((name, value), 0..8);
    (version, method, authority, target, upgrade, fields).prop_map(
        |(version, method, authority, target, upgrade, fields)| {
            let mut head = RequestHead::new(version);
            (head.method, head.authority, head.target) = (method, authority, target);
            head.upgrade = upgrade.map(String::into_boxed_str);
            for (name, value) in &fields {
                head.fields.push(name.as_bytes(), value.as_bytes());
            }
            head
        },
    )
}

fn any_facts() -> impl Strategy<Value = RequestContext<'static>> {
    let transport = prop_oneof![Just(Transport::Plain), Just(Transport::Tls), Just(Transport::Quic)];
    let sni = prop_oneof![
        Just(None),
        Just(Some("git.example.org")),
        Just(Some("vault.example.org")),
        Just(Some("x"))
    ];
    let hop = Just("100.64.0.1:1".parse().unwrap());
    let peer = prop_oneof![any::<std::net::SocketAddr>(), hop];
    (transport, sni, peer, any::<Option<std::net::SocketAddr>>(), any::<bool>()).prop_map(
        |(transport, sni, peer, proxied, early)| {
            let mut context = RequestContext::new(transport, peer);
            (context.proxied, context.sni, context.early) = (proxied, sni, early);
            context
        },
    )
}

fn is_known(decision: &Decision<'_>, snapshot: &Snapshot, authority: &str) -> bool {
    let host =
        edge_http::host::split_authority(authority).map(|(host, _, _)| edge_http::host::normalize(host));
    host.and_then(|host| snapshot.site_at(&host, None)) == decision.site.map(|(i, _)| i)
}

proptest! {
    #[test]
    fn every_request_is_decided(facts in any_facts(), head in any_head()) {
        let snapshot = snapshot();
        let decision = decide(&snapshot, &facts, &head);
        if let Verdict::Forward { .. } = decision.verdict {
            prop_assert!(decision.site.is_some() && decision.route.is_some());
            prop_assert!(is_known(&decision, &snapshot, &head.authority));
            prop_assert!(!facts.transport.is_secure() || facts.sni.and_then(|sni| snapshot.site_at(sni, None)) == decision.site.map(|(i, _)| i));
        }
        if let Verdict::Redirect { location, .. } = &decision.verdict {
            prop_assert!(edge_http::grammar::is_target(location.as_bytes()));
        }
        prop_assert_eq!(facts.early, decision.early != EarlyDataVerdict::NotEarly);
        prop_assert!(decision.early != EarlyDataVerdict::Allowed || head.method.is_safe());

        let mut sent = head.clone();
        request_fields(&decision, &facts, &mut sent);
        for name in [Name::XForwardedFor, Name::XRealIp, Name::Forwarded, Name::XForwardedProto, Name::XForwardedPort] {
            prop_assert_eq!(sent.fields.all(name).count(), 1);
        }
        let chain: Vec<_> = decision.client.chain().map(|address| address.to_string()).collect();
        prop_assert_eq!(values(&sent, "x-forwarded-for"), [chain.join(", ")]);
        prop_assert_eq!(values(&sent, "x-real-ip"), [decision.client.address.to_string()]);
        prop_assert!(values(&sent, "X_Forwarded.For").is_empty());
        for name in [Name::Connection, Name::Upgrade, Name::KeepAlive, Name::TransferEncoding] {
            prop_assert!(!sent.fields.contains(name));
        }
        prop_assert!(!facts.early || sent.fields.contains(Name::EarlyData));
        // The forwarded request means the same to the next proxy that trusts this one.
        if decision.route.is_none_or(|(_, route)| route.strip_prefix.is_none()) {
            prop_assert_eq!(&sent.target, &head.target);
        }
    }

    #[test]
    fn a_name_that_no_site_has_is_never_forwarded(host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}", facts in any_facts()) {
        let snapshot = snapshot();
        prop_assume!(snapshot.site_at(&host, None).is_none());
        prop_assert!(hello(&snapshot, Transport::Tls, None, None, Some(&host)).is_err());
        let verdict = decide(&snapshot, &facts, &get(&host, "/")).verdict;
        let refused = matches!(verdict, Verdict::Drop { .. } | Verdict::Refuse { status: 421, .. });
        prop_assert!(refused, "{:?}", verdict);
    }

    #[test]
    fn no_hello_is_too_strange(sni in any::<Option<String>>(), client in any::<Option<std::net::IpAddr>>()) {
        let _ = hello(&snapshot(), Transport::Tls, None, client, sni.as_deref());
    }
}
