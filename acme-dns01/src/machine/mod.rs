//! The issuance machine: one certificate, from its first order through all renewals, as a state machine without I/O.
//!
//! [`Machine::poll`] returns the next action, [`Machine::handle`] takes its result. Before an action with external
//! effect, the machine requests a journal record ([`Action::Journal`]) and continues only when it is durable. A machine
//! created from its journal therefore resumes with the same order and the same key, does not trigger a challenge twice,
//! and removes every TXT record.

mod error;
mod journal;
mod order;
mod protocol;
mod restore;
mod retry;
mod spec;

pub use error::{AcmeError, ErrorKind};
pub use journal::{Attempt, OrderSpec, Record, State, TxtRecord};
pub use protocol::{Action, Alert, Authorization, Event, Order, Status};
pub use spec::{CertificateSpec, Timeouts};

use crate::condition::{Condition, StoredPair};
use crate::ledger::{Entry, Ledger};
use crate::lifetime::{Origin, RenewalReason, RenewalTime, due};
use crate::time::{DAY, Time};
use order::OrderProgress;
use retry::TRIES;
use std::collections::VecDeque;
use std::time::Duration;

/// Interval between queries for renewal information, if the CA sends no Retry-After.
const RENEWAL_INFO_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// Phase of the machine: the action that [`Machine::poll`] returns next, or idle.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Idle,
    RenewalInfo,
    Directory,
    Account { forgotten: bool },
    Preflight,
    Key,
    NewOrder,
    FindOrder,
    FetchOrder,
    Authorizations,
    Locate,
    Publish,
    Verify,
    Trigger,
    Watch,
    Finalize,
    Download,
    Restore,
    Install,
    Deploy,
    Rollback,
    Unpublish(TxtRecord),
}

/// The issuance machine of one certificate. Performs no I/O.
#[derive(Clone, Debug)]
pub struct Machine {
    spec: CertificateSpec,
    state: State,
    /// Actions to request before that of the phase, in this order: journal records, ledger entries and alerts.
    queue: VecDeque<Action>,
    phase: Phase,
    work: OrderProgress,
    /// Earliest time of the next action of the phase, with the reason. `None` without a wait.
    hold: Option<(Time, String)>,
    /// Earliest time at which a failed journal write is retried, with the error. `None` if the last write succeeded.
    unwritten: Option<(Time, String)>,
    unwritten_tries: u32,
    tries: u32,
    forced: bool,
    /// The CA's clock minus the local clock, in milliseconds.
    skew: i64,
    unpublish_hold: Option<Time>,
    unpublish_tries: u32,
    /// Time of the last alert about expiry. `None` before the first.
    warned: Option<Time>,
    /// `true` if a request was already repeated with a newly registered account, because the CA did not know the old
    /// one.
    reregistered: bool,
    /// The pair in place, as last reported by [`observe`](Self::observe). `None` if it was not reported, or has been
    /// replaced since.
    stored: Option<StoredPair>,
}

impl Machine {
    /// Creates an idle machine that continues from `state`, which must be replayed from the certificate's journal.
    #[must_use]
    pub fn new(spec: CertificateSpec, state: State) -> Self {
        Self {
            spec,
            state,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            work: OrderProgress::default(),
            hold: None,
            unwritten: None,
            unwritten_tries: 0,
            tries: 0,
            forced: false,
            skew: 0,
            unpublish_hold: None,
            unpublish_tries: 0,
            warned: None,
            reregistered: false,
            stored: None,
        }
    }

    /// Reports the pair in place, as read from the store. If it is missing, damaged or not the issued one, the machine
    /// restores or replaces the certificate.
    pub fn observe(&mut self, stored: StoredPair) {
        self.stored = Some(stored);
    }

    /// Returns the specification.
    #[must_use]
    pub const fn spec(&self) -> &CertificateSpec {
        &self.spec
    }

    /// Returns the current state: the replayed journal and all records since.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Makes the certificate due at once, whatever its lifetime. Cancels a pause after a failure.
    pub fn force(&mut self) {
        self.forced = true;
        self.state.until = None;
    }

