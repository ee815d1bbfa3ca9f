//! Certificates that are held back because a DNS provider or authority that they may need is not ready.

use super::locator::HeldBack;
use super::{Certificate, Engine, EngineEvent};
use crate::machine::{Action, Alert, Attempt, Awaited};
use crate::provider::Readiness;
use crate::time::DAY;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pause before the decision to hold a certificate back is made again, since zones and CNAME records may have changed.
pub(super) const HOLD_PAUSE: Duration = Duration::from_secs(60);
/// Pause before the credentials of a provider or authority that is not ready are looked at again.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Time for which a certificate is held back before an alert is raised: at a boot, secrets come a little later.
const ALERT_AFTER: Duration = Duration::from_secs(600);

/// A certificate that is held back.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    /// The provider or authority, and the reason.
    held: HeldBack,
    /// Time of the next alert, by the monotonic clock.
    alert_at: Instant,
    /// `true` if an alert was raised.
    alerted: bool,
}

impl Holding {
    /// Creates a holding that begins at `now`.
    fn begin(held: HeldBack, now: Instant) -> Self {
        Self { held, alert_at: now + ALERT_AFTER, alerted: false }
    }

    /// Returns `true` if an alert is due at `now`, and schedules the next one for a day later.
    fn alert(&mut self, now: Instant) -> bool {
        if now < self.alert_at {
            return false;
        }
        self.alert_at = now + DAY;
        self.alerted = true;
        true
    }
}

/// Returns `true` if the engine must decide before this action whether the certificate is held back: before the first
/// action of an attempt, and before each later one that leads to an order or that fails without a provider. `false` for
/// an attempt whose order is validated, since it is completed without a provider.
pub(super) fn decides(action: &Action, attempt: Option<&Attempt>) -> bool {
    let decides = matches!(
        action,
        Action::Directory { .. } | Action::Preflight { .. } | Action::FindOrder | Action::NewOrder { .. }
    );
    decides && !attempt.is_some_and(Attempt::is_validated)
}

impl Engine {
    /// Returns the authority or provider for which a certificate is held back now: the first of its authorities if none
    /// of them is ready; a provider that is not ready and, according to its settings, may match the zone of one of the
    /// certificate's names better than every other provider; or else, if the DNS does not answer for a name, the first
    /// provider that is not ready. `None` if the certificate needs no such authority or provider. An authority that
    /// lacks only its external account binding is ready if its account is registered. Does not consider whether the
    /// certificate is due. Checks the credentials anew, and queries the DNS and the services only if a provider is not
    /// ready.
    pub async fn held_back(&self, certificate: &Certificate) -> Option<HeldBack> {
        let spec = &certificate.spec;
        if let Some(held) = self.accounts.held_back(&spec.authorities).await {
            return Some(held);
        }
        let names = spec.names.iter().map(crate::name::Name::challenge).collect();
        self.locator.held_back(&names, &spec.providers).await
    }

    /// Returns the current readiness of the DNS provider with this configured name. `None` if there is no such
    /// provider.
    pub async fn readiness(&self, provider: &str) -> Option<Readiness> {
        Some(self.locator.provider(provider)?.readiness().await)
    }

    /// Returns `true` if a provider or authority is ready, or not configured.
    async fn is_ready(&self, awaited: &Awaited) -> bool {
        match awaited {
            Awaited::Authority(name) => self.accounts.lacks(name).await.is_none(),
            Awaited::Provider(name) => {
                !matches!(self.readiness(name).await, Some(Readiness::NotReady { .. }))
            }
        }
    }

    /// Returns the certificates that were due and held back in their last round, by id.
    #[must_use]
    pub fn holdings(&self) -> BTreeMap<String, HeldBack> {
        self.reporter.holdings().iter().map(|(id, holding)| (id.clone(), holding.held.clone())).collect()
    }

    /// Sleeps for `pause`, or until the engine is stopped. If the certificate was held back in its last round, sleeps
    /// for [`HOLD_PAUSE`] at most, and until the provider or authority that it waits for is ready.
    pub(super) async fn sleep_or_release(&self, id: &str, pause: Duration) {
        let awaited = self.reporter.holdings().get(id).map(|holding| holding.held.awaited.clone());
        let Some(awaited) = awaited else {
            self.sleep(pause).await;
            return;
        };
        let mut left = pause.min(HOLD_PAUSE);
        while !left.is_zero() {
            let part = left.min(LOOK_PAUSE);
            if !self.sleep(part).await || self.is_ready(&awaited).await {
                return;
            }
            left -= part;
        }
    }

    /// Returns the provider or authority for which a due certificate is held back, and records it by
    /// [`record_holding`](Self::record_holding). `None` if the certificate is not held back.
    pub(super) async fn look_at_holding(&self, certificate: &Certificate) -> Option<HeldBack> {
        let found = self.held_back(certificate).await;
        self.record_holding(&certificate.spec.id, found.as_ref()).await;
        found
    }

    /// Records the provider or authority for which a certificate is held back, `None` if it is not held back. Reports
    /// an event when the certificate begins or ceases to be held back or the reason changes, an alert after ten minutes
    /// and then once a day, and another alert at the end if one was raised before.
    pub(super) async fn record_holding(&self, id: &str, found: Option<&HeldBack>) {
        let (event, alert) = {
            let mut all = self.reporter.holdings();
            match (found, all.remove(id)) {
                (None, None) => (None, None),
                (None, Some(former)) => {
                    let awaited = former.held.awaited;
                    let alert = former.alerted.then(|| Alert::Released { awaited: awaited.clone() });
                    (Some(EngineEvent::Released(awaited)), alert)
                }
                (Some(held), former) => {
                    let same = former.as_ref().is_some_and(|former| former.held == *held);
                    let mut holding = former.unwrap_or_else(|| Holding::begin(held.clone(), Instant::now()));
                    holding.held = held.clone();
                    let alert =
                        holding.alert(Instant::now()).then(|| Alert::HeldBack { why: held.to_string() });
                    all.insert(id.to_owned(), holding);
                    ((!same).then(|| EngineEvent::HeldBack(held.clone())), alert)
                }
            }
        };
        if let Some(event) = event {
            self.reporter.event(id, &event);
        }
        if let Some(alert) = alert {
            self.reporter.alert(id, &alert).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_after_ten_minutes_and_then_daily() {
        let held = HeldBack { awaited: Awaited::Provider("a".to_owned()), reason: "no token".to_owned() };
        let begin = Instant::now();
        let mut holding = Holding::begin(held, begin);
        let minutes = |count: u64| begin + Duration::from_secs(60 * count);
        let alerts: Vec<u64> = (0..3000).filter(|minute| holding.alert(minutes(*minute))).collect();
        assert_eq!(alerts, [10, 10 + 24 * 60, 10 + 48 * 60]);
        assert!(holding.alerted);
    }

    #[test]
    fn an_attempt_whose_order_was_validated_needs_no_provider() {
        let directory = Action::Directory { authority: "ca".to_owned() };
        let ordered = Attempt { order: Some("https://ca.test/1".to_owned()), ..Attempt::default() };
        assert!(decides(&directory, None) && decides(&directory, Some(&ordered)));
        assert!(decides(&Action::FindOrder, Some(&Attempt { ordering: true, ..Attempt::default() })));
        assert!(decides(&Action::NewOrder { replaces: None }, None));
        let finalizing = Attempt { finalizing: true, ..ordered.clone() };
        let issued = Attempt { issued: Some("https://ca.test/2".to_owned()), ..ordered };
        assert!(!decides(&directory, Some(&finalizing)) && !decides(&directory, Some(&issued)));
    }
}
