//! A clock of the embedding program's own.

use crate::lab::{Lab, certificate};
use acme_dns01::engine::{Clock, EngineEvent, SystemClock};
use acme_dns01::store::Store;
use acme_dns01::{DAY, Record, State, Time};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Fault, PebbleVersion};
use tokio::sync::{mpsc, watch};

/// A clock that only the test advances.
#[derive(Debug)]
struct TestClock(watch::Sender<Time>);

#[async_trait::async_trait]
impl Clock for TestClock {
    fn now(&self) -> Time {
        *self.0.borrow()
    }

    async fn sleep(&self, pause: Duration) {
        let until = self.now().after(pause);
        // The sender lives as long as the clock.
        let _ = self.0.subscribe().wait_for(|now| *now >= until).await;
    }
}

/// Returns the next serial number, while the clock runs as fast as the system's. `what` is in the message of a failure.
async fn next_serial(what: &str, serials: &mut mpsc::UnboundedReceiver<String>, clock: &TestClock) -> String {
    for _ in 0..1200 {
        match tokio::time::timeout(Duration::from_millis(100), serials.recv()).await {
            Ok(serial) => return serial.expect("the engine is running"),
            Err(_) => clock.0.send_modify(|now| *now = now.after(Duration::from_millis(100))),
        }
    }
    panic!("{what}: no certificate is installed within two minutes");
}

#[tokio::test]
async fn a_certificate_is_renewed_by_the_clock_that_is_given() {
    let lab = Lab::start(PebbleVersion::V2_4);
    // The CA's clock would prevail over the given one: the directory and renewal information have its Date field.
    let proxy = crate::faults_ca::proxy(&lab, |line, _| {
        if line.starts_with("GET ") {
            return Fault::Replace("\r\nDate: ".into(), "\r\nX-Date: ".into());
        }
        Fault::Pass
    });
    let begin = SystemClock.now();
    let clock = Arc::new(TestClock(watch::Sender::new(begin)));
    let (installed, mut serials) = mpsc::unbounded_channel();
    let engine =
        crate::faults_ca::through(&lab, &proxy).clock(clock.clone()).observer(Arc::new(move |_, event| {
            if let EngineEvent::Installed { serial, .. } = event {
                let _ = installed.send(serial.clone());
            }
        }));
    let (engine, wanted) = (Arc::new(engine), certificate(&["a.example.test"]));
    let running = tokio::spawn({
        let (engine, wanted) = (engine.clone(), wanted.clone());
        async move { engine.run(&[wanted]).await }
    });
    let first = next_serial("the first", &mut serials, &clock).await;
    let status = engine.certificate_status(&wanted).await.expect("a status");
    assert!(status.due.at > clock.now().after(DAY * 30), "{:?}", status.due);
    // One day before it is due nothing happens, although the engine looks; a day later it is renewed.
    clock.0.send_replace(status.due.at.before(DAY));
    let until = tokio::time::Instant::now() + Duration::from_millis(500);
    while tokio::time::Instant::now() < until {
        clock.0.send_modify(|now| *now = now.after(Duration::from_secs(3600)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        clock.now() < status.due.at && serials.try_recv().is_err(),
        "it is not due before {:?}",
        status.due
    );
    clock.0.send_replace(status.due.at.after(Duration::from_secs(3600)));
    let second = next_serial("the renewed one", &mut serials, &clock).await;
    engine.stop();
    // The pause of a round ends at a stop.
    running.await.expect("no panic");
    assert_ne!(first, second);
    let records = lab.store().journal(&wanted.spec.id).await.expect("a journal");
    let began: Vec<Time> = records
        .iter()
        .filter_map(|record| match record {
            Record::Began { at, .. } => Some(*at),
            _ => None,
        })
        .collect();
    assert!(began[0] < begin.after(DAY) && began[1] >= status.due.at, "{began:?}");
    assert_eq!(State::replay(&records).failures, 0, "{records:?}");
}

#[tokio::test]
async fn a_folder_that_was_deleted_is_noticed_within_a_minute() {
    let lab = Lab::start(PebbleVersion::V2_4);
    let clock = Arc::new(TestClock(watch::Sender::new(SystemClock.now())));
    let (installed, mut serials) = mpsc::unbounded_channel();
    let engine = lab
        .bare(&lab.pebble.directory())
        .provider("knot", Arc::new(crate::lab::rfc2136(&lab.knot)))
        .clock(clock.clone())
        .observer(Arc::new(move |_, event| {
            if let EngineEvent::Installed { serial, .. } = event {
                let _ = installed.send(serial.clone());
            }
        }));
    let (engine, wanted) = (Arc::new(engine), certificate(&["a.example.test"]));
    let running = tokio::spawn({
        let (engine, wanted) = (engine.clone(), wanted.clone());
        async move { engine.run(&[wanted]).await }
    });
    let first = next_serial("the first", &mut serials, &clock).await;
    // The round ends, and the engine sleeps.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        clock.0.send_modify(|now| *now = now.after(Duration::from_secs(1)));
    }
    std::fs::remove_dir_all(lab.folder.path().join("acme/a.example.test")).expect("a folder");
    clock.0.send_modify(|now| *now = now.after(Duration::from_secs(60)));
    let second =
        tokio::time::timeout(Duration::from_secs(20), next_serial("the restored one", &mut serials, &clock))
            .await;
    engine.stop();
    running.await.expect("no panic");
    assert_ne!(second.expect("it is noticed"), first);
}
