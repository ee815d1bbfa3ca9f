//! The DNS and its providers: faults 12 to 15, 22, 26.

use crate::lab::{Lab, certificate, dns, rfc2136};
use acme_dns01::client::Http;
use acme_dns01::dns::ExpectedTxt;
use acme_dns01::engine::{Engine, Renewal, RoundOutcome};
use acme_dns01::propagation::LookupMode;
use acme_dns01::provider::{Cloudflare, CloudflareAuth, Provider};
use serde_json::json;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use testkit::cloudflare::TOKEN;
use testkit::{CloudflareMock, KnotServer, PebbleVersion};

fn cloudflare(mock: &CloudflareMock, token: &str) -> Cloudflare {
    let auth = CloudflareAuth::Token { dns: token.to_owned().into(), zone: None };
    Cloudflare::new(Http::new(None).expect("a client"), auth).base(mock.base())
}

#[tokio::test]
async fn fault_12_apex_and_wildcard_and_a_record_of_somebody_else() {
    let lab = Lab::start(PebbleVersion::V2_4);
    lab.knot.update("zone example.test\nadd _acme-challenge.example.test 60 TXT \"of somebody else\"");
    let outcome =
        lab.engine().round(&certificate(&["*.example.test", "example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(lab.said().matches("TXT _acme-challenge.example.test").count(), 2);
    assert_eq!(lab.knot.txt("_acme-challenge.example.test"), ["of somebody else"]);
}

/// Records of `example.test` that name further name servers, at 127.0.0.2 and so on.
fn delegated_to(servers: &[u8]) -> String {
    servers.iter().map(|last| format!("@ NS ns{last}\nns{last} A 127.0.0.{last}\n")).collect()
}

/// A further server of `example.test` that nobody tells of updates.
fn further(lab: &Lab, last: u8, zones: &[(&str, &str)], missing: &[&str]) -> KnotServer {
    KnotServer::start_at(Ipv4Addr::new(127, 0, 0, last), lab.knot.address().port(), zones, missing)
}

#[tokio::test]
async fn fault_13_one_server_that_is_stale_holds_everything() {
    let records = delegated_to(&[2, 3]);
    let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", &records)], &[]);
    let fresh = further(&lab, 2, &[("example.test", &records)], &[]);
    let stale = further(&lab, 3, &[("example.test", &records)], &[]);
    let mut certificate = certificate(&["*.example.test", "example.test"]);
    certificate.spec.timeouts.propagation = Duration::from_secs(2);
    let name = "_acme-challenge.example.test";
    let copy = |to: &KnotServer| {
        for value in lab.knot.txt(name) {
            to.update(&format!("zone example.test\nadd {name} 5 TXT \"{value}\""));
        }
    };
    let engine = lab.engine();
    let outcome = engine.round(&certificate, Renewal::WhenDue).await;
    let RoundOutcome::Failed { reason: why, .. } = &outcome.outcome else { panic!("{outcome:?}") };
    assert!(
        why.contains("ns2.example.test (127.0.0.2)") && why.contains("ns3.example.test (127.0.0.3)"),
        "{why}"
    );
    // One of the two has them now; the other has one value of the two.
    copy(&fresh);
    let one = lab.knot.txt(name).remove(0);
    stale.update(&format!("zone example.test\nadd {name} 5 TXT \"{one}\""));
    let outcome = engine.round(&certificate, Renewal::Forced).await;
    let RoundOutcome::Failed { reason: why, .. } = &outcome.outcome else { panic!("{outcome:?}") };
    assert!(!why.contains("ns2") && why.contains("ns3.example.test (127.0.0.3)"), "{why}");
    assert!(!why.contains(&one) && lab.knot.txt(name).iter().any(|value| why.contains(value)), "{why}");
    assert_eq!(lab.pebble.logged("POST /chalZ/"), 0, "the CA is told nothing: {}", lab.said());
    // Once it has caught up, the same order goes on.
    copy(&stale);
    let outcome = engine.round(&certificate, Renewal::Forced).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0);
    assert_eq!(lab.knot.txt(name), Vec::<String>::new());
}

#[tokio::test]
async fn fault_14_servers_that_fail_are_lame_or_silent_are_named_with_what_they_answer() {
    let records = delegated_to(&[2, 3, 4, 5]);
    let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", &records)], &[]);
    let _lost_its_zone = further(&lab, 2, &[], &["example.test"]);
    let _only_refers = further(&lab, 3, &[("test", "example NS ns.example\nns.example A 127.0.0.1\n")], &[]);
    let _never_had_it = further(&lab, 4, &[("invalid", "")], &[]);
    let mut certificate = certificate(&["a.example.test"]);
    certificate.spec.timeouts.propagation = Duration::from_millis(500);
    let outcome = lab.engine().round(&certificate, Renewal::WhenDue).await;
    let RoundOutcome::Failed { reason: why, .. } = &outcome.outcome else { panic!("{outcome:?}") };
    for (server, words) in [
        ("ns2.example.test (127.0.0.2)", "SERVFAIL"),
        ("ns3.example.test (127.0.0.3)", "lame"),
        ("ns4.example.test (127.0.0.4)", "REFUSED"),
        ("ns5.example.test (127.0.0.5)", "refused"),
    ] {
        let verdict = why.split("; ").find(|part| part.contains(server));
        assert!(verdict.is_some_and(|part| part.contains(words)), "{server} {words}: {why}");
    }
    assert!(!why.contains("(127.0.0.1)"), "the good one is not named: {why}");
    assert_eq!(lab.pebble.logged("POST /chalZ/"), 0, "the CA is told nothing");
    // Resolvers only: nobody else is asked, so that the record is seen.
    let mut asked = dns(lab.knot.address());
    asked.mode = LookupMode::Resolvers;
    let name = "_acme-challenge.a.example.test".to_owned();
    let value = lab.knot.txt(&name).first().cloned().expect("the record of the order that goes on");
    let seen = asked.visible(&[ExpectedTxt { name, value }]).await.expect("an answer");
    assert!(matches!(seen, acme_dns01::dns::Visibility::Complete { .. }), "{seen:?}");
}

#[tokio::test]
async fn fault_15_cnames_are_followed_and_circles_named() {
    let records =
        "_acme-challenge.a CNAME a.delegated\n_acme-challenge.b CNAME c\nc CNAME _acme-challenge.b\n";
    let zones = [("example.test", records)];
    let lab = Lab::with(PebbleVersion::V2_4, &zones, &[]);
    let outcome = lab.engine().round(&certificate(&["a.example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert!(lab.said().contains("TXT a.delegated.example.test at knot"), "{}", lab.said());
    assert_eq!(lab.knot.txt("a.delegated.example.test"), Vec::<String>::new());
    let outcome = lab.engine().round(&certificate(&["b.example.test"]), Renewal::WhenDue).await;
    assert!(
        matches!(&outcome.outcome, RoundOutcome::Failed { reason: why, .. } if why.contains("loop")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_caa_that_forbids_is_named_before_an_order() {
    let records =
        "a CAA 0 issue \"other.test\"\nb CAA 0 issue \"pebble.letsencrypt.org; validationmethods=http-01\"\n";
    let lab = Lab::with(PebbleVersion::V2_10, &[("example.test", records)], &[]);
    for (name, word) in [("a.example.test", "other.test"), ("b.example.test", "validationmethods")] {
        let outcome = lab.engine().round(&certificate(&[name]), Renewal::WhenDue).await;
        assert!(
            matches!(&outcome.outcome, RoundOutcome::Failed { reason: why, .. } if why.contains(word)),
            "{outcome:?}"
        );
    }
    assert_eq!(lab.pebble.logged("POST /order-plz"), 0);
}

#[tokio::test]
async fn fault_22_two_processes_make_one_order() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let certificate = certificate(&["a.example.test"]);
    let (one, other) = (lab.engine(), lab.engine());
    let (one, other) =
        tokio::join!(one.round(&certificate, Renewal::WhenDue), other.round(&certificate, Renewal::WhenDue));
    let both = [one.outcome, other.outcome];
    assert!(both.contains(&RoundOutcome::Issued), "{both:?}");
    assert!(
        both.iter().all(|how| matches!(
            how,
            RoundOutcome::Issued | RoundOutcome::Locked | RoundOutcome::NotDue { .. }
        )),
        "{both:?}"
    );
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0);
}

#[tokio::test]
async fn fault_26_a_200_without_success_is_a_failure_and_existing_records_are_none() {
    let mock = CloudflareMock::start(&["example.test", "other.test"]);
    let provider = cloudflare(&mock, TOKEN);
    let found = provider.zone("_acme-challenge.a.b.example.test", "example.test").await;
    let zone = found.expect("an answer").expect("a zone").id;
    assert_eq!(zone, "id-example.test");
    assert!(!mock.requests().iter().any(|line| line.contains("name=test")), "never the public suffix");
    assert_eq!(
        provider.zone("_acme-challenge.elsewhere.test", "elsewhere.test").await.expect("an answer"),
        None
    );
    let name = "_acme-challenge.a.b.example.test";
    let no = json!({"success": false, "errors": [{"code": 9999, "message": "no"}], "result": null});
    mock.fault("POST /zones", "200 OK", no);
    let why = provider.add(&zone, name, "v").await.expect_err("no success").to_string();
    assert!(why.contains("9999"), "{why}");
    mock.fault("POST /zones", "502 Bad Gateway", json!("<html>"));
    assert!(provider.add(&zone, name, "v").await.expect_err("no JSON").transient);
    // Three of others on two pages; ours is found among them.
    for other in ["x", "V", "\"y\""] {
        mock.put("example.test", name, other);
    }
    let id = provider.add(&zone, name, "v").await.expect("it is made");
    assert_eq!(provider.add(&zone, name, "v").await.expect("it exists"), id);
    provider.remove(&zone, name, "v", None).await.expect("by its value");
    assert_eq!(mock.txt(name), ["x", "V", "y"], "compared to the letter");
    provider.remove(&zone, name, "v", id.as_deref()).await.expect("it is gone already");
    let lines = provider.check().await.expect("an answer").join("\n");
    assert!(lines.contains("2 zones: example.test, other.test"), "{lines}");
    let wrong = cloudflare(&mock, "wrong").zone("a.example.test", "example.test").await;
    let why = wrong.expect_err("a wrong token").to_string();
    assert!(why.contains("9109") && why.contains("create a new one") && !why.contains("wrong\""), "{why}");
}

/// Writes to Cloudflare's mock, and to knot, so that the CA sees it.
#[derive(Debug)]
struct DualProvider(Cloudflare, acme_dns01::provider::Rfc2136);

#[async_trait::async_trait]
impl Provider for DualProvider {
    async fn zone(
        &self,
        name: &str,
        apex: &str,
    ) -> Result<Option<acme_dns01::provider::ZoneMatch>, acme_dns01::provider::ProviderError> {
        self.0.zone(name, apex).await
    }
    async fn add(
        &self,
        zone: &str,
        name: &str,
        value: &str,
    ) -> Result<Option<String>, acme_dns01::provider::ProviderError> {
        self.1.add("example.test", name, value).await?;
        self.0.add(zone, name, value).await
    }
    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        id: Option<&str>,
    ) -> Result<(), acme_dns01::provider::ProviderError> {
        self.1.remove("example.test", name, value, None).await?;
        self.0.remove(zone, name, value, id).await
    }
}

#[tokio::test]
async fn a_certificate_by_cloudflare() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let mock = CloudflareMock::start(&["example.test"]);
    let both = DualProvider(cloudflare(&mock, TOKEN), rfc2136(&lab.knot));
    let engine: Engine = lab.bare(&lab.pebble.directory()).provider("cloudflare", Arc::new(both));
    mock.fault(
        "POST /zones",
        "429 Too Many Requests",
        json!({"success": false, "errors": [{"code": 971, "message": "slow"}]}),
    );
    let outcome = engine.round(&certificate(&["*.example.test", "example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(mock.txt("_acme-challenge.example.test"), Vec::<String>::new());
    let deletes = mock.requests().iter().filter(|line| line.starts_with("DELETE")).count();
    assert_eq!(deletes, 2);
}
