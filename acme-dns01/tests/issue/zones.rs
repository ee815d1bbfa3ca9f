//! The zone of a record is what the DNS says, and the provider that has exactly this zone creates it.

use crate::lab::{Lab, certificate, dns, rfc2136};
use acme_dns01::client::Http;
use acme_dns01::engine::{RecordTrial, Renewal, RoundOutcome};
use acme_dns01::provider::{Cloudflare, CloudflareAuth, Coverage, Exec, Provider, ProviderError, ZoneMatch};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::cloudflare::TOKEN;
use testkit::{CloudflareMock, KnotServer, Pebble, PebbleVersion};

fn cloudflare(mock: &CloudflareMock, token: &str) -> Cloudflare {
    let auth = CloudflareAuth::Token { dns: token.to_owned().into(), zone: None };
    Cloudflare::new(Http::new(None).expect("a client"), auth).base(mock.base())
}

fn envelope(result: &Value) -> Value {
    json!({"success": true, "errors": [], "messages": [], "result": result,
        "result_info": {"page": 1, "per_page": 50, "count": 1, "total_count": 1, "total_pages": 1}})
}

fn refused(code: u64, message: &str) -> Value {
    json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null})
}

/// `sub.example.test` is delegated away from `example.test`.
fn delegated() -> Lab {
    let knot = KnotServer::start(&[
        ("example.test", "sub NS ns.sub\nns.sub A 127.0.0.1\n"),
        ("sub.example.test", ""),
    ]);
    let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
    Lab::of(knot, pebble)
}

#[tokio::test]
async fn the_provider_with_exactly_the_zone_is_the_one() {
    let lab = delegated();
    let mock = CloudflareMock::start(&["example.test"]);
    let wanted = certificate(&["www.sub.example.test"]);
    // Whoever comes first, and whatever is wrong with the other.
    for token in [TOKEN, "revoked"] {
        let engine = lab
            .bare(&lab.pebble.directory())
            .provider("cloudflare", Arc::new(cloudflare(&mock, token)))
            .provider("internal", Arc::new(rfc2136(&lab.knot)));
        let outcome = engine.round(&wanted, Renewal::Forced).await.outcome;
        assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
        assert!(lab.knot.txt("_acme-challenge.www.sub.example.test").is_empty());
    }
    assert!(!mock.requests().iter().any(|line| line.starts_with("POST")), "nothing in the parent's zone");
}

/// A provider whose API cannot be reached, so that its zones are not known.
#[derive(Debug)]
struct UnreachableProvider;

#[async_trait]
impl Provider for UnreachableProvider {
    async fn zone(&self, _: &str, _: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        Err(ProviderError::transient("cloudflare", "cannot be reached"))
    }

    async fn add(&self, _: &str, _: &str, _: &str) -> Result<Option<String>, ProviderError> {
        Err(ProviderError::transient("cloudflare", "cannot be reached"))
    }

    async fn remove(&self, _: &str, _: &str, _: &str, _: Option<&str>) -> Result<(), ProviderError> {
        Err(ProviderError::transient("cloudflare", "cannot be reached"))
    }
}

#[tokio::test]
async fn a_provider_of_any_zone_waits_for_one_that_may_have_the_zone() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let with = |provider: Arc<dyn Provider>| {
        let engine = lab.bare(&lab.pebble.directory()).provider("own", provider);
        engine.provider("cloudflare", Arc::new(UnreachableProvider))
    };
    let engine = with(Arc::new(Exec::new("/nowhere/hook", Vec::new())));
    let outcome = engine.round(&certificate(&["a.example.test"]), Renewal::WhenDue).await.outcome;
    let outcome = format!("{outcome:?}");
    assert!(outcome.contains("cannot be reached") && !outcome.contains("hook"), "{outcome}: {}", lab.said());
    assert!(!lab.said().contains("hook"), "{}", lab.said());
    // One that has exactly the zone does not wait.
    let engine = with(Arc::new(rfc2136(&lab.knot)));
    let outcome = engine.round(&certificate(&["b.example.test"]), Renewal::WhenDue).await.outcome;
    assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn a_parent_zone_is_not_written_to() {
    let lab = delegated();
    let mock = CloudflareMock::start(&["example.test"]);
    let engine = lab.bare(&lab.pebble.directory()).provider("cloudflare", Arc::new(cloudflare(&mock, TOKEN)));
    let wanted = certificate(&["www.sub.example.test"]);
    let outcome = engine.round(&wanted, Renewal::WhenDue).await.outcome;
    let RoundOutcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("sub.example.test, which no provider has"), "{reason}");
    assert!(reason.contains("cloudflare has example.test only"), "{reason}");
    let findings = engine.check(&[wanted], RecordTrial::Skip).await;
    assert!(findings.iter().any(|found| !found.fine && found.about.contains("zone")), "{findings:?}");
    assert!(!mock.requests().iter().any(|line| line.starts_with("POST")));
}

