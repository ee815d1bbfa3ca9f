//! Due certificates for which nothing is ordered, since a DNS provider or authority that they may need is not ready.

use super::locator::UnreadyDependency;
use super::{Certificate, Engine, EngineEvent};
use crate::machine::{Action, Alert, Attempt, Dependency};
use crate::provider::Readiness;
use crate::time::{DAY, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Interval in which the daemon looks whether a certificate's folder was deleted.
const FOLDER_LOOK: Duration = Duration::from_secs(60);
/// Pause before a blocked certificate is looked at again, since zones and CNAME records may have changed.
pub(super) const BLOCKED_PAUSE: Duration = Duration::from_secs(60);
/// Pause before the credentials of a provider or authority that is not ready are looked at again.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// Time for which a certificate is blocked before an alert is raised: at a boot, secrets come a little later.
const ALERT_AFTER: Duration = Duration::from_secs(600);

/// A certificate for which nothing is ordered.
#[derive(Clone, Debug)]
pub(super) struct BlockedCertificate {
    /// The provider or authority, and the reason.
    by: UnreadyDependency,
    /// Time of the next alert.
    alert_at: Time,
    /// Pause before that alert.
    alert_pause: Duration,
    /// `true` if an alert was raised.
    alerted: bool,
}

impl BlockedCertificate {
    /// Creates the entry of a certificate that is blocked from `now` on.
    fn begin(by: UnreadyDependency, now: Time) -> Self {
        Self { by, alert_at: now.after(ALERT_AFTER), alert_pause: ALERT_AFTER, alerted: false }
    }

    /// Returns `true` if an alert is due at `now`, and schedules the next one for a day later. A clock that is set back
    /// delays the alert by at most the pause before it.
    fn alert(&mut self, now: Time) -> bool {
        if now < self.alert_at {
            self.alert_at = self.alert_at.min(now.after(self.alert_pause));
            return false;
        }
        (self.alert_at, self.alert_pause) = (now.after(DAY), DAY);
        self.alerted = true;
        true
    }
}

/// Returns `true` if the engine must check before this action that all dependencies are ready: before the first
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
    /// Returns the authority or provider that is not ready and without which the certificate cannot be ordered now: the
    /// first of its authorities if none of them is ready; a provider that is not ready and, according to its settings,
    /// may match the zone of one of the certificate's names better than every other provider; or else, if the DNS does
    /// not answer for a name, the first provider that is not ready. `None` if the certificate can be ordered. An
    /// authority that lacks only its external account binding is ready if its account is registered. Does not consider
    /// whether the certificate is due. Checks the credentials anew, and queries the DNS and the services only if a
    /// provider is not ready.
    pub async fn unready_dependency(&self, certificate: &Certificate) -> Option<UnreadyDependency> {
        let spec = &certificate.spec;
        if let Some(held) = self.accounts.unready_dependency(&spec.authorities).await {
            return Some(held);
        }
        let names = spec.names.iter().map(crate::name::Name::challenge).collect();
        self.locator.unready_dependency(&names, &spec.providers).await
    }

    /// Returns the current readiness of the DNS provider with this configured name. `None` if there is no such
    /// provider.
    pub async fn readiness(&self, provider: &str) -> Option<Readiness> {
        Some(self.locator.provider(provider)?.readiness().await)
    }

    /// Returns `true` if a provider or authority is ready, or not configured.
    async fn is_ready(&self, dependency: &Dependency) -> bool {
        match dependency {
            Dependency::Authority(name) => self.accounts.lacks(name).await.is_none(),
            Dependency::Provider(name) => {
                !matches!(self.readiness(name).await, Some(Readiness::NotReady { .. }))
            }
        }
    }

    /// Returns the certificates, by id, whose last round was [`RoundOutcome::Blocked`](super::RoundOutcome::Blocked),
    /// each with the provider or authority that was not ready.
    #[must_use]
    pub fn blocked_certificates(&self) -> BTreeMap<String, UnreadyDependency> {
        self.reporter.blocked().iter().map(|(id, blocked)| (id.clone(), blocked.by.clone())).collect()
    }

    /// Sleeps until `end`, or until the engine is stopped. If the certificate was blocked in its last round, sleeps for
    /// [`BLOCKED_PAUSE`] at most, and until the provider or authority that it waits for is ready.
    pub(super) async fn sleep_or_release(&self, id: &str, end: Time) {
        let dependency = self.reporter.blocked().get(id).map(|blocked| blocked.by.dependency.clone());
        let Some(dependency) = dependency else {
            self.sleep_while_present(id, end).await;
            return;
        };
        let mut left = end.since(self.now()).min(BLOCKED_PAUSE);
        while !left.is_zero() {
            let part = left.min(LOOK_PAUSE);
            if !self.sleep(part).await || self.is_ready(&dependency).await {
                return;
            }
            left -= part;
        }
    }

    /// Sleeps until `end`, or until the engine is stopped or the certificate's folder, which was there, is deleted.
    async fn sleep_while_present(&self, id: &str, end: Time) {
        let mut left = end.since(self.now());
        let folder = self.store.folder(id);
        let is_present = async || match folder.clone() {
            // A file system may be slow.
            Some(folder) => tokio::task::spawn_blocking(move || folder.exists()).await.unwrap_or(true),
            None => true,
        };
        let watched = folder.is_some() && is_present().await;
        while !left.is_zero() {
            let part = if watched { left.min(FOLDER_LOOK) } else { left };
            if !self.sleep(part).await || !is_present().await {
                return;
            }
            // A clock that was set forward, or ran while the machine slept, ends the pause; one set back does not
            // prolong it.
            left = (left - part).min(end.since(self.now()));
        }
    }

    /// Returns the provider or authority that blocks a due certificate, and records it by
    /// [`record_dependency`](Self::record_dependency). `None` if the certificate can be ordered.
    pub(super) async fn dependency_of_due(&self, certificate: &Certificate) -> Option<UnreadyDependency> {
        let found = self.unready_dependency(certificate).await;
        self.record_dependency(&certificate.spec.id, found.as_ref()).await;
        found
    }

    /// Records the provider or authority that blocks a certificate, `None` if it is not blocked. Reports an event when
    /// the certificate is blocked or unblocked or the reason changes, an alert after ten minutes and then once a day,
    /// and another alert at the end if one was raised before.
    pub(super) async fn record_dependency(&self, id: &str, found: Option<&UnreadyDependency>) {
        let (event, alert) = {
            let mut all = self.reporter.blocked();
            match (found, all.remove(id)) {
                (None, None) => (None, None),
                (None, Some(former)) => {
                    let dependency = former.by.dependency;
                    let alert = former.alerted.then(|| Alert::Unblocked { dependency: dependency.clone() });
                    (Some(EngineEvent::Unblocked(dependency)), alert)
                }
                (Some(held), former) => {
                    let same = former.as_ref().is_some_and(|former| former.by == *held);
                    let mut blocked =
                        former.unwrap_or_else(|| BlockedCertificate::begin(held.clone(), self.now()));
                    blocked.by = held.clone();
                    let alert = blocked.alert(self.now()).then(|| Alert::Blocked { why: held.to_string() });
                    all.insert(id.to_owned(), blocked);
                    ((!same).then(|| EngineEvent::Blocked(held.clone())), alert)
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
        let held = UnreadyDependency {
            dependency: Dependency::Provider("a".to_owned()),
            reason: "no token".to_owned(),
        };
        let begin = Time::from_secs(1_800_000_000);
        let mut blocked = BlockedCertificate::begin(held, begin);
        let minutes = |count: u64| begin.after(Duration::from_secs(60 * count));
        let alerts: Vec<u64> = (0..3000).filter(|minute| blocked.alert(minutes(*minute))).collect();
        assert_eq!(alerts, [10, 10 + 24 * 60, 10 + 48 * 60]);
        assert!(blocked.alerted);
    }

    #[test]
    fn a_clock_that_is_set_back_delays_an_alert_by_its_pause_at_most() {
        let dependency = Dependency::Provider("a".to_owned());
        let by = UnreadyDependency { dependency, reason: "no token".to_owned() };
        let begin = Time::from_secs(1_800_000_000);
        let mut blocked = BlockedCertificate::begin(by, begin);
        let set_back = begin.before(DAY * 30);
        assert!(!blocked.alert(set_back));
        assert!(!blocked.alert(set_back.after(ALERT_AFTER - Duration::from_secs(1))));
        assert!(blocked.alert(set_back.after(ALERT_AFTER)));
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
