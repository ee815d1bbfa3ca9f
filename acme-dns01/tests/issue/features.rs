//! What a CA offers beside certificates: external accounts, profiles, revocation; and two kinds of keys side by side.

use crate::lab::{Lab, certificate};
use acme_dns01::KeyType;
use acme_dns01::client::{AccountKey, Acme, ExternalAccount, Http, KeyPair};
use acme_dns01::deferred::Deferred;
use acme_dns01::engine::{Authority, Renewal, RoundOutcome, account_key};
use acme_dns01::live::{Greeting, LiveCertificates, OfferedSignatures, served_serial};
use acme_dns01::store::{Store, StoredAccount};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testkit::{Fault, KnotServer, Pebble, PebbleVersion};
use tokio::net::TcpListener;

#[tokio::test]
async fn accounts_that_are_bound_to_external_ones() {
    let knot = KnotServer::start(&[("example.test", "")]);
    let more = r#""externalAccountBindingRequired": true, "externalAccountMACKeys": {"kid-1": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0ISEhISE"},"#;
    let pebble = Pebble::start_with(PebbleVersion::V2_10, knot.address(), &[], more);
    let lab = Lab::of(knot, pebble);
    let acme =
        || Acme::new(lab.pebble.directory(), Http::new(Some(lab.pebble.tls_root())).expect("a client"));
    let with = |key_id: &str, key: &[u8]| {
        let mut authority = Authority::new(acme());
        authority.external_account =
            Some(ExternalAccount { key_id: key_id.into(), key: key.to_vec().into() });
        let knot = Arc::new(crate::lab::rfc2136(&lab.knot));
        lab.bare(&lab.pebble.directory()).authority("pebble", authority).provider("knot", knot)
    };
    let certificate = certificate(&["a.example.test"]);
    let mut renewal = Renewal::WhenDue;
    for (engine, words) in [
        (lab.bare(&lab.pebble.directory()), "configure eab"),
        (with("kid-2", b"secret secret secret secret!!!!!"), "a key that is not known"),
        (with("kid-1", b"another key of the same length!!"), "external account binding"),
    ] {
        let outcome = engine.round(&certificate, renewal).await;
        let RoundOutcome::Failed { reason: why, .. } = &outcome.outcome else { panic!("{outcome:?}") };
        assert!(why.contains(words) && !why.contains("secret"), "{words}: {why}");
        renewal = Renewal::Forced;
    }
    // A binding that comes later holds the certificate back, until it is there or the account is registered.
    let available = Arc::new(AtomicBool::new(false));
    let engine = || {
        let mut authority = Authority::new(acme());
        let available = available.clone();
        authority.deferred_external_account = Some(Deferred::new(move || {
            let key = b"secret secret secret secret!!!!!".to_vec().into();
            let account = Arc::new(ExternalAccount { key_id: "kid-1".into(), key });
            let found = available.load(Ordering::Relaxed);
            std::future::ready(found.then_some(account).ok_or_else(|| "no such file".to_owned()))
        }));
        let knot = Arc::new(crate::lab::rfc2136(&lab.knot));
        Arc::new(lab.bare(&lab.pebble.directory()).authority("pebble", authority).provider("knot", knot))
    };
    let orders = || lab.pebble.logged("POST /order-plz");
    let outcome = engine().round(&certificate, Renewal::Forced).await;
    let RoundOutcome::Blocked { by, .. } = &outcome.outcome else { panic!("{outcome:?}") };
    assert_eq!(by.to_string(), "the authority pebble is not ready: no such file");
    assert_eq!(orders(), 0);
    available.store(true, Ordering::Relaxed);
    assert_eq!(
        engine().round(&certificate, Renewal::Forced).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    available.store(false, Ordering::Relaxed);
    assert_eq!(
        engine().round(&certificate, Renewal::Forced).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    assert_eq!(orders(), 2);
    // Without roots nothing can be asked of the authority, and another one that is ready takes its place.
    let lacks = || {
        let roots = Deferred::new(|| std::future::ready(Err("no roots".to_owned())));
        let authority = Authority::new(Acme::new(lab.pebble.directory(), Http::deferred(roots)));
        let knot = Arc::new(crate::lab::rfc2136(&lab.knot));
        Arc::new(lab.bare(&lab.pebble.directory()).authority("late", authority).provider("knot", knot))
    };
    let mut both = certificate.clone();
    both.spec.authorities = vec!["late".to_owned()];
    let outcome = lacks().round(&both, Renewal::Forced).await;
    let RoundOutcome::Blocked { by, .. } = &outcome.outcome else { panic!("{outcome:?}") };
    assert!(by.to_string().contains("the authority late is not ready") && by.reason.contains("no roots"));
    both.spec.authorities.push("pebble".to_owned());
    assert_eq!(lacks().unready_dependency(&both).await, None);
    assert_eq!(orders(), 2);
}

#[tokio::test]
async fn a_profile_is_ordered_and_one_that_there_is_not_is_named() {
    let lab = Lab::start(PebbleVersion::V2_10);
    for (profile, days) in [("shortlived", 6), ("default", 90)] {
        let mut wanted = certificate(&["a.example.test"]);
        wanted.spec.profile = Some(profile.to_owned());
        assert_eq!(
            lab.engine().round(&wanted, Renewal::WhenDue).await.outcome,
            RoundOutcome::Issued,
            "{}",
            lab.said()
        );
        let held = lab.engine().state(&wanted).await.expect("a state").held.expect("a certificate");
        assert_eq!((held.lifetime().as_secs() + 43_200) / 86_400, days, "{profile}");
    }
    let mut wanted = certificate(&["b.example.test"]);
    wanted.spec.profile = Some("longlived".to_owned());
    let outcome = lab.engine().round(&wanted, Renewal::WhenDue).await;
    let RoundOutcome::Failed { reason: why, .. } = &outcome.outcome else { panic!("{outcome:?}") };
    assert!(why.contains("no profile `longlived`; it has default, shortlived"), "{why}");
}

#[tokio::test]
async fn a_certificate_is_revoked_with_its_reason() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let wanted = certificate(&["a.example.test"]);
    let engine = lab.engine();
    let why = engine.revoke(&wanted, None).await.expect_err("there is none");
    assert!(why.reason.contains("there is no certificate"), "{why}");
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let held = engine.state(&wanted).await.expect("a state").held.expect("a certificate");
    assert!(lab.pebble.status(&held.serial).contains("\"Valid\""), "{}", lab.pebble.status(&held.serial));
    engine.revoke(&wanted, Some(4)).await.expect("it is revoked");
    let status = lab.pebble.status(&held.serial);
    assert!(status.contains("\"Revoked\"") && status.contains("\"Reason\": 4"), "{status}");
    let why = engine.revoke(&wanted, Some(4)).await.expect_err("once is enough");
    assert!(why.reason.contains("alreadyRevoked"), "{why}");
    assert_eq!(engine.round(&wanted, Renewal::Forced).await.outcome, RoundOutcome::Issued, "{}", lab.said());
}

/// An account that another client registered, with an RSA key or one over P-384: its URL stays, its key does not.
#[tokio::test]
async fn an_account_of_another_client_gets_a_key_of_ours_before_its_first_order() {
    for kind in [KeyType::Rsa2048, KeyType::Ec384, KeyType::Ec256] {
        let lab = Lab::start(PebbleVersion::V2_10);
        let pem = KeyPair::generate(kind).expect("a key").pem();
        let key = AccountKey::from_pem(pem.expose_secret()).expect("a key");
        let acme = lab.acme(&lab.pebble.directory());
        let url = acme.register(&key, &[], None).await.expect("an account");
        let name = account_key(&lab.pebble.directory());
        let adopted = StoredAccount { key: pem, url: Some(url.clone()), next_key: None };
        lab.store().save_account(&name, &adopted).await.expect("the store");
        let (one, two) = (certificate(&["a.example.test"]), certificate(&["b.example.test"]));
        let rounds = lab.engine().run_once(&[one, two], Renewal::WhenDue).await;
        assert!(
            rounds.iter().all(|round| round.outcome == RoundOutcome::Issued),
            "{rounds:?}\n{}",
            lab.said()
        );
        let stored = lab.store().account(&name).await.expect("the store").expect("an account");
        assert_eq!(stored.url.as_deref(), Some(url.as_str()));
        let now = AccountKey::from_pem(stored.key.expose_secret()).expect("a key");
        assert!(now.is_es256() && stored.next_key.is_none());
        // One change for both certificates; a key of this kind stays.
        assert_eq!(now.thumbprint() == key.thumbprint(), kind == KeyType::Ec256);
        let changes = lab.said().matches("has a new key").count();
        assert_eq!(changes, usize::from(kind != KeyType::Ec256), "{}", lab.said());
        assert_eq!(acme.find_account(&now).await.expect("it is registered"), url);
    }
}

/// A CA that refuses another key gets its orders with the old one.
#[tokio::test]
async fn an_account_whose_key_cannot_be_changed_orders_with_it() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let refused =
        r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"no other key","status":403}"#;
    let proxy = crate::faults_ca::proxy(&lab, move |line, _| {
        if line == "POST /rollover-account-key" {
            return Fault::Answer("403 Forbidden".into(), String::new(), refused.into());
        }
        Fault::Pass
    });
    let pem = KeyPair::generate(KeyType::Rsa2048).expect("a key").pem();
    let key = AccountKey::from_pem(pem.expose_secret()).expect("a key");
    let engine = crate::faults_ca::through(&lab, &proxy);
    let acme = Acme::new(proxy.directory(), Http::new(Some(proxy.root())).expect("a client"));
    let url = acme.register(&key, &[], None).await.expect("an account");
    let adopted = StoredAccount { key: pem, url: Some(url), next_key: None };
    lab.store().save_account(&account_key(&proxy.directory()), &adopted).await.expect("the store");
    let outcome = engine.round(&certificate(&["a.example.test"]), Renewal::WhenDue).await.outcome;
    assert_eq!(outcome, RoundOutcome::Issued, "{}", lab.said());
    assert!(lab.said().contains("the account keeps the key it came with"), "{}", lab.said());
}

