//! The files in place and the configuration in force count, not the journal.

use crate::lab::{Lab, certificate, names, rfc2136};
use acme_dns01::client::{Acme, Http, self_signed};
use acme_dns01::engine::{Authority, Certificate, Engine, Renewal, RoundOutcome};
use acme_dns01::live::Reload;
use acme_dns01::store::Store;
use acme_dns01::{CertificateSpec, KeyType, Record, Time};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::{KnotServer, Pebble, PebbleVersion};

const ID: &str = "a.example.test";

fn now() -> Time {
    Time::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs())
}

fn folder(lab: &Lab) -> PathBuf {
    lab.folder.path().join("acme").join(ID)
}

async fn condition(engine: &Engine, wanted: &Certificate) -> &'static str {
    engine.certificate_status(wanted).await.expect("a status").condition.as_str()
}

/// Writes a self-signed pair of this issuer into the folder.
fn put(lab: &Lab, chain: &str, key: &str) {
    std::fs::write(folder(lab).join("fullchain.pem"), chain).expect("a file");
    std::fs::write(folder(lab).join("key.pem"), key).expect("a file");
}

async fn serial(engine: &Engine, wanted: &Certificate) -> Option<String> {
    engine.state(wanted).await.expect("a state").held.map(|held| held.serial)
}

/// A certificate of another CA for the same name.
fn foreign(names: &[&str]) -> (String, String) {
    testkit::Authority::new().issue(names)
}

/// Changes the files of a certificate; what `list` has to say of it.
fn damage(lab: &Lab, number: usize) -> &'static str {
    let home = folder(lab);
    match number {
        0 => {
            std::fs::remove_file(home.join("key.pem")).expect("a file");
            "key_missing"
        }
        1 => {
            std::fs::remove_file(home.join("fullchain.pem")).expect("a file");
            "chain_missing"
        }
        2 => {
            std::fs::remove_dir_all(&home).expect("a folder");
            "folder_deleted"
        }
        3 => {
            std::fs::write(home.join("key.pem"), foreign(&[ID]).1).expect("a file");
            "key_mismatch"
        }
        4 => {
            let (chain, key) = foreign(&[ID]);
            put(lab, &chain, &key);
            "foreign"
        }
        5 => {
            std::fs::write(home.join("fullchain.pem"), "nothing of the kind").expect("a file");
            "unreadable"
        }
        6 => {
            use acme_dns01::client::KeyPair;
            use secrecy::ExposeSecret;
            let names = names(&[ID]);
            let long_ago = Time::from_secs(1_400_000_000);
            let (chain, key) = self_signed(&names, KeyType::Ec256, long_ago).expect("a pair");
            assert!(KeyPair::from_pem(&key).is_ok());
            put(lab, &chain, key.expose_secret());
            "placeholder"
        }
        _ => {
            let chain = std::fs::read_to_string(home.join("fullchain.pem")).expect("a file");
            let end = chain.find("-----END CERTIFICATE-----\n").expect("a chain") + 26;
            std::fs::write(home.join("fullchain.pem"), &chain[..end]).expect("a file");
            "chain_altered"
        }
    }
}

#[tokio::test]
async fn a_pair_that_is_not_the_one_that_was_issued_is_replaced() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let (engine, wanted) = (lab.engine(), certificate(&[ID]));
    assert_eq!(condition(&engine, &wanted).await, "missing");
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    for number in 0..8 {
        assert_eq!(condition(&engine, &wanted).await, "valid");
        let told = damage(&lab, number);
        assert_eq!(condition(&engine, &wanted).await, told);
        let due = engine.certificate_status(&wanted).await.expect("a status").due;
        assert_eq!(due.at, Time::default(), "{told}");
        let before = serial(&engine, &wanted).await;
        let rounds = engine.run_once(std::slice::from_ref(&wanted), Renewal::WhenDue).await;
        let outcome = &rounds[0].outcome;
        // Where the key is left, the certificate is downloaded again instead of ordered.
        if ["chain_missing", "unreadable", "chain_altered"].contains(&told) {
            assert!(matches!(outcome, RoundOutcome::NotDue { .. }), "{told}: {outcome:?}: {}", lab.said());
            assert_eq!(serial(&engine, &wanted).await, before, "{told}: {}", lab.said());
        } else {
            assert_eq!(*outcome, RoundOutcome::Issued, "{told}: {}", lab.said());
            assert_ne!(serial(&engine, &wanted).await, before, "{told}");
        }
    }
    assert_eq!(condition(&engine, &wanted).await, "valid");
    // What is as it should be is left alone.
    let rounds = engine.run_once(std::slice::from_ref(&wanted), Renewal::WhenDue).await;
    assert!(matches!(rounds[0].outcome, RoundOutcome::NotDue { .. }), "{rounds:?}");
}

