//! A CA and a network that do what they should not: faults 10, 11, 16 to 20, 24, 25.

use crate::lab::{Lab, certificate, rfc2136};
use acme_dns01::client::{Acme, Http};
use acme_dns01::engine::{Authority, Engine, Renewal, RoundOutcome};
use acme_dns01::store::Store;
use acme_dns01::{Limits, RenewalReason, renewal_due};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::{Fault, FaultProxy, PebbleVersion};

const TOO_MANY: &str =
    r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new orders","status":429}"#;

/// An engine that reaches Pebble through a proxy.
pub(crate) fn through(lab: &Lab, proxy: &FaultProxy) -> Engine {
    let acme = Acme::new(proxy.directory(), Http::new(Some(proxy.root())).expect("a client"));
    let said = lab.said.clone();
    Engine::new(Arc::new(lab.store()), crate::lab::dns(lab.knot.address()))
        .authority("pebble", Authority::new(acme))
        .provider("knot", Arc::new(rfc2136(&lab.knot)))
        .observer(Arc::new(move |id, what| said.lock().expect("no panic").push(format!("{id}: {what}"))))
}

pub(crate) fn proxy(lab: &Lab, script: impl Fn(&str, usize) -> Fault + Send + Sync + 'static) -> FaultProxy {
    FaultProxy::start(lab.pebble.address(), lab.pebble.tls_root(), script)
}