#[tokio::test]
async fn one_dead_address_of_a_name_server_does_not_block() {
    let lab = Lab::with(PebbleVersion::V2_10, &[("example.test", "ns AAAA ::1\n")], &[]);
    let engine = lab.engine();
    let wanted = certificate(&["a.example.test"]);
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let servers = dns(lab.knot.address()).survey("_acme-challenge.a.example.test").await.expect("servers");
    assert!(servers.iter().any(|server| server.error.is_none()), "{servers:?}");
    let findings = engine.check(&[wanted], RecordTrial::Write).await;
    let named = findings.iter().find(|found| found.about.contains("name servers")).expect("a finding");
    assert!(named.fine, "{named:?}");
    assert!(findings.iter().any(|found| found.message.contains("written and removed")), "{findings:?}");
    assert!(lab.knot.txt("_acme-challenge.a.example.test").is_empty());
}

#[tokio::test]
async fn cloudflare_writes_names_in_unicode_and_has_pending_zones() {
    let mock = CloudflareMock::start(&[]);
    let name = "xn--mnchen-3ya.test";
    let zones = json!([
        {"id": "pending", "name": "münchen.test", "status": "pending"},
        {"id": "active", "name": "münchen.test", "status": "active"},
        {"id": "other", "name": "münchen.example", "status": "active"},
    ]);
    mock.fault(&format!("GET /zones?name={name}"), "200 OK", envelope(&zones));
    let provider = cloudflare(&mock, TOKEN);
    let found =
        provider.zone(&format!("_acme-challenge.{name}"), name).await.expect("an answer").expect("a zone");
    assert_eq!(found.id, "active");
    assert_eq!(found.coverage, Coverage::Zone { apex: name.into(), active: true });
    let record = json!([{"id": "r", "name": "_acme-challenge.münchen.test", "content": "\"v\""}]);
    mock.fault("GET /zones/active/dns_records", "200 OK", envelope(&record));
    provider
        .remove("active", &format!("_acme-challenge.{name}"), "v", None)
        .await
        .expect("it is gone already");
    assert!(mock.requests().iter().any(|line| line == "DELETE /zones/active/dns_records/r"));
}

#[tokio::test]
async fn tokens_of_accounts_and_of_records_only_are_fine() {
    let mock = CloudflareMock::start(&["example.test"]);
    let invalid = || refused(1000, "Invalid API Token");
    mock.fault("GET /user/tokens/verify", "401 Unauthorized", invalid());
    mock.fault("GET /accounts?", "200 OK", envelope(&json!([{"id": "acc"}])));
    mock.fault("GET /accounts/acc/tokens/verify", "200 OK", envelope(&json!({"status": "active"})));
    let lines = cloudflare(&mock, TOKEN).check().await.expect("a good token").join("\n");
    assert!(lines.contains("active") && lines.contains("1 zone: example.test"), "{lines}");
    // A token that may only edit records: the ids of its zones are configured.
    let list =
        || refused(0, "Actor requires permission \"com.cloudflare.api.account.zone.list\" to list zones");
    mock.fault("GET /user/tokens/verify", "401 Unauthorized", invalid());
    mock.fault("GET /accounts?", "403 Forbidden", refused(9109, "Unauthorized to access requested resource"));
    mock.fault("GET /zones?per_page", "403 Forbidden", list());
    mock.fault("GET /zones?page", "403 Forbidden", list());
    let pinned = cloudflare(&mock, TOKEN).pin("example.test", "id-example.test");
    let lines = pinned.check().await.expect("it can do what it has to").join("\n");
    assert!(lines.contains("configured zones: example.test"), "{lines}");
    // The cause is that which the API gave.
    for (body, words) in [
        (refused(9109, "Cannot use the access token from location: 192.0.2.1"), "client IP filter"),
        (refused(9109, "Unauthorized to access requested resource"), "extend its scope"),
        (refused(9109, "Invalid access token"), "create a new one"),
        (list(), "lacks Zone:Read"),
    ] {
        mock.fault("GET /zones?page", "403 Forbidden", body);
        let why = cloudflare(&mock, TOKEN).scope().await.expect_err("it is refused").to_string();
        assert!(why.contains(words), "{words}: {why}");
    }
}

