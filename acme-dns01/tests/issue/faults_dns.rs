//! The DNS, its providers, the disk and the clock: faults 12 to 15, 21 to 23, 26.

use crate::lab::{Lab, certificate, dns, rfc2136};
use acme_dns01::client::Http;
use acme_dns01::engine::{Engine, How};
use acme_dns01::propagation::Way;
use acme_dns01::provider::{Cloudflare, CloudflareAuth, Provider};
use acme_dns01::store::Store;
use serde_json::json;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use testkit::cloudflare::TOKEN;
use testkit::{CloudflareMock, PebbleVersion};

fn cloudflare(mock: &CloudflareMock, token: &str) -> Cloudflare {
    let auth = CloudflareAuth::Token { dns: token.to_owned().into(), zone: None };
    Cloudflare::new(Http::new(None).expect("a client"), auth).base(mock.base())
}

fn nsupdate(lab: &Lab, line: &str) {
    let script = format!(
        "server 127.0.0.1 {}\nkey hmac-sha256:{} {}\n{line}\nsend\n",
        lab.knot.address().port(),
        testkit::authoritative::TSIG_NAME,
        testkit::authoritative::TSIG_SECRET
    );
    let file = lab.folder.path().join("update");
    std::fs::write(&file, script).expect("a file");
    assert!(Command::new("/usr/bin/knsupdate").arg(&file).status().expect("knsupdate").success());
}

#[tokio::test]
async fn fault_12_apex_and_wildcard_and_a_record_of_somebody_else() {
    let lab = Lab::start(PebbleVersion::V2_4);
    nsupdate(&lab, "zone example.test\nadd _acme-challenge.example.test 60 TXT \"of somebody else\"");
    let outcome = lab.engine().round(&certificate(&["*.example.test", "example.test"]), false).await;
    assert_eq!(outcome.how, How::Issued, "{}", lab.said());
    assert_eq!(lab.said().matches("TXT _acme-challenge.example.test").count(), 2);
    assert_eq!(lab.knot.txt("_acme-challenge.example.test"), ["of somebody else"]);
}

/// A zone with a second name server that has not heard of anything.
fn stale() -> (testkit::Knot, String) {
    (testkit::Knot::start(&[("example.test", "")]), "ns2 A 127.0.0.2\n@ NS ns2\n".to_owned())
}

#[tokio::test]
async fn fault_13_and_14_a_server_that_is_stale_or_lame_is_named_and_nothing_is_triggered() {
    let (_other, records) = stale();
    let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", &records)], &[]);
    let mut certificate = certificate(&["a.example.test"]);
    certificate.spec.patience.propagation = Duration::from_secs(3);
    // Nobody listens at 127.0.0.2: a server that does not answer counts as one that is stale.
    let outcome = lab.engine().round(&certificate, false).await;
    assert!(
        matches!(&outcome.how, How::Failed(_, why) if why.contains("ns2.example.test (127.0.0.2)")),
        "{outcome:?}"
    );
    assert_eq!(lab.pebble.logged("POST /chalZ/"), 0, "no trigger");
    // A server that refuses, and one that is no authority: by its answer.
    let mut asked = dns(lab.knot.address());
    let why = asked.follow("_acme-challenge.host.elsewhere.invalid").await.expect_err("no such zone");
    assert!(why.to_string().contains("REFUSED") || why.to_string().contains("Refused"), "{why}");
    // Resolvers only: nobody else is asked, so that the record is seen.
    asked.way = Way::Resolvers;
    let name = "_acme-challenge.a.example.test".to_owned();
    let value = lab.knot.txt(&name).first().cloned().expect("the record of the order that goes on");
    assert_eq!(asked.visible(&[(name, value)]).await.expect("an answer"), Ok(()));
}

#[tokio::test]
async fn fault_15_cnames_are_followed_and_circles_named() {
    let records =
        "_acme-challenge.a CNAME a.delegated\n_acme-challenge.b CNAME c\nc CNAME _acme-challenge.b\n";
    let zones = [("example.test", records)];
    let lab = Lab::with(PebbleVersion::V2_4, &zones, &[]);
    let outcome = lab.engine().round(&certificate(&["a.example.test"]), false).await;
    assert_eq!(outcome.how, How::Issued, "{}", lab.said());
    assert!(lab.said().contains("TXT a.delegated.example.test at knot"), "{}", lab.said());
    assert_eq!(lab.knot.txt("a.delegated.example.test"), Vec::<String>::new());
    let outcome = lab.engine().round(&certificate(&["b.example.test"]), false).await;
    assert!(matches!(&outcome.how, How::Failed(_, why) if why.contains("circle")), "{outcome:?}");
}