    /// Returns the time from which the certificate is due, with the reason: the epoch, so at once, if the renewal was
    /// forced or the certificate is missing, self-signed, lost or revoked, otherwise as [`due`] computes it.
    #[must_use]
    pub fn due(&self) -> RenewalTime {
        if self.forced {
            return RenewalTime { at: Time::default(), reason: RenewalReason::Forced };
        }
        let at_once = |reason| RenewalTime { at: Time::default(), reason };
        let state = &self.state;
        let Some(held) = &state.held else {
            return at_once(match (&self.stored, &state.lost) {
                (Some(StoredPair::Complete(info)), _) if info.origin != Origin::Authority => {
                    RenewalReason::SelfSigned(info.origin)
                }
                (_, Some(condition)) => RenewalReason::Lost(condition.clone()),
                (Some(StoredPair::Absent) | None, None) => RenewalReason::Missing,
                (Some(stored), None) => {
                    RenewalReason::Lost(Condition::of(&self.spec, state, stored, Time::default()).to_string())
                }
            });
        };
        if state.revoked.as_ref() == Some(&held.serial) {
            return at_once(RenewalReason::Revoked);
        }
        due(Some(held), state.ari.as_ref(), &self.spec.requirements(), &self.spec.renewal_policy)
    }

    /// Returns `true` if the machine is idle and no action is queued, so that it can be dropped and later created from
    /// its journal without loss.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.phase == Phase::Idle && self.queue.is_empty()
    }

    /// Returns the next action: a queued one, a wait, or that of the current phase. Repeated calls return the same
    /// action, apart from waits that end, until [`handle`](Self::handle) is called. A request to the CA becomes a wait
    /// while a Retry-After in `ledger` is in force, and a new order while a limit would be exceeded.
    pub fn poll(&mut self, now: Time, ledger: &Ledger) -> Action {
        if let Some(first) = self.queue.front() {
            return match &self.unwritten {
                Some((until, why)) if now < *until => Action::Wait { until: *until, why: why.clone() },
                _ => first.clone(),
            };
        }
        if let Some((until, why)) = &self.hold {
            if now < *until {
                return Action::Wait { until: *until, why: why.clone() };
            }
            self.hold = None;
        }
        if self.phase == Phase::Idle {
            return self.idle(now, ledger);
        }
        if self.asks_the_ca()
            && let Err(refusal) = ledger.open(now, &self.authority())
        {
            return Action::Wait { until: refusal.until, why: refusal.to_string() };
        }
        match &self.phase {
            Phase::Idle => Action::Wait { until: now, why: String::new() },
            Phase::RenewalInfo => match &self.state.held {
                Some(held) => Action::RenewalInfo {
                    authority: held.authority.clone().unwrap_or_default(),
                    certificate: held.ari.clone().unwrap_or_default(),
                },
                None => self.rest(now),
            },
            Phase::Directory => Action::Directory { authority: self.authority() },
            Phase::Account { forgotten } => {
                Action::Account { authority: self.authority(), forgotten: *forgotten }
            }
            Phase::Preflight => Action::Preflight { authority: self.authority() },
            Phase::Key => Action::Key,
            Phase::Restore => self.restore(),
            Phase::Install => Action::Install,
            Phase::Deploy => Action::Deploy,
            Phase::Rollback => Action::Rollback,
            Phase::Unpublish(txt) => Action::Unpublish(txt.clone()),
            _ => self.poll_order(now),
        }
    }

    /// Applies the result of the last action. An event that is not a result of that action is ignored. A failed journal
    /// write is retried after a pause; a failed alert or ledger entry is dropped.
    pub fn handle(&mut self, event: Event, now: Time) {
        if let Some(first) = self.queue.front() {
            let journal = matches!(first, Action::Journal(_));
            match event {
                Event::Done => {
                    if let Some(Action::Journal(record)) = self.queue.pop_front() {
                        self.state.apply(&record);
                    }
                    (self.unwritten, self.unwritten_tries) = (None, 0);
                }
                Event::Error(error) if journal => {
                    let pause = self.retry_pause(self.unwritten_tries);
                    self.unwritten_tries = self.unwritten_tries.saturating_add(1);
                    self.unwritten = Some((now.after(pause), error.reason));
                }
                // An alert or ledger entry that cannot be delivered must not stop a renewal.
                Event::Error(_) => {
                    self.queue.pop_front();
                }
                _ => {}
            }
            return;
        }
        match event {
            Event::Error(error) => self.on_error(error, now),
            Event::RenewalInfo { info, retry_after, date } if self.phase == Phase::RenewalInfo => {
                self.see_clock(date, now);
                let of = self.state.held.as_ref().and_then(|held| held.ari.clone()).unwrap_or_default();
                let next = now.after(
                    retry_after.unwrap_or(RENEWAL_INFO_INTERVAL).clamp(self.spec.timeouts.ari.min(DAY), DAY),
                );
                self.write(Record::Ari(crate::lifetime::Ari { of, info, next }));
                self.phase = Phase::Idle;
            }
            Event::Directory { date, renewal_info } if self.phase == Phase::Directory => {
                self.see_clock(date, now);
                self.work.renewal_info = renewal_info;
                self.tries = 0;
                self.phase = Phase::Account { forgotten: false };
                if self.state.attempt.is_none() {
                    self.begin(now);
                }
            }
            Event::Account if matches!(self.phase, Phase::Account { .. }) => {
                self.tries = 0;
                if (self.phase == Phase::Account { forgotten: true }) {
                    let authority = self.authority();
                    self.alert(Alert::AccountForgotten { authority });
                }
                self.resume();
            }
            Event::Clear if self.phase == Phase::Preflight => self.phase = Phase::Key,
            Event::Key { public_key } if self.phase == Phase::Key => {
                self.write(Record::Key { public_key });
                self.new_order(now);
            }
            Event::Done if self.phase == Phase::Install => {
                // The reported pair has been replaced.
                self.stored = None;
                match self.work.staged.take() {
                    Some(held) => {
                        if self.state.failures > 0 {
                            self.alert(Alert::Recovered);
                        }
                        self.write(Record::Installed { at: now, held });
                    }
                    None => self.write(Record::Restored { at: now }),
                }
                self.forced = false;
                self.rest(now);
            }
            Event::Done if self.phase == Phase::Restore => {
                self.tries = 0;
                self.phase = Phase::Install;
            }
            Event::Done if self.phase == Phase::Deploy => {
                self.write(Record::Deployed { at: now });
                self.rest(now);
            }
            Event::Lost(why) if self.phase == Phase::Deploy => {
                self.write(Record::Lost { at: now, why });
                self.rest(now);
            }
            Event::UnknownCertificate(why) if self.phase == Phase::RenewalInfo => {
                if self.is_adopted() {
                    self.write(Record::Lost { at: now, why });
                } else {
                    self.forget_renewal_info(now);
                }
                self.phase = Phase::Idle;
            }
            Event::NotServed(why) if self.phase == Phase::Deploy => {
                self.work.refusal = why;
                self.phase = Phase::Rollback;
            }
            Event::Done if self.phase == Phase::Rollback => {
                self.stored = None;
                let why = std::mem::take(&mut self.work.refusal);
                let until = now.after(self.pause_after(self.state.refused.saturating_add(1)));
                self.alert(Alert::RolledBack { why: why.clone() });
                self.write(Record::RolledBack { at: now, why, until });
                self.rest(now);
            }
            Event::Done if matches!(self.phase, Phase::Unpublish(_)) => {
                if let Phase::Unpublish(txt) = std::mem::replace(&mut self.phase, Phase::Idle) {
                    self.write(Record::Removed { value: txt.value });
                }
                self.unpublish_tries = 0;
            }
            event => self.order_event(event, now),
        }
    }

    /// Returns the next action while the machine is idle. In this order: abandons an attempt whose configuration
    /// changed, replaces or restores a lost certificate, deploys an undeployed one, removes TXT records, alerts about
    /// expiry, resumes an attempt, queries renewal information, or begins an attempt that is due and that the ledger
    /// permits. Otherwise returns a wait, at most of a day, with the reason.
    fn idle(&mut self, now: Time, ledger: &Ledger) -> Action {
        let mut wake = now.after(DAY);
        let mut why = String::from("nothing is due");
        if let Some(reason) = self.request_difference() {
            self.abandon(reason, now);
            return self.poll(now, ledger);
        }
        if let Some(condition) = self.loss(now) {
            self.replace_lost(&condition, now);
            return self.poll(now, ledger);
        }
        if self.restored() {
            // The certificate was installed, but the process ended before that was recorded.
            self.write(Record::Restored { at: now });
            return self.poll(now, ledger);
        }
        if self.state.undeployed {
            match self.state.deploy_paused_until(now) {
                None => {
                    self.phase = Phase::Deploy;
                    return Action::Deploy;
                }
                Some(until) => wake = wake.min(until),
            }
        }
        if self.state.attempt.is_none()
            && let Some(txt) = self.state.txt.first()
        {
            match self.unpublish_hold.filter(|until| now < *until) {
                None => {
                    let txt = txt.clone();
                    self.phase = Phase::Unpublish(txt.clone());
                    return Action::Unpublish(txt);
                }
                Some(until) => wake = wake.min(until),
            }
        }
        if self.spec.authorities.is_empty() {
            return Action::Wait { until: wake, why: "no authority is configured for it".to_owned() };
        }
        if let Some(alert) = self.expiry_alert(now) {
            self.alert(alert.clone());
            return Action::Alert(alert);
        }
        if let Some(until) = self.paused_until(now) {
            let why = self.state.last_error.clone().unwrap_or_default();
            return Action::Wait { until: wake.min(until), why };
        }
        if self.state.attempt.is_some() {
            self.phase = Phase::Directory;
            self.work = OrderProgress::default();
            return self.poll(now, ledger);
        }
        let held = self.state.held.as_ref().filter(|held| held.authority.is_some());
        if !self.forced
            && let Some(id) = held.and_then(|held| held.ari.as_ref())
        {
            let ari = self.state.ari.as_ref().filter(|ari| ari.of == *id);
            match ari.and_then(|ari| ari.next_query(now)) {
                None if ledger.open(now, &self.authority()).is_ok() => {
                    self.phase = Phase::RenewalInfo;
                    return self.poll(now, ledger);
                }
                None => {}
                Some(next) => wake = wake.min(next),
            }
        }
        let due = self.due();
        let true_now = now.shifted(self.skew);
        if true_now < due.at {
            let at = due.at.shifted(-self.skew);
            if at <= wake {
                why = due.reason.to_string();
            }
            return Action::Wait { until: wake.min(at).max(now.after(Duration::from_millis(1))), why };
        }
        let authority = self.authority();
        let exempt = matches!(due.reason, RenewalReason::RenewalInfo(_));
        if let Err(refusal) = ledger.permit(now, &authority, &self.spec.names, exempt, &self.spec.limits) {
            if self.spec.authorities.len() > 1 {
                // Another authority may have capacity left.
                self.fail(AcmeError::new(ErrorKind::RateLimited, refusal.to_string()), now);
                return self.poll(now, ledger);
            }
            return Action::Wait { until: wake.min(refusal.until), why: refusal.to_string() };
        }
        self.phase = Phase::Directory;
        self.work = OrderProgress::default();
        self.poll(now, ledger)
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

    /// Abandons the attempt in progress and records the reason `why`. It does not count as a failure, and its order, if
    /// it issued nothing, becomes void in the ledger. The TXT records of the attempt are removed afterwards.
    pub fn abandon(&mut self, why: String, now: Time) {
        let in_vain = |attempt: &Attempt| attempt.order.is_some() && attempt.issued.is_none();
        if let Some(attempt) = self.state.attempt.as_ref().filter(|attempt| in_vain(attempt)) {
            let names = attempt.request.as_ref().map_or(&self.spec.names, |request| &request.names).clone();
            self.note(Entry::Void { authority: self.authority(), names });
        }
        self.write(Record::Abandoned { at: now, why });
        self.rest(now);
    }

    /// Returns the condition of the pair in place if an issued certificate is recorded and lost: missing, damaged or
    /// replaced by another. `None` otherwise, if the pair was not reported, or while a new certificate is being
    /// installed or deployed.
    fn loss(&self, now: Time) -> Option<Condition> {
        let state = &self.state;
        let stored = self.stored.as_ref()?;
        state.held.as_ref()?;
        // With an issued certificate, the new pair may be in place already; before deployment or after a roll-back, the
        // previous one may be.
        let issued = state.attempt.as_ref().is_some_and(|attempt| attempt.issued.is_some());
        if issued || (state.undeployed && matches!(stored, StoredPair::Complete(_))) {
            return None;
        }
        Some(Condition::of(&self.spec, state, stored, now)).filter(Condition::is_lost)
    }

    /// Returns the end of the pause after a failure. `None` if there is no pause, or if no attempt is in progress and
    /// the configuration has changed since the last order.
    fn paused_until(&self, now: Time) -> Option<Time> {
        let other = |request: &OrderSpec| self.spec.difference(request).is_some();
        self.state.paused_until(now).filter(|_| {
            self.state.attempt.is_some() || !self.state.last_request.as_deref().is_some_and(other)
        })
    }

    /// Begins an attempt after the directory was fetched, and records it. Returns to idle instead if the certificate is
    /// not yet due by the CA's clock.
    fn begin(&mut self, now: Time) {
        let due = self.due();
        if now.shifted(self.skew) < due.at {
            self.phase = Phase::Idle;
            return;
        }
        let authority = self.authority();
        let held = self.state.held.as_ref();
        let replaces = held
            .filter(|held| held.authority.as_ref() == Some(&authority) && self.work.renewal_info)
            .and_then(|held| held.ari.clone());
        self.work.exempt = matches!(due.reason, RenewalReason::RenewalInfo(_)) && replaces.is_some();
        let request = Some(Box::new(self.spec.order_spec(&authority)));
        self.write(Record::Began { at: now, authority, why: due.reason.to_string(), replaces, request });
    }

    /// Returns `true` if the certificate in place was installed by another program: the journal contains no order, and
    /// the certificate has neither a directory nor a profile.
    fn is_adopted(&self) -> bool {
        self.state.held.as_ref().is_some_and(|held| held.directory.is_none() && held.profile.is_none())
            && self.state.last_request.is_none()
    }

    /// Records that the CA has no renewal information for the certificate. The next query is a day later.
    fn forget_renewal_info(&mut self, now: Time) {
        let of = self.state.held.as_ref().and_then(|held| held.ari.clone()).unwrap_or_default();
        self.write(Record::Ari(crate::lifetime::Ari { of, info: None, next: now.after(DAY) }));
    }

    /// Returns the alert for a certificate with less than a sixth of its lifetime left, at most once a day. `None` if
    /// more is left, the certificate is not from an authority, or the alert was returned within the last day.
    fn expiry_alert(&mut self, now: Time) -> Option<Alert> {
        let held = self.state.held.as_ref().filter(|held| held.authority.is_some())?;
        let reserve = held.lifetime() / 6;
        let late = now.shifted(self.skew) >= held.not_after.before(reserve);
        if !late || self.warned.is_some_and(|warned| now.since(warned) < DAY) {
            return None;
        }
        let not_after = held.not_after;
        self.warned = Some(now);
        let why = self.state.last_error.clone().unwrap_or_else(|| "it is about to be renewed".to_owned());
        Some(Alert::Expiring { not_after, why })
    }

    /// Returns the name of the authority to use: that of the certificate while its renewal information is queried or it
    /// is restored, else that of the attempt in progress, else the configured one at the position of the number of
    /// failures modulo the number of authorities. Empty if none is configured.
    fn authority(&self) -> String {
        if matches!(self.phase, Phase::RenewalInfo | Phase::Restore)
            && let Some(authority) = self.state.held.as_ref().and_then(|held| held.authority.clone())
        {
            return authority;
        }
        if let Some(attempt) = &self.state.attempt {
            return attempt.authority.clone();
        }
        let count = self.spec.authorities.len().max(1);
        self.spec.authorities.get(self.state.failures as usize % count).cloned().unwrap_or_default()
    }

    /// Returns `true` if the action of this phase is a request to the CA.
    const fn asks_the_ca(&self) -> bool {
        !matches!(
            self.phase,
            Phase::Idle
                | Phase::Preflight
                | Phase::Key
                | Phase::Locate
                | Phase::Publish
                | Phase::Verify
                | Phase::Install
                | Phase::Deploy
                | Phase::Rollback
                | Phase::Unpublish(_)
        )
    }

    /// Updates the difference between the CA's clock and the local one from the Date field of a response. Differences
    /// below 30 s count as none. Raises an alert when the difference changes by more than a minute.
    fn see_clock(&mut self, date: Option<Time>, now: Time) {
        let Some(date) = date else { return };
        let skew = i64::try_from(date.millis()).unwrap_or(0) - i64::try_from(now.millis()).unwrap_or(0);
        let before = self.skew;
        // The Date field has a resolution of a second, and the network adds delay.
        self.skew = if skew.unsigned_abs() < 30_000 { 0 } else { skew };
        if self.skew != 0 && before.abs_diff(self.skew) > 60_000 {
            self.alert(Alert::Clock { ahead: -self.skew / 1000 });
        }
    }

    /// Queues a journal record.
    fn write(&mut self, record: Record) {
        self.queue.push_back(Action::Journal(record));
    }

    /// Queues an entry for the ledger.
    fn note(&mut self, entry: Entry) {
        self.queue.push_back(Action::Note(entry));
    }

    /// Queues an alert.
    fn alert(&mut self, alert: Alert) {
        self.queue.push_back(Action::Alert(alert));
    }

    /// Returns to idle and discards the progress of the attempt that is not in the journal. The returned wait ends at
    /// once.
    fn rest(&mut self, now: Time) -> Action {
        self.phase = Phase::Idle;
        self.work = OrderProgress::default();
        self.tries = 0;
        Action::Wait { until: now, why: String::new() }
    }
}

/// Returns the time from which a certificate in this state is due, with the reason, as [`Machine::due`]. `stored` is
/// the pair in place, `None` if it is not known.
#[must_use]
pub fn renewal_due(spec: &CertificateSpec, state: &State, stored: Option<StoredPair>) -> RenewalTime {
    let mut machine = Machine::new(spec.clone(), state.clone());
    machine.stored = stored;
    machine.due()
}
