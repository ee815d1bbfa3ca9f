//! What works when nothing goes wrong.

use crate::lab::{Lab, certificate};
use acme_dns01::KeyType;
use acme_dns01::engine::{Renewal, RoundOutcome};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::PebbleVersion;

async fn issue_by(version: PebbleVersion) {
    let lab = Lab::start(version);
    let engine = lab.engine();
    let certificate = certificate(&["*.example.test", "example.test", "a.b.example.test"]);
    let outcome = engine.run_once(std::slice::from_ref(&certificate), Renewal::WhenDue).await;
    assert_eq!(outcome[0].outcome, RoundOutcome::Issued, "{}\n{}", lab.said(), lab.pebble.log());
    let folder = lab.folder.path().join("acme/_.example.test");
    assert_eq!(folder.metadata().expect("a folder").permissions().mode() & 0o7777, 0o750);
    for name in ["fullchain.pem", "key.pem", "chain.pem", "full.pem"] {
        let found = folder.join(name).symlink_metadata().expect("a file");
        assert!(found.is_file() && found.mode() & 0o7777 == 0o640, "{name}: {:o}", found.mode());
    }
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    assert_eq!(std::fs::read_link(folder.join("cert.pem")).expect("a link").to_str(), Some("fullchain.pem"));
    assert_eq!(read("full.pem"), read("key.pem") + &read("fullchain.pem"));
    assert!(read("fullchain.pem").ends_with(&read("chain.pem")) && !read("chain.pem").is_empty());
    assert_eq!(lab.knot.txt("_acme-challenge.example.test"), Vec::<String>::new());
    assert_eq!(lab.knot.txt("_acme-challenge.a.b.example.test"), Vec::<String>::new());
    // Nothing is due now.
    let again = engine.run_once(std::slice::from_ref(&certificate), Renewal::WhenDue).await;
    assert!(matches!(again[0].outcome, RoundOutcome::NotDue { .. }), "{again:?}");
    // Unless it is asked for; the key is another one then.
    let before = read("key.pem");
    let forced = engine.run_once(std::slice::from_ref(&certificate), Renewal::Forced).await;
    assert_eq!(forced[0].outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_ne!(read("key.pem"), before);
    assert!(engine.store().pending_key("_.example.test").await.expect("the store").is_none());
}

#[tokio::test]
async fn pebble_2_4_issues() {
    issue_by(PebbleVersion::V2_4).await;
}

#[tokio::test]
async fn pebble_2_10_issues() {
    issue_by(PebbleVersion::V2_10).await;
}

#[tokio::test]
async fn keys_of_every_kind_kept_or_not() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let engine = lab.engine();
    for kind in [KeyType::Ec256, KeyType::Ec384, KeyType::Rsa2048] {
        let mut wanted = certificate(&["k.example.test"]);
        wanted.spec.id = format!("k-{kind}");
        wanted.spec.key_type = kind;
        wanted.spec.reuse_key = true;
        assert_eq!(
            engine.round(&wanted, Renewal::WhenDue).await.outcome,
            RoundOutcome::Issued,
            "{}",
            lab.said()
        );
        let first = engine.state(&wanted).await.expect("a state").held.expect("a certificate");
        assert_eq!(
            engine.round(&wanted, Renewal::Forced).await.outcome,
            RoundOutcome::Issued,
            "{}",
            lab.said()
        );
        let second = engine.state(&wanted).await.expect("a state").held.expect("a certificate");
        assert_eq!((first.key_type.as_str(), &first.public_key), (kind.as_str(), &second.public_key));
        assert_ne!(first.serial, second.serial);
    }
}

#[tokio::test]
async fn many_at_once_but_no_more_than_allowed() {
    const AT_ONCE: usize = 4;
    let lab = Lab::start(PebbleVersion::V2_10);
    let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let engine = lab
        .bare(&lab.pebble.directory())
        .provider("knot", Arc::new(crate::lab::rfc2136(&lab.knot)))
        .parallel(AT_ONCE)
        .observer(Arc::new(move |_, event| {
            let what = event.to_string();
            if what.starts_with("begins") {
                most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            } else if what == "deployed" {
                active.fetch_sub(1, Ordering::SeqCst);
            }
        }));
    let many: Vec<_> = (0..16).map(|number| certificate(&[&format!("c{number}.example.test")])).collect();
    let outcomes = Arc::new(engine).run_once(&many, Renewal::WhenDue).await;
    assert!(outcomes.iter().all(|outcome| outcome.outcome == RoundOutcome::Issued), "{outcomes:?}");
    assert_eq!(peak.load(Ordering::SeqCst), AT_ONCE);
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0, "one account for all");
}
