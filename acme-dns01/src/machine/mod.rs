//! The issuance machine: one certificate, from its first order through all renewals, as a state machine without I/O.
//!
//! [`Machine::poll`] returns the next action, [`Machine::handle`] takes its result. Before an action with external
//! effect, the machine requests a journal record ([`Action::Journal`]) and continues only when it is durable. A machine
//! created from its journal therefore resumes with the same order and the same key, does not trigger a challenge twice,
//! and removes every TXT record.
//!
//! At rest, [`Schedule`] decides the next task. Each phase with a course of its own is a type that requests its actions
//! and applies their results: [`RenewalInfoQuery`], [`Issuance`], [`Restoration`], [`Rollout`], [`TxtRemoval`].

mod attempt;
mod authorizations;
mod backoff;
mod clock;
mod context;
mod error;
mod issuance;
mod journal;
mod order;
mod outbox;
mod pause;
mod polling;
mod protocol;
mod removal;
mod renewal_info;
mod replay;
mod restore;
mod rollout;
mod schedule;
mod spec;

pub use attempt::{Attempt, OrderSpec, TxtRecord};
pub use error::{AcmeError, ErrorKind};
pub use journal::{Record, State};
pub use protocol::{Action, Alert, Authorization, Dependency, Event, Order, Status};
pub use spec::{CertificateSpec, Timeouts};

use crate::condition::StoredPair;
use crate::ledger::{Entry, Ledger};
use crate::lifetime::RenewalTime;
use crate::time::Time;
use backoff::Backoff;
use clock::CaClock;
use context::Context;
use issuance::{Issuance, IssuanceOutcome};
use outbox::Outbox;
use removal::TxtRemoval;
use renewal_info::RenewalInfoQuery;
use restore::Restoration;
use rollout::{Rollout, RolloutOutcome};
use schedule::{Schedule, Task};

/// Phase of the machine, from which [`Machine::poll`] determines the next action.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Idle,
    RenewalInfo(RenewalInfoQuery),
    /// An attempt, or the installation of a restored certificate.
    Issuance,
    Restore(Restoration),
    Rollout(Rollout),
    Unpublish(TxtRecord),
}

/// The issuance machine of one certificate. Performs no I/O.
#[derive(Clone, Debug)]
pub struct Machine {
    context: Context,
    phase: Phase,
    issuance: Issuance,
    removal: TxtRemoval,
    clock: CaClock,
    forced: bool,
    /// Time of the last alert about expiry. `None` before the first.
    warned: Option<Time>,
    /// The pair in place, as last reported by [`observe`](Self::observe). `None` if it was not reported, or has been
    /// replaced since.
    stored: Option<StoredPair>,
}

impl Machine {
    /// Creates an idle machine that continues from `state`, which must be replayed from the certificate's journal.
    #[must_use]
    pub fn new(spec: CertificateSpec, state: State) -> Self {
        Self {
            context: Context { spec, state, outbox: Outbox::default(), backoff: Backoff::default() },
            phase: Phase::Idle,
            issuance: Issuance::default(),
            removal: TxtRemoval::default(),
            clock: CaClock::default(),
            forced: false,
            warned: None,
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
        &self.context.spec
    }

    /// Returns the current state: that of [`new`](Self::new), changed by all records that became durable since.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.context.state
    }

    /// Makes the certificate due at once, whatever its lifetime, until one is installed. Cancels a pause after a
    /// failure. Not recorded in the journal.
    pub fn force(&mut self) {
        self.forced = true;
        self.context.state.until = None;
    }

    /// Returns the time from which the certificate is due, with the reason: the epoch, so at once, if the renewal was
    /// forced or the certificate is missing, self-signed, lost or revoked, otherwise as [`due`](crate::due) computes
    /// it.
    #[must_use]
    pub fn due(&self) -> RenewalTime {
        self.schedule().due()
    }

    /// Returns `true` if the machine is idle and no action is queued, so that it can be dropped and later created from
    /// its journal without loss.
    #[must_use]
    pub fn rests(&self) -> bool {
        self.phase == Phase::Idle && self.context.outbox.is_empty()
    }

