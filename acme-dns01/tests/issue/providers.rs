//! Who writes TXT records, beside Cloudflare and RFC 2136: acme-dns, an external program, and what dns-update knows.

use crate::lab::{Lab, certificate};
use acme_dns01::client::Http;
use acme_dns01::engine::{Renewal, RoundOutcome};
use acme_dns01::provider::{AcmeDns, DnsUpdateProvider, DnsUpdateService, Exec, Provider};
use dns_update::{DnsUpdater, TsigAlgorithm};
use futures_util::future::join_all;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use testkit::authoritative::{TSIG_NAME, TSIG_SECRET};
use testkit::{AcmeDnsMock, KnotServer, Origin, PebbleVersion, PowerDnsMock};

async fn issues(lab: &Lab, provider: Arc<dyn Provider>) {
    let engine = lab.bare(&lab.pebble.directory()).provider("it", provider);
    let wanted = certificate(&["*.a.example.test", "a.example.test"]);
    let outcome = engine.round(&wanted, Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn a_certificate_by_acme_dns() {
    let full = "d420c923.auth.example.test";
    let records = format!("_acme-challenge.a CNAME {full}.\n");
    let lab = Lab::with(PebbleVersion::V2_10, &[("example.test", &records)], &[]);
    let mock = AcmeDnsMock::start(&lab.knot, "example.test", full);
    let http = || Http::new(None).expect("a client");
    let with = |password: &str| {
        AcmeDns::new(http(), mock.base(), full, mock.subdomain(), mock.username(), password.to_owned().into())
    };
    issues(&lab, Arc::new(with(mock.password()))).await;
    assert_eq!(mock.updates(), 2, "one a value");
    assert_eq!(lab.knot.txt(full).len(), 2, "an acme-dns keeps the last two");
    let provider = with("wrong");
    assert_eq!(
        provider.zone("_acme-challenge.b.example.test", "example.test").await.expect("an answer"),
        None
    );
    let why = provider.add(full, full, &"v".repeat(43)).await.expect_err("a wrong password");
    assert!(
        !why.transient && why.to_string().contains("401") && !why.to_string().contains("wrong\""),
        "{why}"
    );
}

#[tokio::test]
async fn a_certificate_by_an_external_program() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let program = lab.folder.path().join("hook");
    let calls = lab.folder.path().join("calls");
    let script = format!(
        "#!/bin/sh\nset -e\necho \"$1 $2\" >> {calls}\ncase $1 in present) what=add;; cleanup) what=del;; *) exit 9;; esac\n\
         printf 'server 127.0.0.1 {port}\\nkey hmac-sha256:{TSIG_NAME} {TSIG_SECRET}\\nzone example.test.\\n%s %s 5 TXT \"%s\"\\nsend\\n' \
         $what \"$2\" \"$3\" | knsupdate\n",
        calls = calls.display(),
        port = lab.knot.address().port(),
    );
    std::fs::write(&program, script).expect("a file");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a mode");
    issues(&lab, Arc::new(Exec::new(&program, vec!["example.test".into()]))).await;
    let calls = std::fs::read_to_string(calls).expect("a file");
    let count = |line: &str| calls.lines().filter(|found| *found == line).count();
    assert_eq!(count("present _acme-challenge.a.example.test."), 2, "{calls}");
    assert_eq!(count("cleanup _acme-challenge.a.example.test."), 2, "{calls}");
    assert!(lab.knot.txt("_acme-challenge.a.example.test").is_empty());
    // What it says on its way out is passed on.
    std::fs::write(&program, "#!/bin/sh\necho 'no such customer' >&2\nexit 3\n").expect("a file");
    let exec = Exec::new(&program, vec!["example.test".into()]);
    assert_eq!(exec.zone("a.elsewhere.test", "elsewhere.test").await.expect("an answer"), None);
    let why = exec.add("example.test", "x.example.test", "v").await.expect_err("it fails").to_string();
    assert!(why.contains("no such customer") && why.contains("present x.example.test."), "{why}");
    let gone = Exec::new("/nowhere/hook", Vec::new());
    assert!(gone.add("x", "x", "v").await.expect_err("there is none").to_string().contains("/nowhere/hook"));
}

#[tokio::test]
async fn a_certificate_by_dns_update() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let secret = crate::lab::base64(TSIG_SECRET);
    let address = format!("tcp://{}", lab.knot.address());
    let updater = DnsUpdater::new_rfc2136_tsig(address, TSIG_NAME, secret, TsigAlgorithm::HmacSha256);
    let provider = DnsUpdateProvider::new(updater.expect("an updater"), vec!["example.test".into()]);
    assert_eq!(provider.zone("a.b.test", "b.test").await.expect("an answer"), None);
    lab.knot.update("zone example.test\nadd _acme-challenge.a.example.test 60 TXT \"of somebody else\"");
    issues(&lab, Arc::new(provider)).await;
    assert_eq!(lab.knot.txt("_acme-challenge.a.example.test"), ["of somebody else"]);
    let token = "no token".to_owned().into();
    let why = DnsUpdateProvider::with_token("nobody", &token, Vec::new()).expect_err("no such service");
    assert!(why.to_string().contains("hetzner"), "{why}");
    assert!(DnsUpdateProvider::with_token("hetzner", &token, Vec::new()).is_ok());
}

