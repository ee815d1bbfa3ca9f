//! Decision on the next task of a machine at rest.

use super::attempt::{OrderSpec, TxtRecord};
use super::clock::CaClock;
use super::context::{PENDING, attempt_authority};
use super::error::{AcmeError, ErrorKind};
use super::journal::{Record, State};
use super::protocol::Alert;
use super::removal::TxtRemoval;
use super::renewal_info::RenewalInfoQuery;
use super::spec::CertificateSpec;
use crate::condition::{Condition, StoredPair};
use crate::ledger::{Ledger, OrderLimits};
use crate::lifetime::{Origin, RenewalReason, RenewalTime, due};
use crate::time::{DAY, Time};
use std::time::Duration;

/// Next task of a machine at rest.
#[derive(Debug)]
pub(super) enum Task {
    /// Abandon the attempt in progress, since this part of the configuration changed.
    Abandon(String),
    /// Restore or replace the issued certificate, which is lost. The value is the condition of the pair in place.
    Replace(Condition),
    /// Record that the certificate is restored: the process ended between its installation and the record.
    RecordRestored,
    /// Deploy the installed certificate.
    Deploy,
    /// Remove a TXT record that is no longer needed.
    Remove(TxtRecord),
    /// Warn that the certificate expires soon.
    Warn(Alert),
    /// Query the renewal information of the certificate.
    RenewalInfo(RenewalInfoQuery),
    /// Begin an attempt, or resume the suspended one.
    Attempt,
    /// Use the next authority, since a limit of this one would be exceeded.
    NextAuthority(AcmeError),
    /// Do nothing before this time, for the reason `why`.
    Wait { until: Time, why: String },
}

/// Beginning of an attempt.
#[derive(Debug)]
pub(super) struct NewAttempt {
    pub(super) record: Record,
    /// `true` if the CA exempts the order from its rate limits.
    pub(super) exempt: bool,
}

/// View of a machine at rest, from which its next task is decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule<'m> {
    pub(super) spec: &'m CertificateSpec,
    pub(super) state: &'m State,
    /// The pair in place. `None` if it is not known.
    pub(super) stored: Option<&'m StoredPair>,
    /// `true` if the certificate is due at once, whatever its lifetime.
    pub(super) forced: bool,
    pub(super) clock: CaClock,
    pub(super) removal: TxtRemoval,
    /// Time of the last alert about expiry. `None` before the first.
    pub(super) warned: Option<Time>,
}

impl<'m> Schedule<'m> {
    /// Creates the view of a machine that was just created from its journal.
    pub(super) fn new(spec: &'m CertificateSpec, state: &'m State, stored: Option<&'m StoredPair>) -> Self {
        let (clock, removal) = (CaClock::default(), TxtRemoval::default());
        Self { spec, state, stored, forced: false, clock, removal, warned: None }
    }

    /// Returns the time from which the certificate is due, with the reason: the epoch, so at once, if the renewal was
    /// forced or the certificate is missing, self-signed, lost or revoked, otherwise as [`due`] computes it.
    pub(super) fn due(&self) -> RenewalTime {
        let at_once = |reason| RenewalTime { at: Time::default(), reason };
        if self.forced {
            return at_once(RenewalReason::Forced);
        }
        let state = self.state;
        let Some(held) = &state.held else {
            return at_once(match (self.stored, &state.lost) {
                (Some(StoredPair::Complete(info)), _) if info.origin != Origin::Authority => {
                    RenewalReason::SelfSigned(info.origin)
                }
                (_, Some(condition)) => RenewalReason::Lost(condition.clone()),
                (Some(StoredPair::Absent) | None, None) => RenewalReason::Missing,
                (Some(stored), None) => {
                    RenewalReason::Lost(Condition::of(self.spec, state, stored, Time::default()).to_string())
                }
            });
        };
        if state.revoked.as_ref() == Some(&held.serial) {
            return at_once(RenewalReason::Revoked);
        }
        due(Some(held), state.ari.as_ref(), &self.spec.requirements(), &self.spec.renewal_policy)
    }