    /// Returns the next action: a queued one, a wait, or that of the current phase. Repeated calls return the same
    /// action, apart from waits that end, until [`handle`](Self::handle) is called. A request to the CA becomes a wait
    /// while a Retry-After in `ledger` is in force. While a new order would exceed a limit, the next authority is used,
    /// or with a single one the machine waits.
    pub fn poll(&mut self, now: Time, ledger: &Ledger) -> Action {
        let context = &mut self.context;
        if let Some(action) = context.outbox.poll(now).or_else(|| context.backoff.poll(now)) {
            return action;
        }
        if self.phase == Phase::Idle {
            let task = self.schedule().next_task(now, ledger);
            if let Task::Wait { until, why } = task {
                return Action::Wait { until, why };
            }
            self.begin(task, now);
            return self.poll(now, ledger);
        }
        if self.asks_the_ca()
            && let Err(refusal) = ledger.check_retry_after(now, &self.authority())
        {
            return Action::Wait { until: refusal.until, why: refusal.to_string() };
        }
        match &self.phase {
            Phase::Idle => Action::Wait { until: now, why: String::new() },
            Phase::RenewalInfo(query) => query.action(),
            Phase::Issuance => self.issuance.poll(&mut self.context, now),
            Phase::Restore(restoration) => restoration.action(),
            Phase::Rollout(rollout) => rollout.action(),
            Phase::Unpublish(txt) => Action::Unpublish(txt.clone()),
        }
    }

    /// Applies the result of the last action. An event that is not a result of that action is ignored. A failed journal
    /// write is retried after a pause; a failed alert or ledger entry is dropped.
    pub fn handle(&mut self, event: Event, now: Time) {
        let context = &mut self.context;
        if !context.outbox.is_empty() {
            return context.settle(event, now);
        }
        match (&mut self.phase, event) {
            (_, Event::Error(error)) => self.on_error(error, now),
            (Phase::RenewalInfo(query), Event::RenewalInfo { info, retry_after, date }) => {
                self.clock.observe(date, now, &mut context.outbox);
                let record = query.answered(info, retry_after, &context.spec.timeouts, now);
                context.outbox.write(record);
                self.phase = Phase::Idle;
            }
            (Phase::RenewalInfo(query), Event::UnknownCertificate(why)) => {
                let record = query.unknown(why, &context.state, now);
                context.outbox.write(record);
                self.phase = Phase::Idle;
            }
            (Phase::Issuance, Event::Directory { date, renewal_info })
                if self.issuance.awaits_directory() =>
            {
                self.clock.observe(date, now, &mut context.outbox);
                context.backoff.reset();
                self.issuance.enter_account();
                if context.state.attempt.is_none() {
                    self.begin_attempt(renewal_info, now);
                }
            }
            (Phase::Issuance, event) => {
                let outcome = self.issuance.handle(event, context, now);
                self.issued(outcome, now);
            }
            (Phase::Restore(_), Event::Done) => {
                context.backoff.reset();
                self.issuance.install_restored();
                self.phase = Phase::Issuance;
            }
            (Phase::Rollout(rollout), event) => {
                let outcome = rollout.handle(event, context, now);
                self.rolled_out(outcome);
            }
            (Phase::Unpublish(txt), Event::Done) => {
                self.removal.succeeded(&txt.value, context);
                self.phase = Phase::Idle;
            }
            _ => {}
        }
    }

    /// Abandons the attempt in progress and records the reason `why`. It does not count as a failure, earlier failures and
    /// their pause are reset, and its order, if it issued nothing, becomes void in the ledger. The TXT records of the
    /// attempt are removed afterwards.
    pub fn abandon(&mut self, why: String, now: Time) {
        if let Some(attempt) = self.state().attempt.as_ref().filter(|attempt| attempt.is_in_vain()) {
            let names = attempt.request.as_ref().map_or(&self.spec().names, |request| &request.names).clone();
            self.context.outbox.note(Entry::Void { authority: self.authority(), names });
        }
        self.context.outbox.write(Record::Abandoned { at: now, why });
        self.rest();
    }

