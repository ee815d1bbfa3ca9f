//! Events, alerts and counters of the engine.

use super::blocked::BlockedCertificate;
use super::events::{EngineEvent, Observer};
use crate::alert::AlertSink;
use crate::machine::{Alert, Record};
use crate::time::{DAY, Time};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Consecutive transient store failures from which an alert is raised. A permanent failure raises it at once.
const ALERT_AFTER_TRANSIENT: u32 = 4;
/// Time before the alert about a failing store is repeated: after the first alert, the second, the third, and every
/// later one.
const REPEAT: [Duration; 4] =
    [Duration::from_secs(600), Duration::from_secs(6000), Duration::from_secs(43_200), DAY];

/// Counters of an engine since it was created, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Newly issued certificates that were installed. Placeholders and restored certificates do not count.
    pub issued: u64,
    /// Issuance attempts that failed or were suspended.
    pub failed: u64,
    /// Orders that were created, or found again after an interruption.
    pub orders: u64,
    /// Alerts that were raised, each counted once for all sinks.
    pub alerts: u64,
    /// Failed deliveries of alerts, each sink counted.
    pub alerts_lost: u64,
}

/// Failures of the store and alerts about them, for one certificate.
#[derive(Debug, Default)]
struct StoreFailures {
    /// Number of consecutive failures of the store.
    failures: u32,
    /// Alerts since the first of these failures.
    alerts: usize,
    /// Time before which no further alert is raised. `None` before the first failure.
    quiet_until: Option<Time>,
}

/// Passes events to the observer and alerts to the sinks, and counts both.
#[derive(Default)]
pub(super) struct Reporter {
    /// Callback for every event. `None` drops them.
    pub(super) observer: Option<Observer>,
    /// Alert sinks, each of which receives every alert.
    pub(super) sinks: Vec<Arc<dyn AlertSink>>,
    counts: Mutex<Counts>,
    /// Failures of the store, by certificate id. Entries are removed when the store works again.
    stores: Mutex<BTreeMap<String, StoreFailures>>,
    /// Certificates that are held back, by id.
    blocked: Mutex<BTreeMap<String, BlockedCertificate>>,
}

/// Locks a mutex, even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reporter {
    /// Returns the counters so far.
    pub(super) fn counts(&self) -> Counts {
        lock(&self.counts).clone()
    }

    /// Returns the certificates that are held back, locked until the guard is dropped.
    pub(super) fn blocked(&self) -> MutexGuard<'_, BTreeMap<String, BlockedCertificate>> {
        lock(&self.blocked)
    }

    /// Passes an event to the observer, if there is one.
    pub(super) fn event(&self, id: &str, event: &EngineEvent) {
        if let Some(observer) = &self.observer {
            observer(id, event);
        }
    }

    /// Reports a note as an event.
    pub(super) fn note(&self, id: &str, text: impl Into<String>) {
        self.event(id, &EngineEvent::Note(text.into()));
    }

    /// Counts a journal record, and passes its event to the observer if it has one.
    pub(super) fn record(&self, id: &str, record: &Record) {
        match record {
            Record::Ordered { .. } => lock(&self.counts).orders += 1,
            Record::Installed { .. } => lock(&self.counts).issued += 1,
            Record::Failed { .. } | Record::Stalled { pending: false, .. } => lock(&self.counts).failed += 1,
            _ => {}
        }
        if let Some(event) = EngineEvent::of(record) {
            self.event(id, &event);
        }
    }

    /// Counts an alert, reports it as an event, and sends it to every sink concurrently. [`Alert::Failing`],
    /// [`Alert::Undeployed`] and [`Alert::RolledBack`] are no events, since their journal records are, and neither is
    /// [`Alert::Unblocked`], which has an event of its own. A failed delivery is counted and reported as lost, and not
    /// repeated.
    pub(super) async fn alert(&self, id: &str, alert: &Alert) {
        lock(&self.counts).alerts += 1;
        // For these alerts another event has the same text, in most cases that of a journal record.
        if !matches!(
            alert,
            Alert::Failing { .. }
                | Alert::Undeployed { .. }
                | Alert::RolledBack { .. }
                | Alert::Unblocked { .. }
        ) {
            self.event(id, &EngineEvent::Alert(alert.clone()));
        }
        let mut sent = Vec::new();
        for sink in &self.sinks {
            sent.push(sink.send(id, alert));
        }
        for error in join_all(sent).await.into_iter().filter_map(Result::err) {
            lock(&self.counts).alerts_lost += 1;
            self.event(id, &EngineEvent::AlertLost(crate::error_chain(&error)));
        }
    }

    /// Counts a failure of the store for a certificate at the time `now`. Returns the number of consecutive failures if an alert is due,
    /// and starts the pause of [`REPEAT`] until the next. `None` within that pause, and for a transient failure before
    /// the fourth consecutive one.
    pub(super) fn store_failed(&self, id: &str, transient: bool, now: Time) -> Option<u32> {
        let mut all = lock(&self.stores);
        let state = all.entry(id.to_owned()).or_default();
        state.failures = state.failures.saturating_add(1);
        if *state.quiet_until.get_or_insert(now) > now
            || (transient && state.failures < ALERT_AFTER_TRANSIENT)
        {
            return None;
        }
        state.quiet_until = Some(now.after(REPEAT[state.alerts.min(REPEAT.len() - 1)]));
        state.alerts += 1;
        Some(state.failures)
    }

    /// Resets the consecutive failures of the store for a certificate.
    pub(super) fn store_works(&self, id: &str) {
        lock(&self.stores).remove(id);
    }
}
