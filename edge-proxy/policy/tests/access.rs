//! Who may reach a site: listeners, address lists, authentication and methods together, as one decision.

mod common;

use common::{config, facts, head, password, site};
use edge_http::Version;
use edge_policy::config::{
    Action, ClientCertificates, Config, Listener, PathMatch, PlainHttp, Reject, Route, Site, Trust,
    TrustedHeader,
};
use edge_policy::decide::{RequestContext, Transport, Verdict, decide, hello, request_fields};
use edge_policy::{Reason, Snapshot};

fn chosen(snapshot: &Snapshot, facts: &RequestContext<'_>, host: &str) -> Option<String> {
    decide(snapshot, facts, &head("GET", host, "/")).site.map(|(_, site)| site.name.clone())
}

#[test]
fn a_site_exists_at_its_listeners_alone() {
    let mut admin = site("admin", "admin.example.org");
    admin.listen = vec!["tailnet".into()];
    let snapshot = Snapshot::new(config(vec![admin, site("all", "*.example.org")])).expect("valid");
    for transport in [Transport::Plain, Transport::Tls, Transport::Quic] {
        let at = |listener, host| chosen(&snapshot, &facts(transport, listener, host, "192.0.2.1"), host);
        assert_eq!(at(Some("tailnet"), "admin.example.org").as_deref(), Some("admin"));
        // The wildcard does not take over what its owner keeps to another listener.
        for listener in [None, Some("public"), Some("other")] {
            assert_eq!(at(listener, "admin.example.org"), None, "{transport:?} {listener:?}");
            assert_eq!(at(listener, "git.example.org").as_deref(), Some("all"));
        }
    }
    let sni = Some("admin.example.org");
    assert!(hello(&snapshot, Transport::Tls, Some("tailnet"), None, sni).is_ok());
    assert_eq!(
        hello(&snapshot, Transport::Tls, Some("public"), None, sni).unwrap_err().why,
        Reason::UnknownName
    );
    assert_eq!(hello(&snapshot, Transport::Tls, None, None, sni).unwrap_err().why, Reason::UnknownName);
}

#[test]
fn one_host_is_two_sites_at_two_listeners() {
    let bound = |name: &str, listener: &str| {
        let mut site = site(name, "git.example.org");
        site.listen = vec![listener.into()];
        site
    };
    let both = config(vec![bound("outside", "public"), bound("inside", "tailnet")]);
    let snapshot = Snapshot::new(both).expect("valid");
    let at = |listener| {
        chosen(
            &snapshot,
            &facts(Transport::Tls, Some(listener), "git.example.org", "192.0.2.1"),
            "git.example.org",
        )
    };
    assert_eq!(at("public").as_deref(), Some("outside"));
    assert_eq!(at("tailnet").as_deref(), Some("inside"));
    for wrong in [
        vec![bound("a", "public"), site("b", "git.example.org")],
        vec![bound("a", "public"), bound("b", "public")],
        vec![bound("a", "pubic")],
    ] {
        let errors = Snapshot::new(config(wrong)).expect_err("ambiguous or unknown").to_string();
        assert!(
            errors.contains("different listeners") || errors.contains("did you mean `public`?"),
            "{errors}"
        );
    }
}

#[test]
fn alt_svc_is_for_sites_that_http3_reaches() {
    let mut config = config(vec![site("a", "a.example.org")]);
    config.sites[0].listen = vec!["tailnet".into()];
    let reaches = |config: &Config| {
        let snapshot = Snapshot::new(config.clone()).expect("valid");
        let facts = facts(Transport::Tls, Some("tailnet"), "a.example.org", "192.0.2.1");
        decide(&snapshot, &facts, &head("GET", "a.example.org", "/")).http3
    };
    assert!(reaches(&config));
    for listener in &mut config.listeners {
        if listener.name.as_deref() == Some("tailnet") {
            *listener = Listener::tls(listener.address).named("tailnet");
        }
    }
    config.listeners.remove(2);
    assert!(!reaches(&config));
}

