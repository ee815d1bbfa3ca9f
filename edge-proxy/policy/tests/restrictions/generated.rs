//! Configurations and requests of the properties.

use crate::common::{config, facts, head, password, portal, site};
use edge_http::{Method, RequestHead, Version};
use edge_policy::CertificateContext;
use edge_policy::config::{
    Access, Auth, CaseSensitivity, CertificateMode, ClientCertificates, Config, PathMatch, PlainHttp, Route,
    Satisfy, Site, Trust, TrustedHeader,
};
use edge_policy::decide::{RequestContext, Transport};
use proptest::prelude::*;

/// A peer inside of the ranges, a trusted proxy, and a stranger.
pub(crate) const PEERS: [&str; 3] = ["10.0.0.1", "10.1.0.1", "192.0.2.1"];

pub(crate) fn any_access() -> impl Strategy<Value = Access> {
    let ranges = || {
        let range = prop_oneof![Just("10.0.0.0/8"), Just("10.0.0.0/16"), Just("192.0.2.0/24")];
        proptest::collection::vec(range.prop_map(|text| text.parse().expect("a range")), 0..2)
    };
    (ranges(), ranges()).prop_map(|(allow, deny)| Access { allow, deny })
}

/// An address list, `satisfy` and an authentication of one level, valid together.
pub(crate) fn any_level() -> impl Strategy<Value = (Access, Satisfy, Option<Auth>)> {
    let auth = prop_oneof![
        2 => Just(None), 1 => Just(Some(Auth::Open)), 1 => Just(Some(password())), 1 => Just(Some(portal())),
    ];
    (prop_oneof![Just(Access::default()), any_access()], any::<bool>(), auth).prop_map(
        |(access, any, auth)| {
            let both = !access.is_open() && asks(auth.as_ref());
            (access, if any && both { Satisfy::Any } else { Satisfy::All }, auth)
        },
    )
}

pub(crate) fn asks(auth: Option<&Auth>) -> bool {
    auth.is_some_and(|auth| *auth != Auth::Open)
}

/// A site of two routes, of which the second is below the first, or without the first.
pub(crate) fn any_site() -> impl Strategy<Value = Site> {
    let path = |path: &str| path.to_owned();
    let paths = prop_oneof![
        2 => Just(PathMatch::Prefix(path("/in"))), 1 => Just(PathMatch::Exact(path("/in"))),
        1 => Just(PathMatch::Begins(path("/in"))),
    ];
    let mode = prop_oneof![
        3 => Just(None), 1 => Just(Some(CertificateMode::Optional)), 1 => Just(Some(CertificateMode::Required)),
    ];
    let plain = prop_oneof![Just(PlainHttp::Serve), Just(PlainHttp::Redirect), Just(PlainHttp::Refuse)];
    let levels = (any_level(), any_level(), any_level());
    let sometimes = || proptest::bool::weighted(0.2);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), sometimes(), any::<bool>(), any::<bool>());
    (levels, paths, mode, plain, flags).prop_map(
        |((own, outer, inner), path, mode, plain, (early, bound, get, alone, exact, proven))| {
            let mut site = site("a", "a.example.org");
            (site.access, site.satisfy, site.auth) = own;
            (site.early_data, site.plain) = (early, plain);
            if bound {
                site.listen = vec!["tailnet".to_owned()];
            }
            ask_for_certificates(&mut site, mode);
            let mut route = Route::new(path, site.routes[0].action.clone());
            (route.access, route.satisfy, route.auth) = inner;
            if get {
                route.methods = vec!["GET".to_owned()];
            }
            if exact {
                route.case = CaseSensitivity::Exact;
            }
            // Which clients show a certificate, the request decides.
            route.require_certificate = proven && site.client_certificates.is_some();
            let first = &mut site.routes[0];
            (first.access, first.satisfy, first.auth) = outer;
            site.routes.push(route);
            if alone {
                site.routes.remove(0);
            }
            site
        },
    )
}

