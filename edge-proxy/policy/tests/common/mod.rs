//! Configurations and requests of the tests about access.

// Shared by several test programs, none of which uses all of it.
#![allow(dead_code)]

use edge_http::{Method, RequestHead, Version};
use edge_policy::auth::basic::users;
use edge_policy::config::{
    Auth, BasicAuth, Config, ForwardAuth, Listener, PlainHttp, Protocol, Route, Site, Target, Upstream,
};
use edge_policy::decide::{RequestContext, Transport};

pub(crate) const LISTENERS: [&str; 2] = ["public", "tailnet"];

pub(crate) fn password() -> Auth {
    let users =
        users("ann:$2y$05$abcdefghijklmnopqrstuuJ6p8XYeKQnRrRrPR8XO0Xg1bQ2w1gXq").expect("a bcrypt hash");
    Auth::Basic(BasicAuth { realm: "r".into(), users, user_field: None })
}

pub(crate) fn portal() -> Auth {
    Auth::Forward(ForwardAuth { upstream: "portal".into(), path: "/auth".into(), copy: Vec::new() })
}

/// The context of a request by its own server name, where the transport has one.
pub(crate) fn facts<'a>(
    transport: Transport,
    listener: Option<&'a str>,
    host: &'a str,
    peer: &str,
) -> RequestContext<'a> {
    let mut context = RequestContext::new(transport, format!("{peer}:40000").parse().expect("an address"));
    context.listener = listener;
    context.sni = transport.is_secure().then_some(host);
    context
}

pub(crate) fn head(method: &str, host: &str, target: &str) -> RequestHead {
    let mut head = RequestHead::new(Version::Http11);
    head.method = Method::parse(method.as_bytes()).expect("a method");
    (head.authority, head.target) = (host.into(), target.into());
    head
}

/// A configuration of these sites with a plain and a TLS listener of each name in [`LISTENERS`].
pub(crate) fn config(sites: Vec<Site>) -> Config {
    let listeners = LISTENERS.iter().enumerate().flat_map(|(i, name)| {
        let port = 1000 + i as u16 * 10;
        [
            Listener::plain(([127, 0, 0, 1], port).into()).named(*name),
            Listener::tls(([127, 0, 0, 1], port + 1).into()).http3(true).named(*name),
        ]
    });
    let upstream = |name: &str| Upstream::new(name, Target::Tcp { host: "127.0.0.1".into(), port: 1 });
    let raw = Upstream { protocol: Protocol::Tcp, ..upstream("raw") };
    Config {
        listeners: listeners.collect(),
        sites,
        upstreams: vec![upstream("app"), upstream("portal"), raw],
        ..Config::default()
    }
}

pub(crate) fn site(name: &str, host: &str) -> Site {
    let mut site = Site::new(name, vec![host.parse().expect("a host")]).route(Route::forward("app"));
    site.plain = PlainHttp::Serve;
    site
}
