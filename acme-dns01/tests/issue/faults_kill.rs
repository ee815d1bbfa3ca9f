//! Killed, and started again: faults 1 to 6, 8 and 9.

use crate::kill::{CrashPoint, CrashingStore, StoreWrite};
use crate::lab::{Lab, certificate, dns, rfc2136};
use acme_dns01::engine::{Authority, Certificate, Engine, Renewal, RoundOutcome};
use acme_dns01::live::Reload;
use acme_dns01::store::Store;
use acme_dns01::{Condition, Record};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use testkit::PebbleVersion;
use tokio::sync::Notify;

const NAMES: &[&str] = &["*.example.test", "example.test"];

/// Works until the script ends it; whether it did.
async fn ended(
    lab: &Lab,
    certificate: &Certificate,
    renewal: Renewal,
    script: impl Fn(&StoreWrite<'_>) -> CrashPoint + Send + Sync + 'static,
) -> bool {
    let dead = Arc::new(Notify::new());
    let store = CrashingStore { inner: lab.store(), script: Box::new(script), dead: dead.clone() };
    let engine = Engine::new(Arc::new(store), dns(lab.knot.address()))
        .authority("pebble", Authority::new(lab.acme(&lab.pebble.directory())))
        .provider("knot", Arc::new(rfc2136(&lab.knot)));
    tokio::select! {
        outcome = engine.round(certificate, renewal) => {
            assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
            false
        }
        () = dead.notified() => true,
    }
}

/// Ends it there, starts it again, and looks at what the CA and the DNS have.
async fn killed_at(script: impl Fn(&StoreWrite<'_>) -> CrashPoint + Send + Sync + 'static) -> Lab {
    let lab = Lab::start(PebbleVersion::V2_4);
    let certificate = certificate(NAMES);
    assert!(ended(&lab, &certificate, Renewal::WhenDue, script).await, "it was not ended");
    let outcome = lab.engine().round(&certificate, Renewal::WhenDue).await;
    assert!(
        matches!(outcome.outcome, RoundOutcome::Issued | RoundOutcome::NotDue { .. }),
        "{outcome:?}\n{}",
        lab.said()
    );
    assert!(lab.engine().state(&certificate).await.expect("a state").held.is_some());
    assert_eq!(lab.pebble.logged("There are now 1 accounts"), 1, "one account");
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0, "one account");
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0, "one order");
    assert_eq!(lab.pebble.logged("Issued certificate"), 1, "{}", lab.pebble.log());
    assert_eq!(lab.knot.txt("_acme-challenge.example.test"), Vec::<String>::new());
    lab
}