pub(crate) fn any_config() -> impl Strategy<Value = Config> {
    let custom = TrustedHeader::Custom("CF-Connecting-IP".into());
    let header = prop_oneof![Just(None), Just(Some(TrustedHeader::XForwardedFor)), Just(Some(custom))];
    (any_site(), header, prop_oneof![Just("*.example.org"), Just("*")]).prop_map(|(site, header, others)| {
        let mut config = config(vec![site, self::site("all", others)]);
        if let Some(header) = header {
            let ranges = vec!["10.1.0.0/16".parse().expect("a range")];
            config.trust = Trust { ranges, header, ..Trust::default() };
        }
        config
    })
}

pub(crate) fn ask_for_certificates(site: &mut Site, mode: Option<CertificateMode>) {
    if let Some(mode) = mode {
        let mut asked = ClientCertificates::required("/ca.pem");
        asked.mode = mode;
        (site.client_certificates, site.plain, site.early_data) = (Some(asked), PlainHttp::Refuse, false);
    }
}

/// A request and what is known of its connection, except for its certificate.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) transport: Transport,
    pub(crate) listener: Option<&'static str>,
    pub(crate) peer: &'static str,
    pub(crate) proxied: Option<&'static str>,
    pub(crate) early: bool,
    /// The host of the request, and the server name of its handshake.
    pub(crate) names: (&'static str, &'static str),
    pub(crate) method: &'static str,
    pub(crate) target: &'static str,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
}

/// The name of the first site.
const NAME: &str = "a.example.org";

const TARGETS: [&str; 17] = [
    "/", "/in", "/in/x", "/%69n", "//in", "/x/../in", "/IN", "/In/x", "/in/X", "/IN/X", "/in/xy", "/IN/xy",
    "/inside", "/INSIDE", "//IN", "/in//x", "/in/X/y",
];

pub(crate) fn any_request() -> impl Strategy<Value = Request> {
    let transport = prop_oneof![Just(Transport::Plain), Just(Transport::Tls), Just(Transport::Quic)];
    let listener = prop_oneof![Just(None), Just(Some("public")), Just(Some("tailnet"))];
    let field = prop_oneof![
        Just(("X-Forwarded-For", "10.0.0.1")),
        Just(("X-Forwarded-For", "192.0.2.1")),
        Just(("X-Forwarded-Proto", "https")),
        Just(("CF-Connecting-IP", "10.0.0.1")),
        Just(("CF-Connecting-IP", "192.0.2.1")),
        Just(("CF_Connecting_IP", "10.0.0.1")),
    ];
    (
        (transport, listener, proptest::sample::select(&PEERS[..])),
        proptest::option::weighted(0.2, proptest::sample::select(&PEERS[..])),
        any::<bool>(),
        prop_oneof![
            6 => Just((NAME, NAME)), 1 => Just((NAME, "b.example.org")), 1 => Just(("b.example.org", NAME)),
        ],
        // CONNECT is that of WebSocket over HTTP/2 and HTTP/3.
        prop_oneof![Just("GET"), Just("POST"), Just("HEAD"), Just("CONNECT")],
        proptest::sample::select(&TARGETS[..]),
        proptest::collection::vec(field, 0..3),
    )
        .prop_map(|((transport, listener, peer), proxied, early, names, method, target, fields)| {
            Request {
                transport,
                listener,
                peer,
                proxied,
                early: early && transport.is_secure(),
                names,
                method,
                target,
                fields,
            }
        })
}

impl Request {
    pub(crate) fn facts<'a>(&self, certificate: CertificateContext<'a>) -> RequestContext<'a> {
        let mut facts = facts(self.transport, self.listener, self.names.1, self.peer);
        facts.proxied = self.proxied.map(|address| format!("{address}:4000").parse().expect("an address"));
        (facts.certificate, facts.early) = (certificate, self.early);
        facts
    }

    pub(crate) fn head(&self) -> RequestHead {
        let mut head = head(self.method, self.names.0, self.target);
        if head.method == Method::Connect {
            let quic = self.transport == Transport::Quic;
            head.version = if quic { Version::Http3 } else { Version::Http2 };
            head.upgrade = Some("websocket".into());
        }
        for (name, value) in &self.fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head
    }
}