/// A chain that is lost is downloaded again, with or without a self-signed pair in between; servers are told once more. Where that
/// is not possible, another certificate is ordered.
#[tokio::test]
async fn a_chain_that_is_lost_is_downloaded_again() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let reloads = lab.folder.path().join("reloads");
    let mut wanted = certificate(&[ID]);
    let command = format!("echo told >> {}", reloads.display());
    wanted.deployment.reload = vec![Reload::Command(vec!["/bin/sh".into(), "-c".into(), command])];
    let told = || std::fs::read_to_string(&reloads).unwrap_or_default().lines().count();
    let engine = lab.engine();
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let before = serial(&engine, &wanted).await;
    for (round, placeholder) in [(1, true), (2, false)] {
        let key = std::fs::read(folder(&lab).join("key.pem")).expect("a key");
        std::fs::remove_file(folder(&lab).join("fullchain.pem")).expect("a file");
        let engine = Arc::new(
            lab.bare(&lab.pebble.directory())
                .provider("knot", Arc::new(rfc2136(&lab.knot)))
                .placeholders(placeholder),
        );
        engine.prepare(&wanted).await.expect("something to serve");
        let kind = condition(&engine, &wanted).await;
        assert_eq!(kind, if placeholder { "placeholder" } else { "chain_missing" });
        let outcome = engine.round(&wanted, Renewal::WhenDue).await.outcome;
        assert!(matches!(outcome, RoundOutcome::NotDue { .. }), "{outcome:?}: {}", lab.said());
        assert_eq!(condition(&engine, &wanted).await, "valid");
        assert_eq!(serial(&engine, &wanted).await, before);
        assert_eq!(std::fs::read(folder(&lab).join("key.pem")).expect("a key"), key);
        assert_eq!(told(), 1 + round, "{}", lab.said());
        assert!(lab.said().contains("the certificate is in place again"), "{}", lab.said());
        assert_eq!(engine.counts().orders, 0);
    }
    // The CA has it no more: another one is ordered, and what was between them is written down.
    std::fs::remove_file(folder(&lab).join("fullchain.pem")).expect("a file");
    let store = lab.store();
    let mut state = engine.state(&wanted).await.expect("a state");
    state.url = state.url.map(|url| format!("{url}0"));
    let lock = store.lock(ID).await.expect("the store").expect("the lock");
    store.compact(ID, &state).await.expect("the store");
    drop(lock);
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert!(lab.said().contains("it cannot be restored: "), "{}", lab.said());
    assert_ne!(serial(&engine, &wanted).await, before);
    assert_eq!(condition(&engine, &wanted).await, "valid");
}

#[tokio::test]
async fn a_pair_of_another_program_is_taken_unless_it_is_self_signed() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let (engine, wanted) = (lab.engine(), certificate(&[ID]));
    std::fs::create_dir_all(folder(&lab)).expect("a folder");
    let (chain, key) = testkit::Authority::named("minica root ca 12ab34").issue(&[ID]);
    put(&lab, &chain, &key);
    assert_eq!(condition(&engine, &wanted).await, "minica");
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(condition(&engine, &wanted).await, "valid");
}

#[tokio::test]
async fn an_order_of_another_configuration_is_abandoned_at_once() {
    let records = "@ NS ns2\nns2 A 127.0.0.2\n";
    let lab = Lab::with(PebbleVersion::V2_10, &[("example.test", ""), ("broken.test", records)], &[]);
    let engine = lab.engine();
    let mut wanted = certificate(&[ID, "x.broken.test"]);
    wanted.spec.timeouts.propagation = Duration::from_millis(300);
    let stalled = engine.round(&wanted, Renewal::WhenDue).await.outcome;
    let RoundOutcome::Failed { reason, .. } = &stalled else { panic!("{stalled:?}") };
    assert!(reason.contains("ns2.broken.test"), "{reason}");
    assert_eq!(lab.knot.txt("_acme-challenge.x.broken.test").len(), 1, "the order goes on later");
    let state = engine.state(&wanted).await.expect("a state");
    assert!(state.attempt.is_some() && state.failures == 1);
    // The name that cannot be had is removed: a new order at once, and nothing is left.
    wanted.spec.names = names(&[ID]);
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert!(lab.said().contains("the order under way is abandoned: the names changed"), "{}", lab.said());
    assert!(lab.knot.txt("_acme-challenge.x.broken.test").is_empty());
    assert!(lab.knot.txt("_acme-challenge.a.example.test").is_empty());
    let state = engine.state(&wanted).await.expect("a state");
    assert_eq!((state.failures, state.last_error), (0, None));
}