    /// Returns the next task. In this order: abandons an attempt whose configuration changed, replaces or restores a
    /// lost certificate, deploys an undeployed one, removes TXT records, alerts about expiry, resumes an attempt,
    /// queries renewal information, or begins an attempt that is due and that the ledger permits. Otherwise returns a
    /// wait, at most of a day, with the reason.
    pub(super) fn next_task(&self, now: Time, ledger: &Ledger) -> Task {
        if let Some(reason) = self.request_difference() {
            return Task::Abandon(reason);
        }
        if let Some(condition) = self.loss(now) {
            return Task::Replace(condition);
        }
        if self.restored() {
            return Task::RecordRestored;
        }
        let mut wake = now.after(DAY);
        if self.state.undeployed {
            match self.deploy_paused_until(now) {
                None => return Task::Deploy,
                Some(until) => wake = wake.min(until),
            }
        }
        if self.state.attempt.is_none()
            && let Some(txt) = self.state.txt.first()
        {
            match self.removal.paused_until(now) {
                None => return Task::Remove(txt.clone()),
                Some(until) => wake = wake.min(until),
            }
        }
        if self.spec.authorities.is_empty() {
            return Task::Wait { until: wake, why: "no authority is configured for it".to_owned() };
        }
        if let Some(alert) = self.expiry_alert(now) {
            return Task::Warn(alert);
        }
        if let Some(until) = self.paused_until(now) {
            let why = self.state.last_error.as_deref().unwrap_or(PENDING).to_owned();
            return Task::Wait { until: wake.min(until), why };
        }
        if self.state.attempt.is_some() {
            return Task::Attempt;
        }
        self.renewal(now, ledger, wake)
    }

    /// Returns the next task of a certificate without an attempt or a pause: the query for its renewal information, an
    /// attempt that is due, or a wait that ends at `wake` or earlier.
    fn renewal(&self, now: Time, ledger: &Ledger, mut wake: Time) -> Task {
        let authority = attempt_authority(self.spec, self.state);
        if let Some(query) = self.renewal_info_query() {
            let known = self.state.ari.as_ref().filter(|ari| ari.of == query.certificate);
            match known.and_then(|ari| ari.next_query(now)) {
                None if ledger.check_retry_after(now, &authority).is_ok() => return Task::RenewalInfo(query),
                None => {}
                Some(next) => wake = wake.min(next),
            }
        }
        let due = self.due();
        if self.clock.at_ca(now) < due.at {
            let at = self.clock.at_local(due.at);
            let why = if at <= wake { due.reason.to_string() } else { "nothing is due".to_owned() };
            return Task::Wait { until: wake.min(at).max(now.after(Duration::from_millis(1))), why };
        }
        let limits = match due.reason {
            RenewalReason::RenewalInfo(_) => OrderLimits::Exempt,
            _ => OrderLimits::Apply,
        };
        match ledger.permit(now, &authority, &self.spec.names, limits, &self.spec.limits) {
            Ok(()) => Task::Attempt,
            // Another authority may have capacity left.
            Err(refusal) if self.spec.authorities.len() > 1 => {
                Task::NextAuthority(AcmeError::new(ErrorKind::RateLimited, refusal.to_string()))
            }
            Err(refusal) => Task::Wait { until: wake.min(refusal.until), why: refusal.to_string() },
        }
    }

    /// Returns the query for the renewal information of the certificate. `None` if the renewal was forced, or no
    /// certificate of an authority with an ARI identifier is held.
    fn renewal_info_query(&self) -> Option<RenewalInfoQuery> {
        let held = self.state.held.as_ref().filter(|_| !self.forced)?;
        Some(RenewalInfoQuery { authority: held.authority.clone()?, certificate: held.ari.clone()? })
    }

    /// Returns the beginning of an attempt, once the directory was fetched. `renewal_info` is `true` if the CA supports
    /// renewal information. `None` if the certificate is not yet due by the CA's clock.
    pub(super) fn begin(&self, renewal_info: bool, now: Time) -> Option<NewAttempt> {
        let due = self.due();
        if self.clock.at_ca(now) < due.at {
            return None;
        }
        let authority = attempt_authority(self.spec, self.state);
        let held = self.state.held.as_ref();
        let replaces = held
            .filter(|held| held.authority.as_ref() == Some(&authority) && renewal_info)
            .and_then(|held| held.ari.clone());
        let exempt = matches!(due.reason, RenewalReason::RenewalInfo(_)) && replaces.is_some();
        let request = Some(Box::new(self.spec.order_spec(&authority)));
        let record = Record::Began { at: now, authority, why: due.reason.to_string(), replaces, request };
        Some(NewAttempt { record, exempt })
    }

    /// Returns a description of the difference between the configuration of the order in progress and the current one.
    /// `None` if there is none, or no order is in progress.
    fn request_difference(&self) -> Option<String> {
        let attempt = self.state.attempt.as_ref()?;
        match &attempt.request {
            Some(request) => self.spec.difference(request).map(str::to_owned),
            None if self.spec.authorities.contains(&attempt.authority) => None,
            None => Some("the authority changed".to_owned()),
        }
    }