#[tokio::test]
async fn a_caa_that_forbids_is_named_before_an_order() {
    let records =
        "a CAA 0 issue \"other.test\"\nb CAA 0 issue \"pebble.letsencrypt.org; validationmethods=http-01\"\n";
    let lab = Lab::with(PebbleVersion::V2_10, &[("example.test", records)], &[]);
    for (name, word) in [("a.example.test", "other.test"), ("b.example.test", "validationmethods")] {
        let outcome = lab.engine().round(&certificate(&[name]), false).await;
        assert!(matches!(&outcome.how, How::Failed(_, why) if why.contains(word)), "{outcome:?}");
    }
    assert_eq!(lab.pebble.logged("POST /order-plz"), 0);
}

#[tokio::test]
async fn fault_21_a_full_disk_leaves_the_old_certificate() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let certificate = certificate(&["a.example.test"]);
    let engine = lab.engine();
    assert_eq!(engine.once(std::slice::from_ref(&certificate), false).await[0].how, How::Issued);
    let before = lab.store().current("a.example.test").await.expect("the store").expect("a pair").chain;
    // No more files can be made beside the staged pair: a file is where its folder should be.
    let private = lab.folder.path().join("acme/.acme-dns01/certificates/a.example.test");
    let staged = private.join("staged");
    let _ = std::fs::remove_dir_all(&staged);
    std::fs::write(&staged, "in the way").expect("a file");
    let outcome = engine.round(&certificate, true).await;
    assert!(matches!(&outcome.how, How::Failed(_, why) if why.contains("staged")), "{outcome:?}");
    let after = lab.store().current("a.example.test").await.expect("the store").expect("a pair").chain;
    assert_eq!(before, after);
    // Room again: the same order goes on.
    std::fs::remove_file(&staged).expect("a file");
    let mut state = engine.state(&certificate).await.expect("a state");
    state.until = None;
    lab.store().compact("a.example.test", &state).await.expect("the store");
    assert_eq!(engine.round(&certificate, false).await.how, How::Issued, "{}", lab.said());
    assert_eq!(lab.pebble.logged("There are now 3 orders"), 0);
}

#[tokio::test]
async fn fault_22_two_processes_make_one_order() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let certificate = certificate(&["a.example.test"]);
    let (one, other) = (lab.engine(), lab.engine());
    let (one, other) = tokio::join!(one.round(&certificate, false), other.round(&certificate, false));
    let both = [one.how, other.how];
    assert!(both.contains(&How::Issued), "{both:?}");
    assert!(both.iter().all(|how| matches!(how, How::Issued | How::Elsewhere | How::Fine(..))), "{both:?}");
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0);
}

#[tokio::test]
async fn fault_26_a_200_without_success_is_a_failure_and_existing_records_are_none() {
    let mock = CloudflareMock::start(&["example.test", "other.test"]);
    let provider = cloudflare(&mock, TOKEN);
    let zone = provider.zone("_acme-challenge.a.b.example.test").await.expect("an answer").expect("a zone");
    assert_eq!(zone, "id-example.test");
    assert!(!mock.requests().iter().any(|line| line.contains("name=test")), "never the public suffix");
    assert_eq!(provider.zone("_acme-challenge.elsewhere.test").await.expect("an answer"), None);
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
    let why = cloudflare(&mock, "wrong").zone("a.example.test").await.expect_err("a wrong token").to_string();
    assert!(why.contains("9109") && why.contains("make a new one") && !why.contains("wrong\""), "{why}");
}

/// Writes to Cloudflare's mock, and to knot, so that the CA sees it.
#[derive(Debug)]
struct Both(Cloudflare, acme_dns01::provider::Rfc2136);

#[async_trait::async_trait]
impl Provider for Both {
    async fn zone(&self, name: &str) -> Result<Option<String>, acme_dns01::provider::ProviderError> {
        self.0.zone(name).await
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
    let both = Both(cloudflare(&mock, TOKEN), rfc2136(&lab.knot));
    let engine: Engine = lab.bare(&lab.pebble.directory()).provider("cloudflare", Arc::new(both));
    mock.fault(
        "POST /zones",
        "429 Too Many Requests",
        json!({"success": false, "errors": [{"code": 971, "message": "slow"}]}),
    );
    let outcome = engine.round(&certificate(&["*.example.test", "example.test"]), false).await;
    assert_eq!(outcome.how, How::Issued, "{}", lab.said());
    assert_eq!(mock.txt("_acme-challenge.example.test"), Vec::<String>::new());
    let deletes = mock.requests().iter().filter(|line| line.starts_with("DELETE")).count();
    assert_eq!(deletes, 2);
}
