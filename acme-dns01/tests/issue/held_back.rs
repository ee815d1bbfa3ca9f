//! Certificates that are held back while a provider is not ready: nothing is spent, and nothing waits in vain.

use crate::lab::{Lab, certificate, dns, rfc2136};
use acme_dns01::engine::{Authority, Engine, EngineEvent, Renewal, RoundOutcome};
use acme_dns01::provider::{Provider, ProviderError, Reach, Readiness, Rfc2136, ZoneMatch};
use acme_dns01::store::Store;
use acme_dns01::{Record, Time};
use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use testkit::{PebbleVersion, free_port};

/// A provider of any zone that may lack its secret.
#[derive(Debug)]
struct Later {
    inner: Rfc2136,
    ready: AtomicBool,
}

impl Later {
    fn new(lab: &Lab, ready: bool) -> Arc<Self> {
        Arc::new(Self { inner: rfc2136(&lab.knot), ready: ready.into() })
    }

    fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }
}

#[async_trait]
impl Provider for Later {
    async fn readiness(&self) -> Readiness {
        match self.ready.load(Ordering::SeqCst) {
            true => Readiness::Ready,
            false => Readiness::NotReady { reach: Reach::Any, reason: "no secret".to_owned() },
        }
    }

    async fn zone(&self, name: &str, apex: &str) -> Result<Option<ZoneMatch>, ProviderError> {
        Provider::zone(&self.inner, name, apex).await
    }

    async fn add(&self, zone: &str, name: &str, value: &str) -> Result<Option<String>, ProviderError> {
        self.inner.add(zone, name, value).await
    }

    async fn remove(
        &self,
        zone: &str,
        name: &str,
        value: &str,
        id: Option<&str>,
    ) -> Result<(), ProviderError> {
        self.inner.remove(zone, name, value, id).await
    }
}

fn orders(lab: &Lab) -> usize {
    lab.pebble.logged("POST /order-plz")
}

#[tokio::test]
async fn an_order_that_is_finalized_is_completed_without_the_provider() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let later = Later::new(&lab, true);
    let itself: Arc<OnceLock<Weak<Engine>>> = Arc::default();
    let known = itself.clone();
    let engine = lab.bare(&lab.pebble.directory()).provider("later", later.clone());
    let engine = Arc::new(engine.observer(Arc::new(move |_, event| {
        if *event == EngineEvent::Issuing {
            known.get().and_then(Weak::upgrade).expect("an engine").stop();
        }
    })));
    itself.set(Arc::downgrade(&engine)).expect("empty");
    let certificate = certificate(&["a.example.test"]);
    engine.round(&certificate, Renewal::WhenDue).await;
    let state = engine.certificate_status(&certificate).await.expect("a state").state;
    assert!(state.attempt.is_some_and(|attempt| attempt.finalizing), "{}", lab.said());
    later.set(false);
    let engine = lab.bare(&lab.pebble.directory()).provider("later", later.clone());
    let round = engine.round(&certificate, Renewal::WhenDue).await;
    assert_eq!(round.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(orders(&lab), 1, "{}", lab.said());
}

#[tokio::test]
async fn no_failure_and_no_order_while_neither_dns_nor_secret_are_there() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let later = Later::new(&lab, false);
    let away = dns(([127, 0, 0, 1], free_port()).into());
    let directory = lab.pebble.directory();
    let mut engine = Engine::new(Arc::new(lab.store()), away).provider("later", later.clone());
    for name in ["pebble", "second"] {
        engine = engine.authority(name, Authority::new(lab.acme(&directory)));
    }
    let mut certificate = certificate(&["a.example.test"]);
    certificate.spec.authorities.push("second".to_owned());
    let held = async |engine: &Engine| {
        let round = engine.round(&certificate, Renewal::WhenDue).await;
        let RoundOutcome::Blocked { by, .. } = &round.outcome else { panic!("{round:?}") };
        assert!(by.reason.contains("no secret") && by.reason.contains("the DNS does not answer"), "{by}");
        engine.certificate_status(&certificate).await.expect("a state").state
    };
    let state = held(&engine).await;
    assert_eq!((state.failures, state.attempt), (0, None));
    // An order that may have been placed is not placed again without the checks before it.
    let (store, id) = (lab.store(), certificate.spec.id.as_str());
    let (at, authority, why) = (Time::default(), "pebble".to_owned(), "it is missing".to_owned());
    let began = Record::Began { at, authority, why, replaces: None, request: None };
    for record in [began, Record::Ordering { at }] {
        store.append(id, &record).await.expect("a journal");
    }
    let state = held(&engine).await;
    assert_eq!(state.failures, 0);
    assert_eq!(orders(&lab), 0);
    later.set(true);
    let engine = lab.bare(&directory).provider("later", later);
    let engine = engine.authority("second", Authority::new(lab.acme(&directory)));
    let round = engine.round(&certificate, Renewal::WhenDue).await;
    assert_eq!(round.outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn a_certificate_that_is_not_due_is_not_held_back() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let later = Later::new(&lab, true);
    let engine = lab.bare(&lab.pebble.directory()).provider("later", later.clone());
    let certificate = certificate(&["a.example.test"]);
    let round = engine.round(&certificate, Renewal::WhenDue).await;
    assert_eq!(round.outcome, RoundOutcome::Issued, "{}", lab.said());
    later.set(false);
    let not_due = async || {
        let round = engine.round(&certificate, Renewal::WhenDue).await;
        assert!(matches!(round.outcome, RoundOutcome::NotDue { .. }), "{round:?}: {}", lab.said());
        assert!(engine.blocked_certificates().is_empty());
    };
    not_due().await;
    assert!(!lab.said().contains("held back"), "{}", lab.said());
    let round = engine.round(&certificate, Renewal::Forced).await;
    assert!(matches!(round.outcome, RoundOutcome::Blocked { .. }), "{round:?}");
    assert_eq!(engine.blocked_certificates().len(), 1);
    // Another host may have renewed it.
    not_due().await;
    assert!(lab.said().contains("no longer held back"), "{}", lab.said());
}
