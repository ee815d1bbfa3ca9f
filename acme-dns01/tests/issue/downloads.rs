//! Certificates that cannot be downloaded at once, and keys that are not used again.

use crate::faults_ca::{proxy, through};
use crate::lab::{Lab, certificate};
use acme_dns01::Record;
use acme_dns01::engine::{Renewal, RoundOutcome};
use acme_dns01::store::Store;
use testkit::{Fault, PebbleVersion};

#[tokio::test]
async fn a_garbled_download_is_repeated_without_another_order() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let proxy = proxy(&lab, |line, before| match (line.starts_with("POST /certZ"), before) {
        (true, 0) => Fault::Answer(
            "404 Not Found".into(),
            String::new(),
            r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"no such certificate","status":404}"#
                .into(),
        ),
        (true, 1) => Fault::Answer(
            "200 OK".into(),
            "Content-Type: text/html\r\nReplay-Nonce: bm9uY2U\r\n".into(),
            "<html>Maintenance</html>".into(),
        ),
        (true | false, _) => Fault::Pass,
    });
    let outcome = through(&lab, &proxy).round(&certificate(&["a.example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert!(proxy.count("POST /certZ") >= 3, "{:?}", proxy.requests());
    assert_eq!(proxy.count("POST /order-plz"), 1, "{:?}", proxy.requests());
}

#[tokio::test]
async fn a_key_that_the_ca_refuses_is_replaced() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let proxy = proxy(&lab, |line, before| {
        if line.starts_with("POST /finalize") && before == 0 {
            let problem =
                r#"{"type":"urn:ietf:params:acme:error:badPublicKey","detail":"weak","status":400}"#;
            return Fault::Answer("400 Bad Request".into(), String::new(), problem.into());
        }
        Fault::Pass
    });
    let mut wanted = certificate(&["a.example.test"]);
    wanted.spec.reuse_key = true;
    let outcome = through(&lab, &proxy).round(&wanted, Renewal::WhenDue).await.outcome;
    assert!(
        matches!(&outcome, RoundOutcome::Failed { reason, .. } if reason.contains("weak")),
        "{outcome:?}"
    );
    let outcome = through(&lab, &proxy).round(&wanted, Renewal::Forced).await.outcome;
    assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
    let records = lab.store().journal("a.example.test").await.expect("a journal");
    let keys = records.iter().filter_map(|record| match record {
        Record::Key { public_key } => Some(public_key),
        _ => None,
    });
    let keys: Vec<&String> = keys.collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
}

#[tokio::test]
async fn a_compromised_key_is_not_kept() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let mut wanted = certificate(&["a.example.test"]);
    wanted.spec.reuse_key = true;
    let engine = lab.engine();
    let issue = async || {
        let outcome = engine.round(&wanted, Renewal::WhenDue).await.outcome;
        assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
        engine.state(&wanted).await.expect("a state").held.expect("a certificate").public_key
    };
    let first = issue().await;
    // Superseded: the key is as good as before.
    engine.revoke(&wanted, Some(4)).await.expect("it is revoked");
    assert_eq!(issue().await, first);
    engine.revoke(&wanted, Some(1)).await.expect("it is revoked");
    let second = issue().await;
    assert_ne!(second, first);
    let outcome = engine.round(&wanted, Renewal::Forced).await.outcome;
    assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
    let third = engine.state(&wanted).await.expect("a state").held.expect("a certificate").public_key;
    assert_eq!(third, second);
}