#[test]
fn a_route_takes_its_methods() {
    let mut config = config(vec![site("a", "a.example.org")]);
    config.sites[0].routes[0].methods = vec!["GET".into(), "PUT".into()];
    let snapshot = Snapshot::new(config).expect("valid");
    let facts = facts(Transport::Tls, Some("public"), "a.example.org", "192.0.2.1");
    for (method, taken) in
        [("GET", true), ("HEAD", true), ("PUT", true), ("POST", false), ("OPTIONS", false), ("get", false)]
    {
        let head = head(method, "a.example.org", "/");
        let decision = decide(&snapshot, &facts, &head);
        if taken {
            assert!(matches!(decision.verdict, Verdict::Forward { .. }), "{method}: {:?}", decision.verdict);
        } else {
            assert_eq!(
                decision.verdict,
                Verdict::Refuse { status: 405, why: Reason::MethodNotAllowed },
                "{method}"
            );
            assert_eq!(decision.allowed_methods().as_deref(), Some("GET, PUT, HEAD"));
        }
    }
    // WebSocket is a GET over HTTP/1.1 and an extended CONNECT over the other versions.
    for (methods, taken) in [(&["GET", "PUT"][..], true), (&["PUT"], false), (&["HEAD"], false)] {
        let mut config = self::config(vec![site("a", "a.example.org")]);
        config.sites[0].routes[0].methods = methods.iter().map(|method| (*method).to_owned()).collect();
        let snapshot = Snapshot::new(config).expect("valid");
        for version in [Version::Http11, Version::Http2, Version::Http3] {
            let method = if version == Version::Http11 { "GET" } else { "CONNECT" };
            let mut head = head(method, "a.example.org", "/");
            (head.version, head.upgrade) = (version, Some("websocket".into()));
            let decision = decide(&snapshot, &facts, &head);
            assert_eq!(decision.upgrade, taken.then_some("websocket"), "{methods:?} {version:?}");
            assert_eq!(decision.verdict.reason(), (!taken).then_some(Reason::MethodNotAllowed));
        }
    }
    let invalid = |method: &str| {
        let mut site = site("a", "a.example.org");
        site.routes[0].methods = vec![method.into()];
        Snapshot::new(Config { sites: vec![site], ..self::config(Vec::new()) }).is_err()
    };
    assert!(invalid("get") && invalid("TRACE") && invalid("") && !invalid("PROPFIND"));
}

#[test]
fn a_site_under_maintenance_answers_503_to_those_it_lets_in() {
    let mut git = site("git", "git.example.org");
    git.access.deny = vec!["192.0.2.0/24".parse().expect("a range")];
    git.reject = Reject::Alert;
    git.auth = Some(password());
    git.under_maintenance = true;
    git = git.route(Route::new(PathMatch::Prefix("/gone".into()), Action::Drop));
    let snapshot = Snapshot::new(config(vec![git])).expect("valid");
    for transport in [Transport::Plain, Transport::Tls, Transport::Quic] {
        let reason = |peer, path| {
            let context = facts(transport, None, "git.example.org", peer);
            let head = head("GET", "git.example.org", path);
            let decision = decide(&snapshot, &context, &head);
            (decision.verdict.reason(), matches!(decision.verdict, Verdict::Refuse { status: 503, .. }))
        };
        // Nobody is asked for a password that nothing needs.
        assert_eq!(reason("198.51.100.1", "/"), (Some(Reason::UnderMaintenance), true));
        assert_eq!(reason("192.0.2.1", "/"), (Some(Reason::AccessDenied), false));
        assert_eq!(reason("198.51.100.1", "/gone"), (Some(Reason::RouteDrops), false));
    }
}

