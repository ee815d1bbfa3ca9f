//! Certificates that are held back because a DNS provider that they may need is not ready.

use super::locator::HeldBack;
use super::{Certificate, Engine, EngineEvent};
use crate::client::now;
use crate::machine::{Action, Alert};
use crate::provider::Readiness;
use crate::time::{DAY, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause before the decision to hold a certificate back is made again, since zones and CNAME records may have changed.
pub(super) const HOLD_PAUSE: Duration = Duration::from_secs(60);
/// Pause before the credentials of a provider that is not ready are looked at again.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Time for which a certificate is held back before an alert is raised: at a boot, secrets come a little later.
const ALERT_AFTER: Duration = Duration::from_secs(600);

/// A certificate that is held back.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    /// The provider and the reason.
    held: HeldBack,
    /// Time of the next alert.
    alert_at: Time,
    /// Number of alerts so far.
    alerts: u32,
}

impl Holding {
    /// Creates a holding that begins at `now`.
    fn begin(held: HeldBack, now: Time) -> Self {
        Self { held, alert_at: now.after(ALERT_AFTER), alerts: 0 }
    }

    /// Returns the number of the alert that is due at `now`, from 1, and has the next one a day later. `None` if none is.
    fn alert(&mut self, now: Time) -> Option<u32> {
        if now < self.alert_at {
            return None;
        }
        self.alert_at = now.after(DAY);
        self.alerts = self.alerts.saturating_add(1);
        Some(self.alerts)
    }
}

/// Returns `true` for an action that leads to an order, an authorization or a TXT record. An attempt that is validated
/// is completed without a provider, except that it begins with the directory, and so waits as well.
pub(super) const fn needs_provider(action: &Action) -> bool {
    matches!(
        action,
        Action::Directory { .. }
            | Action::Account { .. }
            | Action::Preflight { .. }
            | Action::Key
            | Action::NewOrder { .. }
            | Action::FindOrder
            | Action::Locate { .. }
            | Action::Publish(_)
    )
}

impl Engine {
    /// Returns the provider for which a certificate is held back now: one that is not ready, and that has the zone of one
    /// of the certificate's names as far as is known, or may have it while no other provider has. Nothing is ordered for
    /// the certificate meanwhile. `None` if no provider is waited for. Looks at the credentials anew; the DNS and the
    /// services are asked only if a provider is not ready.
    pub async fn held_back(&self, certificate: &Certificate) -> Option<HeldBack> {
        let spec = &certificate.spec;
        let names = spec.names.iter().map(crate::name::Name::challenge).collect();
        self.locator.held_back(&names, &spec.providers).await
    }

    /// Returns the certificates that were held back in their last round, by id.
    #[must_use]
    pub fn holdings(&self) -> BTreeMap<String, HeldBack> {
        self.reporter.holdings().iter().map(|(id, holding)| (id.clone(), holding.held.clone())).collect()
    }

    /// Sleeps for `pause`, or until the engine is stopped. If the certificate was held back in its last round, sleeps for
    /// [`HOLD_PAUSE`] at most, and until the provider that it waits for is ready.
    pub(super) async fn sleep_or_release(&self, id: &str, pause: Duration) {
        let awaited = self.reporter.holdings().get(id).map(|holding| holding.held.provider.clone());
        let Some(provider) = awaited.and_then(|name| self.locator.provider(&name).cloned()) else {
            self.sleep(pause).await;
            return;
        };
        let mut left = pause.min(HOLD_PAUSE);
        while !left.is_zero() {
            let part = left.min(LOOK_PAUSE);
            if !self.sleep(part).await || provider.readiness().await == Readiness::Ready {
                return;
            }
            left -= part;
        }
    }

    /// Looks whether a certificate is held back, and records it for [`holdings`](Self::holdings). Reports an event when
    /// that begins, ends or has another reason, and an alert after ten minutes and then once a day.
    pub(super) async fn look_at_holding(&self, certificate: &Certificate) -> Option<HeldBack> {
        let id = &certificate.spec.id;
        let found = self.held_back(certificate).await;
        let (event, alert) = {
            let mut all = self.reporter.holdings();
            let former = all.remove(id);
            match (&found, former) {
                (None, None) => (None, None),
                (None, Some(former)) => (Some(EngineEvent::Released(former.held.provider)), None),
                (Some(held), former) => {
                    let same = former.as_ref().is_some_and(|former| former.held == *held);
                    let mut holding = former.unwrap_or_else(|| Holding::begin(held.clone(), now()));
                    holding.held = held.clone();
                    let alert = holding.alert(now());
                    all.insert(id.clone(), holding);
                    ((!same).then(|| EngineEvent::HeldBack(held.clone())), alert)
                }
            }
        };
        if let Some(event) = event {
            self.reporter.event(id, &event);
        }
        if let (Some(held), Some(failures)) = (&found, alert) {
            let next = now().after(HOLD_PAUSE);
            self.reporter.alert(id, &Alert::Failing { why: held.to_string(), next, failures }).await;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_after_ten_minutes_and_then_daily() {
        let held = HeldBack { provider: "a".to_owned(), reason: "no token".to_owned() };
        let begin = Time::from_secs(1_000_000);
        let mut holding = Holding::begin(held, begin);
        let minutes = |count: u64| begin.after(Duration::from_secs(60 * count));
        let alerts: Vec<u64> = (0..3000).filter(|minute| holding.alert(minutes(*minute)).is_some()).collect();
        assert_eq!(alerts, [10, 10 + 24 * 60, 10 + 48 * 60]);
    }
}