#[tokio::test]
async fn another_authority_issues_anew_and_an_account_is_of_its_directory() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let other = Pebble::start(PebbleVersion::V2_10, lab.knot.address(), &[]);
    let at = |pebble: &Pebble| {
        let http = Http::new(Some(pebble.tls_root())).expect("a client");
        lab.bare("")
            .authority("pebble", Authority::new(Acme::new(pebble.directory(), http)))
            .provider("knot", Arc::new(rfc2136(&lab.knot)))
    };
    let wanted = certificate(&[ID]);
    let (first, second) = (at(&lab.pebble), at(&other));
    assert_eq!(first.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(condition(&second, &wanted).await, "other_issuer");
    // The same name for another directory: another account, another certificate, and back again.
    assert_eq!(second.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(condition(&second, &wanted).await, "valid");
    let held = second.state(&wanted).await.expect("a state").held.expect("a certificate");
    assert_eq!(held.directory.as_deref(), Some(other.directory().as_str()));
    assert_eq!(first.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0);
}

#[tokio::test]
async fn what_was_written_under_a_clock_that_was_ahead_holds_nothing_back() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let (engine, wanted) = (lab.engine(), certificate(&[ID]));
    let ahead = now().after(Duration::from_secs(200 * 86_400));
    let until = ahead.after(Duration::from_secs(60));
    let failed = Record::Failed { at: ahead, why: "no network yet".into(), until, kind: None };
    let lock = lab.store().lock(ID).await.expect("the store").expect("the lock");
    lab.store().append(ID, &failed).await.expect("the store");
    drop(lock);
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn records_of_certificates_that_left_the_configuration_are_removed() {
    let records = "@ NS ns2\nns2 A 127.0.0.2\n";
    let lab = Lab::with(PebbleVersion::V2_10, &[("broken.test", records)], &[]);
    let mut left = certificate(&["x.broken.test"]);
    left.spec.timeouts.propagation = Duration::from_millis(300);
    let engine = lab.engine();
    assert!(matches!(engine.round(&left, Renewal::WhenDue).await.outcome, RoundOutcome::Failed { .. }));
    assert_eq!(lab.knot.txt("_acme-challenge.x.broken.test").len(), 1);
    engine.sweep(std::slice::from_ref(&left)).await.expect("the store");
    assert_eq!(lab.knot.txt("_acme-challenge.x.broken.test").len(), 1, "it is configured");
    // The provider was given another name meanwhile: it still has the zone.
    let renamed = lab.bare(&lab.pebble.directory()).provider("other-name", Arc::new(rfc2136(&lab.knot)));
    renamed.sweep(&[]).await.expect("the store");
    assert!(lab.knot.txt("_acme-challenge.x.broken.test").is_empty(), "{}", lab.said());
    let left = engine.forget("x.broken.test").await.expect("the store");
    assert!(left.is_empty() && lab.store().journal("x.broken.test").await.expect("a journal").is_empty());
}

/// A delegation of the challenge's own name is followed.
#[tokio::test]
async fn a_challenge_that_is_delegated_by_ns_is_written_to_its_own_zone() {
    let child = "_acme-challenge.a.example.test";
    let knot = KnotServer::start(&[("example.test", "_acme-challenge.a NS ns.example.test.\n"), (child, "")]);
    let pebble = Pebble::start(PebbleVersion::V2_10, knot.address(), &[]);
    let lab = Lab::of(knot, pebble);
    let engine = lab.engine();
    assert_eq!(
        engine.round(&certificate(&[ID]), Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    assert!(lab.knot.txt(child).is_empty());
}

/// Whatever is done to the store and the configuration between two runs, the second one ends with a pair that matches, or with an
/// error that says why, and no record is left.
#[tokio::test]
async fn whatever_is_done_between_two_runs_the_second_ends_well() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let engine = lab.engine();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut below = |sides: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % sides
    };
    let mut spec = CertificateSpec::new(names(&[ID]), "pebble");
    spec.timeouts = crate::lab::quick();
    spec.limits = acme_dns01::Limits::none();
    let mut failed = 0;
    for turn in 0..14 {
        let wanted: Certificate = spec.clone().into();
        let first = engine.run_once(std::slice::from_ref(&wanted), Renewal::WhenDue).await;
        let issued = matches!(first[0].outcome, RoundOutcome::Issued | RoundOutcome::NotDue { .. });
        let mut done = String::new();
        if issued && below(4) > 0 {
            done = damage(&lab, usize::try_from(below(8)).expect("small")).to_owned();
        }
        match below(6) {
            0 => spec.names = names(&[ID, "b.example.test"]),
            1 => spec.names = names(&[ID]),
            2 => spec.key_type = if below(2) == 0 { KeyType::Ec256 } else { KeyType::Ec384 },
            3 => spec.profile = (below(2) == 0).then(|| "shortlived".to_owned()),
            4 => spec.names = names(&[ID, "x.nowhere.test"]),
            _ => {}
        }
        let wanted: Certificate = spec.clone().into();
        let second = engine.run_once(std::slice::from_ref(&wanted), Renewal::WhenDue).await;
        let status = engine.certificate_status(&wanted).await.expect("a status");
        match &second[0].outcome {
            RoundOutcome::Issued | RoundOutcome::NotDue { .. } => {
                assert_eq!(status.condition.as_str(), "valid", "{turn} {done}: {}", lab.said());
            }
            RoundOutcome::Failed { reason, .. } => {
                failed += 1;
                assert!(reason.contains("x.nowhere.test"), "{turn} {done}: {reason}");
            }
            other => panic!("{turn} {done}: {other:?}"),
        }
        for name in ["a.example.test", "b.example.test"] {
            assert!(lab.knot.txt(&format!("_acme-challenge.{name}")).is_empty(), "{turn} {done}");
        }
        if spec.names.len() > 1 && failed > 0 {
            spec.names = names(&[ID]);
        }
    }
}