#[tokio::test]
async fn a_certificate_by_powerdns() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let name = "_acme-challenge.a.example.test";
    let mock = PowerDnsMock::start(&lab.knot, "example.test", &[(name, "of somebody else")]);
    let with = |key: &str| {
        let service = DnsUpdateService::new("powerdns").base(mock.base());
        let service = service.credential("api_key", key.to_owned().into());
        service.connect(vec!["example.test".into()]).expect("a provider")
    };
    issues(&lab, Arc::new(with(mock.api_key()))).await;
    assert_eq!(mock.txt(name), ["of somebody else"], "both values were written and removed");
    assert_eq!(lab.knot.txt(name), ["of somebody else"]);
    let why = with("wrong").add("example.test", name, "v").await.expect_err("a wrong key");
    assert!(!why.transient && why.to_string().contains("credentials are refused"), "{why}");
}

#[tokio::test]
async fn values_that_powerdns_gets_at_once_are_all_kept() {
    let knot = KnotServer::start(&[("example.test", "")]);
    let name = "_acme-challenge.a.example.test";
    let mock = PowerDnsMock::start(&knot, "example.test", &[(name, "of somebody else")]);
    let service = DnsUpdateService::new("powerdns").base(mock.base());
    let service = service.credential("api_key", mock.api_key().to_owned().into());
    let provider = service.connect(vec!["example.test".into()]).expect("a provider");
    let values: Vec<String> = (0..8).map(|at| format!("value-{at}")).collect();
    for added in join_all(values.iter().map(|value| provider.add("example.test", name, value))).await {
        added.expect("it is added");
    }
    assert_eq!(mock.txt(name).len(), 9, "{:?}", mock.txt(name));
    let removed = values.iter().map(|value| provider.remove("example.test", name, value, None));
    for removed in join_all(removed).await {
        removed.expect("it is removed");
    }
    assert_eq!(mock.txt(name), ["of somebody else"]);
}

#[tokio::test]
async fn a_service_that_refuses_is_not_asked_again_and_one_that_is_down_is() {
    for (status, transient) in [
        ("400 Bad Request", false),
        ("403 Forbidden", false),
        ("422 Unprocessable Entity", false),
        ("500 Internal Server Error", true),
        ("429 Too Many Requests", true),
    ] {
        let origin = Origin::scripted(move |bytes| {
            bytes.windows(4).any(|window| window == b"\r\n\r\n").then(|| {
                (format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes(), bytes.len())
            })
        });
        let service = DnsUpdateService::new("powerdns").base(format!("http://{}", origin.address()));
        let service = service.credential("api_key", "k".to_owned().into());
        let provider = service.connect(vec!["example.test".into()]).expect("a provider");
        let why = provider.add("example.test", "a.example.test", "v").await.expect_err(status);
        assert_eq!(why.transient, transient, "{status}: {why}");
    }
}

#[test]
fn credentials_of_a_service_are_checked_before_they_are_read() {
    let wrong = |name: &str, keys: &[&str], base: Option<&str>, expected: &str| {
        let why = DnsUpdateService::check(name, keys.iter().copied(), base).expect_err(expected).to_string();
        assert!(why.contains(expected), "{name} {keys:?}: {why}");
    };
    assert!(DnsUpdateService::check("desec", ["token"], None).is_ok());
    wrong("nobody", &["token"], None, "expected one of bunny, desec");
    wrong("duckdns", &["token"], None, "single TXT record");
    wrong("desec", &[], None, "desec takes the credential `token`, which is missing");
    wrong("desec", &["api_key", "token"], None, "not a credential of desec: `api_key`: expected token");
    wrong("desec", &["token"], Some("http://a"), "leave base out");
    wrong("porkbun", &["api_key"], None, "`secret_api_key`, which is missing");
    wrong("powerdns", &["api_key"], None, "write base");
    let invalid = [
        "127.0.0.1:8081",
        "localhost",
        "ftp://a",
        "http://",
        "http://user:hunter2@a:8081",
        "http://a:99999",
        "http://a/?b",
        "http://a b",
        "",
    ];
    for base in invalid {
        wrong("powerdns", &["api_key"], Some(base), "expected http:// or https:// and a host");
    }
    for base in ["http://127.0.0.1:8081", "https://dns.example.org/api/", "http://[::1]:8081"] {
        assert!(DnsUpdateService::check("powerdns", ["api_key"], Some(base)).is_ok(), "{base}");
    }
    for key in ["", "k\ney", "schl\u{fc}ssel"] {
        let service =
            DnsUpdateService::new("powerdns").base("http://a").credential("api_key", key.to_owned().into());
        let why = service.connect(Vec::new()).expect_err(key).to_string();
        assert!(why.contains("the credential `api_key` of powerdns"), "{why}");
    }
}