#[tokio::test]
async fn fault_10_nine_nonces_of_ten_are_refused() {
    let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", "")], &[("PEBBLE_WFE_NONCEREJECT", "90")]);
    let outcome = lab.engine().round(&certificate(&["a.example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn fault_11_authorizations_that_are_valid_already_need_no_dns() {
    let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", "")], &[("PEBBLE_AUTHZREUSE", "100")]);
    let certificate = certificate(&["a.example.test"]);
    assert_eq!(
        lab.engine().round(&certificate, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    let before = lab.said().matches("TXT ").count();
    assert_eq!(
        lab.engine().round(&certificate, Renewal::Forced).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    assert_eq!((before, lab.said().matches("TXT ").count()), (1, 1), "{}", lab.said());
}

#[tokio::test]
async fn fault_16_retry_after_holds_over_a_restart() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let proxy = proxy(&lab, |line, _| {
        if line == "POST /order-plz" {
            return Fault::Answer(
                "429 Too Many Requests".into(),
                "Retry-After: 7200\r\n".into(),
                TOO_MANY.into(),
            );
        }
        Fault::Pass
    });
    let certificate = certificate(&["a.example.test"]);
    let outcome = through(&lab, &proxy).round(&certificate, Renewal::WhenDue).await;
    assert!(
        matches!(&outcome.outcome, RoundOutcome::Failed { reason: why, .. } if why.contains("too many new orders")),
        "{outcome:?}"
    );
    let before = proxy.requests().len();
    for _ in 0..3 {
        // Another process, as it were.
        let outcome = through(&lab, &proxy).round(&certificate, Renewal::WhenDue).await;
        let now = acme_dns01::Time::parse_rfc3339("2020-01-01T00:00:00Z").expect("a date");
        assert!(
            matches!(outcome.outcome, RoundOutcome::Failed { retry_at: until, .. } if until > now),
            "{outcome:?}"
        );
    }
    assert_eq!(proxy.requests().len(), before, "not one request before the deadline");
    let ledger = lab.store().ledger().await.expect("a ledger");
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
    let refusal =
        ledger.check_retry_after(acme_dns01::Time::from_secs(since), "pebble").expect_err("it is closed");
    assert!((7000..=7200).contains(&(refusal.until.secs() - since)), "{refusal}");
}

#[tokio::test]
async fn fault_17_a_503_in_html_is_tried_again() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let proxy = proxy(&lab, |line, before| {
        if line == "POST /order-plz" && before < 2 || line.starts_with("POST /finalize") && before == 0 {
            let html = "<html>Service Unavailable</html>".to_owned();
            return Fault::Answer(
                "503 Service Unavailable".into(),
                "Content-Type: text/html\r\n".into(),
                html,
            );
        }
        Fault::Pass
    });
    let outcome = through(&lab, &proxy).round(&certificate(&["a.example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_order() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let proxy =
        proxy(
            &lab,
            |line, before| {
                if line == "POST /order-plz" && before == 0 { Fault::Swallow } else { Fault::Pass }
            },
        );
    let outcome = through(&lab, &proxy).round(&certificate(&["a.example.test"]), Renewal::WhenDue).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(lab.pebble.logged("There are now 2 orders"), 0);
}

#[tokio::test]
async fn fault_18_ari_that_is_no_sense_leaves_the_lifetime() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let certificate = certificate(&["a.example.test"]);
    assert_eq!(
        lab.engine().round(&certificate, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    let pem = lab.store().current("a.example.test").await.expect("the store").expect("a pair").chain;
    for nonsense in [
        "{}",
        r#"{"suggestedWindow":{"start":"2026-01-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}"#,
        r#"{"suggestedWindow":{"start":"tomorrow","end":"later"}}"#,
    ] {
        lab.pebble.set_renewal_info(&pem, nonsense);
        // What was learned before is forgotten, so that it is asked again.
        let mut state = lab.engine().state(&certificate).await.expect("a state");
        state.ari = None;
        lab.store().compact("a.example.test", &state).await.expect("the store");
        let outcome = lab.engine().round(&certificate, Renewal::WhenDue).await;
        assert!(matches!(outcome.outcome, RoundOutcome::NotDue { .. }), "{nonsense}: {outcome:?}");
        let state = lab.engine().state(&certificate).await.expect("a state");
        assert!(state.ari.as_ref().is_some_and(|ari| ari.info.is_none()), "{nonsense}: {state:?}");
        assert!(matches!(renewal_due(&certificate.spec, &state, None).reason, RenewalReason::Lifetime(_)));
    }
}

#[tokio::test]
async fn fault_19_and_20_a_window_in_the_past_and_already_replaced() {
    let lab = Lab::start(PebbleVersion::V2_10);
    // Armed for the third round, not for a third request: one whose answer is late is made again.
    let replaced = Arc::new(AtomicBool::new(false));
    let armed = replaced.clone();
    let proxy = proxy(&lab, move |line, _| {
        if line == "POST /order-plz" && armed.swap(false, Ordering::SeqCst) {
            let content =
                r#"{"type":"urn:ietf:params:acme:error:alreadyReplaced","detail":"replaced","status":409}"#;
            return Fault::Answer("409 Conflict".into(), String::new(), content.into());
        }
        Fault::Pass
    });
    let certificate = certificate(&["a.example.test"]);
    assert_eq!(
        through(&lab, &proxy).round(&certificate, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    let past = r#"{"suggestedWindow":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}}"#;
    let renew = async |engine: &Engine| {
        let pem = lab.store().current("a.example.test").await.expect("the store").expect("a pair").chain;
        lab.pebble.set_renewal_info(&pem, past);
        let mut state = engine.state(&certificate).await.expect("a state");
        state.ari = None;
        lab.store().compact("a.example.test", &state).await.expect("the store");
        let outcome = engine.round(&certificate, Renewal::WhenDue).await;
        assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    };
    renew(&through(&lab, &proxy)).await;
    assert!(lab.said().contains("the CA suggests 2026-01-01"), "{}", lab.said());
    let records = lab.store().journal("a.example.test").await.expect("a journal");
    let says_what =
        records.iter().any(|record| matches!(record, acme_dns01::Record::Began { replaces: Some(_), .. }));
    assert!(says_what, "the order says what it replaces");
    // The CA says that it was replaced already: once more, without.
    let before = proxy.count("POST /order-plz");
    replaced.store(true, Ordering::SeqCst);
    renew(&through(&lab, &proxy)).await;
    assert!(!replaced.load(Ordering::SeqCst), "the CA was asked");
    let orders = proxy.count("POST /order-plz") - before;
    assert!(orders >= 2, "{orders}: {:?}\n{}", proxy.requests(), lab.said());
    let records = lab.store().journal("a.example.test").await.expect("a journal");
    let asked = records.iter().filter(|record| matches!(record, acme_dns01::Record::Ordering { .. })).count();
    assert!(asked >= 2, "{records:?}\n{}", lab.said());
}

#[tokio::test]
async fn a_ca_that_stumbles_over_what_is_replaced_is_asked_without() {
    let lab = Lab::start(PebbleVersion::V2_10);
    let certificate = certificate(&["a.example.test"]);
    let internal =
        r#"{"type":"urn:ietf:params:acme:error:serverInternal","detail":"no such order","status":500}"#;
    let proxy = proxy(&lab, move |line, before| {
        if line == "POST /order-plz" && (1..=3).contains(&before) {
            return Fault::Answer("500 Internal Server Error".into(), String::new(), internal.into());
        }
        Fault::Pass
    });
    let first = through(&lab, &proxy).round(&certificate, Renewal::WhenDue).await;
    assert_eq!(first.outcome, RoundOutcome::Issued, "{}", lab.said());
    let second = through(&lab, &proxy).round(&certificate, Renewal::Forced).await;
    assert_eq!(second.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert_eq!(proxy.count("POST /order-plz"), 5, "{:?}", proxy.requests());
    // What was asked for in vain counts against no limit.
    let ledger = lab.store().ledger().await.expect("a ledger");
    let orders = ledger.entries().filter(|entry| matches!(entry, acme_dns01::Entry::Order { .. }));
    assert!(orders.count() <= 2, "{ledger:?}");
}

#[tokio::test]
async fn fault_24_the_ca_forgot_the_account() {
    let mut lab = Lab::start(PebbleVersion::V2_4);
    let certificate = certificate(&["a.example.test"]);
    assert_eq!(
        lab.engine().round(&certificate, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    // A new Pebble knows nobody.
    lab.pebble.restart();
    let outcome = lab.engine().round(&certificate, Renewal::Forced).await;
    assert_eq!(outcome.outcome, RoundOutcome::Issued, "{}", lab.said());
    assert!(lab.said().contains("does not know the account any more"), "{}", lab.said());
}

#[tokio::test]
async fn fault_25_chains_of_any_length() {
    for length in ["1", "2", "3"] {
        let knobs = [("PEBBLE_CHAIN_LENGTH", length)];
        let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", "")], &knobs);
        let certificate = certificate(&["a.example.test"]);
        assert_eq!(
            lab.engine().round(&certificate, Renewal::WhenDue).await.outcome,
            RoundOutcome::Issued,
            "{}",
            lab.said()
        );
        let read = |name: &str| {
            std::fs::read_to_string(lab.folder.path().join("acme/a.example.test").join(name)).expect("a file")
        };
        let count = |text: &str| text.matches("BEGIN CERTIFICATE").count();
        assert_eq!(
            count(&read("fullchain.pem")).to_string(),
            (length.parse::<usize>().expect("a number") + 1).to_string()
        );
        assert_eq!(count(&read("chain.pem")), count(&read("fullchain.pem")) - 1);
    }
}

#[tokio::test]
async fn alternate_chains_are_chosen_by_their_issuer() {
    let knobs = [("PEBBLE_ALTERNATE_ROOTS", "2")];
    let lab = Lab::with(PebbleVersion::V2_4, &[("example.test", "")], &knobs);
    let mut certificate = certificate(&["a.example.test"]);
    assert_eq!(
        lab.engine().round(&certificate, Renewal::WhenDue).await.outcome,
        RoundOutcome::Issued,
        "{}",
        lab.said()
    );
    let log = lab.pebble.log();
    let roots: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("Generated new root issuer CN=")?.1.split(" with serial").next())
        .collect();
    assert_eq!(roots.len(), 3, "{log}");
    for root in roots {
        certificate.spec.preferred_chain = Some(root.to_owned());
        assert_eq!(
            lab.engine().round(&certificate, Renewal::Forced).await.outcome,
            RoundOutcome::Issued,
            "{}",
            lab.said()
        );
        let chain = lab.store().current("a.example.test").await.expect("the store").expect("a pair").chain;
        assert_eq!(acme_dns01::client::chain_issuers(&chain).last().map(String::as_str), Some(root));
    }
}

#[tokio::test]
async fn the_second_authority_takes_over_and_limits_are_named() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let mut wanted = certificate(&["a.example.test"]);
    wanted.spec.authorities = vec!["gone".into(), "pebble".into()];
    let gone = Acme::new("https://localhost:1/dir", Http::new(None).expect("a client"));
    let engine = lab
        .bare(&lab.pebble.directory())
        .authority("gone", Authority::new(gone))
        .provider("knot", Arc::new(rfc2136(&lab.knot)));
    assert_eq!(engine.round(&wanted, Renewal::WhenDue).await.outcome, RoundOutcome::Issued, "{}", lab.said());
    let held = engine.state(&wanted).await.expect("a state").held.expect("a certificate");
    assert_eq!(held.authority.as_deref(), Some("pebble"));
    // Five for the same names in a week; the sixth is not asked for.
    let mut wanted = certificate(&["b.example.test"]);
    wanted.spec.limits = Limits::default();
    for _ in 0..5 {
        assert_eq!(
            engine.round(&wanted, Renewal::Forced).await.outcome,
            RoundOutcome::Issued,
            "{}",
            lab.said()
        );
    }
    let orders = lab.pebble.logged("POST /order-plz");
    let outcome = engine.round(&wanted, Renewal::Forced).await;
    assert!(
        matches!(&outcome.outcome, RoundOutcome::NotDue { reason: why, .. } if why.contains("exactly these names")),
        "{outcome:?}"
    );
    assert_eq!(lab.pebble.logged("POST /order-plz"), orders);
}
