//! Whatever a client writes in a head or in trailers: a service gets no field in any spelling that the proxy vouches for,
//! except the proxy's own.
#![no_main]

use edge_http::h1::{HeadLimits, request};
use edge_http::{Fields, RequestHead, Version};
use edge_policy::Snapshot;
use edge_policy::config::{
    Auth, Config, FieldEdits, ForwardAuth, Listener, PlainHttp, Route, Site, Target, Upstream,
};
use edge_policy::decide::{
    RequestContext, Transport, Verdict, decide, request_fields, request_trailers,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// The value of the proxy's own field.
const OWN: &[u8] = b"ours";
/// Names that no client may claim, without what is neither a letter nor a digit.
const CLAIMS: &[&[u8]] = &[b"remoteuser", b"xtenant", b"proxy", b"tailscaleuserlogin"];
/// The names of framing and of the client's address, which the proxy alone writes.
const WRITTEN: &[&[u8]] = &[b"contentlength", b"transferencoding", b"xforwardedfor", b"xrealip"];

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut site = Site::new("a.test", vec!["a.test".parse().unwrap()]).route(Route::forward("a"));
    site.plain = PlainHttp::Serve;
    let copy = vec!["Remote-User".into()];
    site.auth = Some(Auth::Forward(ForwardAuth { upstream: "a".into(), path: "/auth".into(), copy }));
    site.request_fields =
        FieldEdits { set: vec![("X-Tenant".into(), "ours".into())], ..FieldEdits::default() };
    let target = Target::Tcp { host: "127.0.0.1".into(), port: 1 };
    let config = Config {
        listeners: vec![Listener::plain(([127, 0, 0, 1], 80).into())],
        sites: vec![site],
        upstreams: vec![Upstream::new("a", target)],
        tailnet: Some(edge_policy::config::Tailnet::default()),
        ..Config::default()
    };
    Snapshot::new(config).unwrap()
});

/// Returns a name as a service may read it: without letter case, and with one character for all that are no letters.
fn folded(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect()
}

/// Asserts that these fields have nothing of a client that the proxy vouches for. `own` are those of these names that
/// the proxy writes.
fn assert_vouched(fields: &Fields, own: &[&[u8]]) {
    for field in fields.iter() {
        let name = folded(field.name);
        assert!(field.name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
        assert!(!CLAIMS.contains(&&name[..]) || name == b"xtenant" && field.value == OWN);
        // Another spelling than the one that everybody reads as this name.
        assert!(!WRITTEN.contains(&&name[..]) || own.contains(&&name[..]) && !field.name.contains(&b'_'));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut head = RequestHead::new(Version::Http11);
    if !matches!(request(bytes, &HeadLimits::default(), &mut head), Ok(Some(_))) {
        return;
    }
    head.authority = "a.test".into();
    let context = RequestContext::new(Transport::Plain, "192.0.2.1:40000".parse().unwrap());
    let decision = decide(&SNAPSHOT, &context, &head);
    if !matches!(decision.verdict, Verdict::Forward { .. }) {
        return;
    }
    assert_vouched(&request_trailers(&decision, &head.fields), &[]);
    request_fields(&decision, &context, &mut head);
    assert_vouched(&head.fields, WRITTEN);
});