    /// Returns the condition of the pair in place if an issued certificate is recorded and lost: missing, damaged or
    /// replaced by another. `None` otherwise, if the pair was not reported, or while a new certificate is being
    /// installed or deployed.
    fn loss(&self, now: Time) -> Option<Condition> {
        let (state, stored) = (self.state, self.stored?);
        state.held.as_ref()?;
        // With an issued certificate, the new pair may be in place already; before deployment or after a roll-back, the
        // previous one may be.
        let issued = state.attempt.as_ref().is_some_and(|attempt| attempt.issued.is_some());
        if issued || (state.undeployed && matches!(stored, StoredPair::Complete(_))) {
            return None;
        }
        Some(Condition::of(self.spec, state, stored, now)).filter(Condition::is_lost)
    }

    /// Returns `true` if the restored pair is in place, but the journal does not record the restoration yet.
    fn restored(&self) -> bool {
        let issued = self.state.held.as_ref().map(|held| &held.serial);
        let in_place = match self.stored {
            Some(StoredPair::Complete(info)) => Some(&info.serial),
            _ => None,
        };
        self.state.restoring && issued.is_some() && in_place == issued
    }

    /// Returns the end of the pause after a failure. `None` if there is no pause, or if no attempt is in progress and
    /// the configuration has changed since the last order.
    fn paused_until(&self, now: Time) -> Option<Time> {
        let other = |request: &OrderSpec| self.spec.difference(request).is_some();
        self.state.paused_until(now).filter(|_| {
            self.state.attempt.is_some() || !self.state.last_request.as_deref().is_some_and(other)
        })
    }

    /// Returns the end of the pause after a failed deployment. `None` if there is no pause, if the deployment is
    /// configured otherwise than the failed one, or if the pair that a roll-back put in place cannot be used any more.
    fn deploy_paused_until(&self, now: Time) -> Option<Time> {
        let issued = self.state.held.as_ref().map(|held| &held.serial);
        let rolled_back = self.stored.filter(|pair| pair.info().map(|info| &info.serial) != issued);
        let flaw = rolled_back.and_then(|pair| Condition::flaw_of_previous(self.spec, self.state, pair, now));
        self.state
            .deploy_paused_until(now)
            .filter(|_| flaw.is_none() && self.state.failed_deployment == self.spec.deployment)
    }

    /// Returns the alert for a certificate with less than a sixth of its lifetime left, at most once a day. `None` if
    /// more is left, the certificate is not from an authority, or the last alert was within a day.
    fn expiry_alert(&self, now: Time) -> Option<Alert> {
        let held = self.state.held.as_ref().filter(|held| held.authority.is_some())?;
        let reserve = held.lifetime() / 6;
        let late = self.clock.at_ca(now) >= held.not_after.before(reserve);
        if !late || self.warned.is_some_and(|warned| now.since(warned) < DAY) {
            return None;
        }
        let why = self.state.last_error.clone().unwrap_or_else(|| "it is about to be renewed".to_owned());
        Some(Alert::Expiring { not_after: held.not_after, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifetime::CertificateInfo;

    const NOW: Time = Time::from_secs(1_800_000_000);

    fn info(serial: &str) -> CertificateInfo {
        let names = vec!["a.test".parse().expect("a name")];
        let mut info = CertificateInfo::new(names, NOW.before(DAY), NOW.after(DAY * 80));
        info.serial = serial.to_owned();
        info
    }

    /// The first task after a roll-back from the certificate 2 to this pair, with a deployment configured so.
    fn deploys(previous: &CertificateInfo, revoked: Option<&str>, deployment: &str) -> bool {
        let mut spec = CertificateSpec::new(["a.test".parse().expect("a name")], "ca");
        spec.deployment = Some(deployment.to_owned());
        let mut state = State { held: Some(info("2")), undeployed: true, ..State::default() };
        state.apply(&Record::RolledBack {
            at: NOW,
            why: "refused".to_owned(),
            until: NOW.after(DAY),
            deployment: Some("one".to_owned()),
        });
        state.revoked = revoked.map(str::to_owned);
        let stored = StoredPair::Complete(Box::new(previous.clone()));
        let schedule = Schedule::new(&spec, &state, Some(&stored));
        matches!(schedule.next_task(NOW, &Ledger::default()), Task::Deploy)
    }

    #[test]
    fn a_pause_after_a_roll_back_is_of_its_configuration_and_of_a_pair_that_can_be_served() {
        assert!(!deploys(&info("1"), None, "one"));
        assert!(deploys(&info("1"), None, "other"), "the configuration changed");
        let mut expired = info("1");
        expired.not_after = NOW;
        assert!(deploys(&expired, None, "one"), "the pair in place has expired");
        assert!(deploys(&info("1"), Some("1"), "one"), "the pair in place was revoked");
        // The new certificate itself is in place: nothing is better.
        assert!(!deploys(&info("2"), Some("2"), "one"));
        let mut expired = info("2");
        expired.not_after = NOW;
        assert!(!deploys(&expired, None, "one"));
    }
}