fn at(
    end: CrashPoint,
    which: fn(&Record) -> bool,
) -> impl Fn(&StoreWrite<'_>) -> CrashPoint + Send + Sync + 'static {
    move |write| match write {
        StoreWrite::Record(record) if which(record) => end,
        _ => CrashPoint::Not,
    }
}

#[tokio::test]
async fn fault_01_after_the_key_is_saved_before_new_account() {
    let lab = killed_at(|write| match write {
        StoreWrite::Account(account) if account.url.is_none() => CrashPoint::After,
        _ => CrashPoint::Not,
    })
    .await;
    assert_eq!(lab.pebble.logged("POST /sign-me-up"), 1);
}

#[tokio::test]
async fn fault_02_after_new_account() {
    killed_at(|write| match write {
        StoreWrite::Account(account) if account.url.is_some() => CrashPoint::Before,
        _ => CrashPoint::Not,
    })
    .await;
}

#[tokio::test]
async fn fault_03_after_new_order() {
    killed_at(at(CrashPoint::Before, |record| matches!(record, Record::Ordered { .. }))).await;
}

#[tokio::test]
async fn fault_03_is_found_among_many_orders_of_the_account() {
    // Pebble lists three orders a page.
    let lab = Lab::start(PebbleVersion::V2_10);
    let many: Vec<_> = (0..7).map(|number| certificate(&[&format!("m{number}.example.test")])).collect();
    let outcomes = lab.engine().run_once(&many, Renewal::WhenDue).await;
    assert!(outcomes.iter().all(|outcome| outcome.outcome == RoundOutcome::Issued), "{}", lab.said());
    let wanted = certificate(NAMES);
    let script = at(CrashPoint::Before, |record| matches!(record, Record::Ordered { .. }));
    assert!(ended(&lab, &wanted, Renewal::WhenDue, script).await, "it was not ended");
    assert_eq!(
        lab.engine().round(&wanted, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    assert_eq!(lab.pebble.logged("There are now 9 orders"), 0, "one order");
}

#[tokio::test]
async fn fault_04_in_the_middle_of_publishing() {
    killed_at(at(CrashPoint::Before, |record| matches!(record, Record::Published { .. }))).await;
}

#[tokio::test]
async fn fault_05_after_the_challenge_was_triggered() {
    let lab = killed_at(at(CrashPoint::Before, |record| matches!(record, Record::Finalizing))).await;
    assert_eq!(lab.pebble.logged("POST /chalZ/"), 2, "one trigger a challenge");
}

#[tokio::test]
async fn fault_06_after_finalize() {
    let lab = killed_at(at(CrashPoint::Before, |record| matches!(record, Record::Issued { .. }))).await;
    assert_eq!(lab.pebble.logged("POST /finalize-order/"), 1);
}

#[tokio::test]
async fn killed_around_the_pair() {
    for end in [CrashPoint::Before, CrashPoint::After] {
        killed_at(move |write| if matches!(write, StoreWrite::Stage) { end } else { CrashPoint::Not }).await;
        killed_at(move |write| if matches!(write, StoreWrite::Install) { end } else { CrashPoint::Not })
            .await;
    }
}

/// Ended anywhere while a certificate is downloaded again: the same certificate is in place in the end, without another order, and
/// servers are told.
#[tokio::test]
async fn killed_while_a_certificate_is_restored() {
    type Script = fn(&StoreWrite<'_>) -> CrashPoint;
    let scripts: [Script; 6] = [
        |write| match write {
            StoreWrite::Record(Record::Restoring { .. }) => CrashPoint::After,
            _ => CrashPoint::Not,
        },
        |write| if matches!(write, StoreWrite::Stage) { CrashPoint::After } else { CrashPoint::Not },
        |write| if matches!(write, StoreWrite::Install) { CrashPoint::Before } else { CrashPoint::Not },
        |write| if matches!(write, StoreWrite::Install) { CrashPoint::After } else { CrashPoint::Not },
        |write| match write {
            StoreWrite::Record(Record::Restored { .. }) => CrashPoint::Before,
            _ => CrashPoint::Not,
        },
        |write| match write {
            StoreWrite::Record(Record::Deployed { .. }) => CrashPoint::Before,
            _ => CrashPoint::Not,
        },
    ];
    let lab = Lab::start(PebbleVersion::V2_4);
    let mut certificate = certificate(NAMES);
    let mark = lab.folder.path().join("reloaded");
    let command = format!("echo x >> {}", mark.display());
    certificate.deployment.reload = vec![Reload::Command(vec!["/bin/sh".into(), "-c".into(), command])];
    let count = || std::fs::read_to_string(&mark).unwrap_or_default().lines().count();
    assert_eq!(lab.engine().round(&certificate, Renewal::WhenDue).await.outcome, RoundOutcome::Issued);
    let chain = lab.folder.path().join("acme").join(&certificate.spec.id).join("fullchain.pem");
    let issued = std::fs::read(&chain).expect("a chain");
    for (number, script) in scripts.into_iter().enumerate() {
        std::fs::remove_file(&chain).expect("a file");
        let before = count();
        assert!(ended(&lab, &certificate, Renewal::WhenDue, script).await, "{number}: it was not ended");
        let outcome = lab.engine().round(&certificate, Renewal::WhenDue).await.outcome;
        assert!(matches!(outcome, RoundOutcome::NotDue { .. }), "{number}: {outcome:?}\n{}", lab.said());
        assert_eq!(std::fs::read(&chain).expect("a chain"), issued, "{number}");
        assert!(count() > before, "{number}: {}", lab.said());
        let status = lab.engine().certificate_status(&certificate).await.expect("a status");
        assert_eq!(status.condition, Condition::Valid, "{number}");
        assert!(!status.state.restoring && !status.state.undeployed, "{number}");
    }
    assert_eq!(lab.pebble.logged("Issued certificate"), 1, "{}", lab.pebble.log());
}

#[tokio::test]
async fn fault_08_during_the_change_of_the_account_key() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let first = lab.engine().account("pebble").await.expect("an account").url().to_owned();
    let kept = acme_dns01::engine::account_key(&lab.pebble.directory());
    // Ended before the change, and after it: the store has both keys each time.
    for changed in [false, true] {
        let account = lab.engine().account("pebble").await.expect("an account");
        let next = acme_dns01::client::AccountKey::generate().expect("a key");
        let mut stored = lab.store().account(&kept).await.expect("the store").expect("an account");
        stored.next_key = Some(next.pem().clone());
        lab.store().save_account(&kept, &stored).await.expect("the store");
        if changed {
            account.change_key(&next).await.expect("a change");
        }
        let found = lab.engine().account("pebble").await.expect("an account");
        let expected = if changed { next.thumbprint() } else { account.key().thumbprint() };
        assert_eq!((found.url(), found.key().thumbprint()), (first.as_str(), expected));
        let stored = lab.store().account(&kept).await.expect("the store").expect("an account");
        assert!(stored.next_key.is_none() && stored.key.expose_secret().contains("PRIVATE"));
    }
    lab.engine().roll_over("pebble").await.expect("a change");
    let outcome = lab.engine().round(&certificate(&["a.example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn fault_09_before_the_reload_is_remembered() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let mut certificate = certificate(NAMES);
    let mark = lab.folder.path().join("reloaded");
    let command = format!("echo x >> {}", mark.display());
    certificate.deployment.reload = vec![Reload::Command(vec!["/bin/sh".into(), "-c".into(), command])];
    let script = at(CrashPoint::Before, |record| matches!(record, Record::Deployed { .. }));
    assert!(ended(&lab, &certificate, Renewal::WhenDue, script).await);
    let count = || std::fs::read_to_string(&mark).unwrap_or_default().lines().count();
    assert_eq!(count(), 1);
    let outcome = lab.engine().round(&certificate, Renewal::WhenDue).await;
    assert!(matches!(outcome.outcome, RoundOutcome::NotDue { .. }), "{outcome:?}");
    assert_eq!(count(), 2, "at least once");
    lab.engine().round(&certificate, Renewal::WhenDue).await;
    assert_eq!(count(), 2, "remembered");
    tokio::time::sleep(Duration::from_millis(1)).await;
}