#[tokio::test]
async fn another_process_gives_the_account_another_key() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let wanted = certificate(&["a.example.test"]);
    let (daemon, command) = (lab.engine(), lab.engine());
    assert_eq!(daemon.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let before = daemon.account("pebble").await.expect("an account");
    command.roll_over("pebble").await.expect("a change");
    assert_eq!(daemon.round(&wanted, Renewal::Forced).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let after = daemon.account("pebble").await.expect("an account");
    assert!(before.url() == after.url() && before.key().thumbprint() != after.key().thumbprint());
    // Both at once: one after the other, and neither loses the account.
    let both = tokio::join!(daemon.roll_over("pebble"), command.roll_over("pebble"));
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
    assert_eq!(daemon.round(&wanted, Renewal::Forced).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(command.round(&wanted, Renewal::Forced).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(lab.pebble.logged("There are now 2 accounts"), 0);
}

/// A server of rustls that asks the live resolver.
async fn serve(live: Arc<LiveCertificates>) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(live);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(tcp).await.map(drop) });
        }
    });
    address
}

#[tokio::test]
async fn two_kinds_of_keys_are_served_side_by_side() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let live = LiveCertificates::new();
    let mut news = live.subscribe();
    let engine = lab.bare(&lab.pebble.directory()).provider("knot", Arc::new(crate::lab::rfc2136(&lab.knot)));
    let engine = Arc::new(engine.live(live.clone()));
    let both = [KeyType::Ec384, KeyType::Rsa2048].map(|kind| {
        let mut wanted = certificate(&["a.example.test", "*.a.example.test"]);
        wanted.spec.id = format!("a-{kind}");
        wanted.spec.key_type = kind;
        wanted
    });
    let outcomes = engine.run_once(&both, Renewal::WhenDue).await;
    assert!(
        outcomes.iter().all(|outcome| outcome.outcome == RoundOutcome::Issued),
        "{outcomes:?}\n{}",
        lab.said()
    );
    let address = serve(live.clone()).await;
    let shown = async |name: &str, signatures: OfferedSignatures| {
        served_serial(&address, Greeting::Tls, name, signatures, Duration::from_secs(10)).await
    };
    for (wanted, signatures) in both.iter().zip([OfferedSignatures::NotRsa, OfferedSignatures::Rsa]) {
        let held = engine.state(wanted).await.expect("a state").held.expect("a certificate");
        assert_eq!(held.key_type, wanted.spec.key_type.as_str());
        for name in ["a.example.test", "any.a.example.test"] {
            assert_eq!(shown(name, signatures).await.expect("a serial"), held.serial, "{name}");
        }
        assert!(shown("b.example.test", signatures).await.is_err(), "a stranger's name");
    }
    // A new one is in use without a restart.
    let before = shown("a.example.test", OfferedSignatures::NotRsa).await.expect("a serial");
    assert_eq!(engine.round(&both[0], Renewal::Forced).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let after = shown("a.example.test", OfferedSignatures::NotRsa).await.expect("a serial");
    let held = engine.state(&both[0]).await.expect("a state").held.expect("a certificate");
    assert!(before != after && after == held.serial);
    let mut heard = Vec::new();
    while let Ok(one) = news.try_recv() {
        heard.push(one.id);
    }
    // The self-signed ones that came first, too.
    assert_eq!(heard.iter().filter(|id| *id == "a-ec384").count(), 3, "{heard:?}");
}