/// Hosts below `wc` have a wildcard record, those below `own` one that is meant as a delegation.
fn with_wildcards() -> Lab {
    let records =
        "*.wc CNAME app.third.test.\n*.in CNAME host\nhost A 127.0.0.1\n*.own CNAME a.delegated.test.\n";
    let knot = KnotServer::start(&[("example.test", records), ("delegated.test", "a A 127.0.0.1\n")]);
    let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
    Lab::of(knot, pebble)
}

#[tokio::test]
async fn a_wildcard_record_is_no_delegation_of_the_challenge() {
    let lab = with_wildcards();
    let wanted = certificate(&["wc.example.test", "a.in.example.test"]);
    let outcome = lab.engine().round(&wanted, Renewal::WhenDue).await.outcome;
    assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
    for name in ["_acme-challenge.wc.example.test", "_acme-challenge.a.in.example.test"] {
        assert!(lab.said().contains(&format!("TXT {name}")), "{name}: {}", lab.said());
        assert!(lab.knot.txt(name).is_empty(), "{name}");
    }
    assert!(
        lab.knot.txt("host.example.test").is_empty() && !lab.said().contains("TXT host"),
        "{}",
        lab.said()
    );
    let target = dns(lab.knot.address()).target("_acme-challenge.wc.example.test").await.expect("a target");
    assert_eq!(target.name, "_acme-challenge.wc.example.test");
    assert_eq!(target.wildcard.as_deref(), Some("app.third.test"));
}

#[tokio::test]
async fn a_wildcard_record_is_followed_if_only_its_target_has_a_provider() {
    let lab = with_wildcards();
    let only = |zone: &str| {
        lab.bare(&lab.pebble.directory()).provider("only", Arc::new(rfc2136(&lab.knot).zone(zone)))
    };
    let wanted = certificate(&["b.own.example.test"]);
    let findings = only("delegated.test").check(std::slice::from_ref(&wanted), RecordTrial::Skip).await;
    let says = |words: &str| findings.iter().any(|finding| finding.message.contains(words));
    assert!(says("a.delegated.test by only"), "{findings:?}");
    // With neither, the message names both.
    let outcome = only("other.test").round(&wanted, Renewal::WhenDue).await.outcome;
    let RoundOutcome::Failed { reason, .. } = &outcome else { panic!("{outcome:?}") };
    let words = "a wildcard record points to a.delegated.test";
    assert!(reason.contains("example.test") && reason.contains(words), "{reason}");
}

/// A provider that cannot remove its first record.
#[derive(Debug, Default)]
struct ForgetfulProvider {
    removed: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Provider for ForgetfulProvider {
    async fn zone(&self, _: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        Ok(Some(ZoneMatch::new(apex, Coverage::Any)))
    }

    async fn add(&self, _: &str, _: &str, _: &str) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }

    async fn remove(&self, _: &str, _: &str, value: &str, _: Option<&str>) -> Result<(), ProviderError> {
        let mut removed = self.removed.lock().expect("no panic");
        removed.push(value.to_owned());
        if removed.len() == 1 { Err(ProviderError::transient("own", "busy")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_record_that_a_check_could_not_remove_is_removed_by_the_next() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let provider = Arc::new(ForgetfulProvider::default());
    let engine = lab.bare(&lab.pebble.directory()).provider("own", provider.clone());
    let wanted = [certificate(&["a.example.test"])];
    let findings = engine.check(&wanted, RecordTrial::Write).await;
    let left = |message: &str| {
        message.contains("busy; the TXT record _acme-challenge.a.example.test with the value ")
    };
    assert!(findings.iter().any(|finding| !finding.fine && left(&finding.message)), "{findings:?}");
    let findings = engine.check(&wanted, RecordTrial::Write).await;
    assert!(!findings.iter().any(|finding| left(&finding.message)), "{findings:?}");
    let removed = provider.removed.lock().expect("no panic");
    assert!(removed.len() == 2 && removed[0] == removed[1], "{removed:?}");
}