    /// Returns the view from which the next task at rest is decided.
    const fn schedule(&self) -> Schedule<'_> {
        Schedule {
            spec: &self.context.spec,
            state: &self.context.state,
            stored: self.stored.as_ref(),
            forced: self.forced,
            clock: self.clock,
            removal: self.removal,
            warned: self.warned,
        }
    }

    /// Begins a task: queues its records, and enters its phase. A wait has no effect.
    fn begin(&mut self, task: Task, now: Time) {
        let outbox = &mut self.context.outbox;
        match task {
            Task::Wait { .. } => {}
            Task::Abandon(reason) => self.abandon(reason, now),
            Task::Replace(condition) => {
                let why = condition.to_string();
                match Restoration::of(&self.context.spec, &self.context.state, &condition, now) {
                    Some(restoration) => {
                        if !self.context.state.restoring {
                            outbox.write(Record::Restoring { at: now, why });
                        }
                        self.phase = Phase::Restore(restoration);
                    }
                    // A new certificate is ordered.
                    None => outbox.write(Record::Lost { at: now, why }),
                }
            }
            Task::RecordRestored => outbox.write(Record::Restored { at: now }),
            Task::Deploy => self.phase = Phase::Rollout(Rollout::Deploy),
            Task::Remove(txt) => self.phase = Phase::Unpublish(txt),
            Task::Warn(alert) => {
                outbox.alert(alert);
                self.warned = Some(now);
            }
            Task::RenewalInfo(query) => self.phase = Phase::RenewalInfo(query),
            Task::Attempt => {
                self.phase = Phase::Issuance;
                self.issuance.reset();
            }
            Task::NextAuthority(error) => {
                self.context.fail(error, now);
                self.rest();
            }
        }
    }

    /// Begins an attempt after the directory was fetched, and records it. Returns to idle instead if the certificate is
    /// not yet due by the CA's clock.
    fn begin_attempt(&mut self, renewal_info: bool, now: Time) {
        match self.schedule().begin(renewal_info, now) {
            Some(attempt) => {
                self.issuance.begin(attempt.exempt);
                self.context.outbox.write(attempt.record);
            }
            None => self.phase = Phase::Idle,
        }
    }

    /// Applies the outcome of an action of an attempt.
    fn issued(&mut self, outcome: IssuanceOutcome, now: Time) {
        match outcome {
            IssuanceOutcome::Continues => return,
            // The reported pair has been replaced.
            IssuanceOutcome::Installed => (self.stored, self.forced) = (None, false),
            IssuanceOutcome::Failed(error) => self.context.fail(error, now),
            IssuanceOutcome::Stalled(error) => self.context.stall(error, now),
            IssuanceOutcome::Pending(until) => self.context.pend(until, now),
        }
        self.rest();
    }

    /// Applies the outcome of an action of a deployment or roll-back.
    fn rolled_out(&mut self, outcome: RolloutOutcome) {
        match outcome {
            RolloutOutcome::Continues => return,
            // The reported pair may have been replaced.
            RolloutOutcome::Ended => self.stored = None,
        }
        self.rest();
    }

    /// Handles the error of the current action by phase. A rate limit with Retry-After is also recorded in the ledger.
    /// An error of the query for renewal information or of the removal of a TXT record ends that task until a later
    /// time.
    fn on_error(&mut self, error: AcmeError, now: Time) {
        let authority = self.authority();
        let context = &mut self.context;
        if error.kind == ErrorKind::RateLimited
            && let Some(after) = error.retry_after
        {
            let (until, why) = (now.after(after), error.reason.clone());
            context.outbox.note(Entry::RetryAfter { until, authority, why, at: Some(now) });
        }
        match &self.phase {
            Phase::Idle => {}
            Phase::RenewalInfo(query) => {
                let record = query.failed(error.retry_after, &context.state, now);
                context.outbox.write(record);
                self.phase = Phase::Idle;
            }
            Phase::Restore(_) => {
                if !restore::continues_after(error, context, now) {
                    self.rest();
                }
            }
            Phase::Unpublish(txt) => {
                self.removal.failed(&txt.name, error.reason, context, now);
                self.phase = Phase::Idle;
            }
            Phase::Rollout(rollout) => {
                let outcome = rollout.handle_error(error, context, now);
                self.rolled_out(outcome);
            }
            Phase::Issuance => {
                let outcome = self.issuance.handle_error(error, context, now);
                self.issued(outcome, now);
            }
        }
    }

    /// Returns the name of the authority to use: that of the certificate while its renewal information is queried or it
    /// is restored, else that of the attempt.
    fn authority(&self) -> String {
        match &self.phase {
            Phase::RenewalInfo(query) => query.authority.clone(),
            Phase::Restore(restoration) => restoration.authority.clone(),
            _ => self.context.authority(),
        }
    }

    /// Returns `true` if the action of this phase is a request to the CA.
    const fn asks_the_ca(&self) -> bool {
        match &self.phase {
            Phase::RenewalInfo(_) | Phase::Restore(_) => true,
            Phase::Issuance => self.issuance.asks_the_ca(),
            Phase::Idle | Phase::Rollout(_) | Phase::Unpublish(_) => false,
        }
    }

    /// Returns to idle and discards the progress of the attempt that is not in the journal.
    fn rest(&mut self) {
        self.phase = Phase::Idle;
        self.issuance.reset();
        self.context.backoff.reset();
    }
}

/// Returns the time from which a certificate in this state is due, with the reason, as [`Machine::due`]. `stored` is
/// the pair in place, `None` if it is not known.
#[must_use]
pub fn renewal_due(spec: &CertificateSpec, state: &State, stored: Option<&StoredPair>) -> RenewalTime {
    Schedule::new(spec, state, stored).due()
}