#[test]
fn the_clients_address_by_a_field_of_the_owners_choice() {
    let mut config = config(vec![site("a", "a.example.org")]);
    config.trust = Trust {
        ranges: vec!["203.0.113.0/24".parse().expect("a range")],
        header: TrustedHeader::Custom("CF-Connecting-IP".into()),
        ..Trust::default()
    };
    let snapshot = Snapshot::new(config).expect("valid");
    let ask = |peer: &str, fields: &[(&str, &str)]| {
        let mut head = head("GET", "a.example.org", "/");
        for (name, value) in fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        let facts = facts(Transport::Tls, Some("public"), "a.example.org", peer);
        let decision = decide(&snapshot, &facts, &head);
        let address = decision.client.address.to_string();
        request_fields(&decision, &facts, &mut head);
        let passed: Vec<_> = head
            .fields
            .iter()
            .filter(|field| field.name.to_ascii_lowercase().starts_with(b"cf"))
            .map(|field| String::from_utf8_lossy(field.value).into_owned())
            .collect();
        (address, passed)
    };
    let hop = "203.0.113.9";
    assert_eq!(
        ask(hop, &[("cf-connecting-ip", "198.51.100.7")]),
        ("198.51.100.7".into(), vec!["198.51.100.7".into()])
    );
    // Neither a second field, nor a list, nor X-Real-IP, nor another spelling counts, and none goes on.
    for fields in [
        &[("CF-Connecting-IP", "198.51.100.7"), ("CF-Connecting-IP", "10.0.0.1")][..],
        &[("CF-Connecting-IP", "198.51.100.7, 10.0.0.1")],
        &[("X-Real-IP", "10.0.0.1")],
        &[("CF_Connecting_IP", "10.0.0.1")],
    ] {
        assert_eq!(ask(hop, fields), (hop.into(), vec![]), "{fields:?}");
    }
    assert_eq!(ask("192.0.2.1", &[("CF-Connecting-IP", "10.0.0.1")]), ("192.0.2.1".into(), vec![]));
}

#[test]
fn the_address_list_of_a_site_passed_through_has_no_exceptions() {
    let mut site = Site::new("raw", vec!["raw.example.org".parse().expect("a host")]);
    site.passthrough = Some("raw".into());
    site.access.allow = vec!["10.0.0.0/8".parse().expect("a range")];
    let mut config = config(vec![site]);
    // A trusted proxy speaks for others in requests, which are not seen here.
    config.trust.ranges = vec!["192.0.2.0/24".parse().expect("a range")];
    let snapshot = Snapshot::new(config).expect("valid");
    let hello = |client: &str| {
        hello(
            &snapshot,
            Transport::Tls,
            None,
            Some(client.parse().expect("an address")),
            Some("raw.example.org"),
        )
        .map_err(|rejection| rejection.why)
    };
    assert_eq!(hello("10.0.0.1"), Ok(0));
    assert_eq!(hello("192.0.2.1"), Err(Reason::AccessDenied));
}

#[test]
fn client_certificates_exclude_what_would_go_past_them() {
    let asks = |change: fn(&mut Site)| {
        let mut asking = site("app", "app.example.org");
        asking.plain = PlainHttp::Redirect;
        asking.client_certificates = Some(ClientCertificates::required("/ca.pem"));
        change(&mut asking);
        Snapshot::new(config(vec![asking]))
    };
    let snapshot = asks(|_| {}).expect("valid");
    let sni = Some("app.example.org");
    assert!(hello(&snapshot, Transport::Tls, Some("public"), None, sni).is_ok());
    let over_quic = hello(&snapshot, Transport::Quic, Some("public"), None, sni).unwrap_err();
    assert_eq!(over_quic.why, Reason::ClientCertificateNotAsked);
    for (key, change) in [
        ("plain", (|site| site.plain = PlainHttp::Serve) as fn(&mut Site)),
        ("early_data", |site| site.early_data = true),
        ("client_certificates", |site| site.passthrough = Some("app".into())),
    ] {
        let errors = asks(change).unwrap_err();
        assert!(errors.0.iter().any(|error| error.key == key), "{key}: {errors}");
    }
    // Also over plain HTTP from a trusted hop that says https, and on a connection that was not asked.
    let mut trusting = config(vec![snapshot.config().sites[0].clone()]);
    trusting.trust.ranges = vec!["10.0.0.0/8".parse().expect("a range")];
    let snapshot = Snapshot::new(trusting).expect("valid");
    for transport in [Transport::Plain, Transport::Tls, Transport::Quic] {
        let mut request = head("GET", "app.example.org", "/");
        request.fields.push(b"X-Forwarded-Proto", b"https");
        let facts = facts(transport, Some("public"), "app.example.org", "10.0.0.1");
        let verdict = decide(&snapshot, &facts, &request).verdict;
        assert_eq!(verdict.reason(), Some(Reason::ClientCertificateNotAsked), "{transport:?}");
    }
}
