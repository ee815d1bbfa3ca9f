//! A round: all due actions of one certificate, under its lock.

use super::blocked::{BLOCKED_PAUSE, decides};
use super::inspect::inspect;
use super::issuer::Issuer;
use super::{Certificate, Engine, EngineEvent, UnreadyDependency};
use crate::client::self_signed;
use crate::condition::StoredPair;
use crate::lifetime::Origin;
use crate::machine::{AcmeError, Action, Alert, CertificateSpec, ErrorKind, Event, Machine, Record, State};
use crate::store::{CertificatePair, Lock, StoreError};
use crate::time::Time;
use std::time::Duration;

/// Maximum wait within a round, during which the lock is held. A longer wait ends the round.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// Consecutive failures to write the journal after which a round ends.
const MAX_WRITE_FAILURES: u32 = 3;
/// Pause before the next round after the lock was lost.
const LOCK_PAUSE: Duration = Duration::from_secs(1);
/// Pause before the next round after a permanent store failure.
const STORE_PAUSE: Duration = Duration::from_secs(60);
/// Pause before the next round after a transient store failure.
const STORE_PAUSE_TRANSIENT: Duration = Duration::from_secs(5);
/// Number of journal records above which a journal without an attempt in progress is compacted.
const COMPACT_ABOVE: usize = 64;

/// The time at which a round renews a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renewal {
    /// Once it is due, by [`CertificateStatus::due`](super::CertificateStatus), and no pause after a failure is in
    /// force.
    #[default]
    WhenDue,
    /// Immediately, even if it is not due or a pause after a failure is in force. Rate limits still apply.
    Forced,
}

/// Result of [`Engine::round`](super::Engine::round) for one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateRound {
    /// Id of the certificate, [`CertificateSpec::id`](crate::CertificateSpec).
    pub id: String,
    /// Outcome of the round.
    pub outcome: RoundOutcome,
}

/// Outcome of a round, in which the due actions of one certificate were performed until none was left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoundOutcome {
    /// A new certificate was issued, installed and deployed.
    Issued,
    /// No action is due yet, and none failed. Actions other than an issuance may have been performed.
    NotDue {
        /// Time of the next action.
        until: Time,
        /// Human-readable reason for that time.
        reason: String,
    },
    /// The round ended with an error, was interrupted by [`Engine::stop`](super::Engine::stop), or the certificate is
    /// in a pause after a failure.
    Failed {
        /// Time of the next attempt.
        retry_at: Time,
        /// Kind of the error.
        kind: ErrorKind,
        /// Error message, for display.
        reason: String,
    },
    /// The certificate is due, but a DNS provider or authority that it may need is not ready, so nothing was ordered.
    Blocked {
        /// Time of the next attempt.
        until: Time,
        /// The provider or authority that is not ready.
        by: UnreadyDependency,
    },
    /// Another process holds the lock of the certificate, so nothing was done.
    Locked,
}

impl RoundOutcome {
    /// Creates a failed outcome, to be retried at `retry_at`.
    fn failed(retry_at: Time, kind: ErrorKind, reason: impl Into<String>) -> Self {
        Self::Failed { retry_at, kind, reason: reason.into() }
    }
}

/// The run of one certificate's machine under the certificate's lock. `issued` is `true` once a certificate was
/// installed, and `unwritten` counts consecutive failures to write the journal.
pub(super) struct Round<'e> {
    engine: &'e Engine,
    certificate: &'e Certificate,
    lock: Lock,
    issued: bool,
    unwritten: u32,
}

impl<'e> Round<'e> {
    /// Performs the due actions of one certificate until none is left. An error of the store becomes a failed outcome;
    /// it is reported, with an alert, if it persists or is permanent. A lost lock is not reported.
    pub(super) async fn run(
        engine: &'e Engine,
        certificate: &'e Certificate,
        renewal: Renewal,
    ) -> RoundOutcome {
        let id = &certificate.spec.id;
        match Self::work(engine, certificate, renewal).await {
            Ok(outcome) => {
                engine.reporter.store_works(id);
                outcome
            }
            // No alert: the process that now holds the lock continues, and the next round here will too.
            Err(why @ StoreError::LockLost { .. }) => {
                RoundOutcome::failed(engine.now().after(LOCK_PAUSE), ErrorKind::Transient, why.to_string())
            }
            Err(error) => {
                let transient = error.is_transient();
                let next = engine.now().after(if transient { STORE_PAUSE_TRANSIENT } else { STORE_PAUSE });
                let why = crate::error_chain(&error);
                if let Some(failures) = engine.reporter.store_failed(id, transient, engine.now()) {
                    engine.reporter.event(id, &EngineEvent::Error(why.clone()));
                    engine.reporter.alert(id, &Alert::Failing { why: why.clone(), next, failures }).await;
                }
                let kind = if transient { ErrorKind::Transient } else { ErrorKind::Local };
                RoundOutcome::failed(next, kind, why)
            }
        }
    }

    /// Takes the lock, replays the journal, compacts it if it is long, and runs the machine until it is idle. Returns
    /// [`RoundOutcome::Locked`] if the lock is held by another. After an error, or if the certificate still has to be
    /// deployed or an attempt is in progress, forgets what this process had planned to deploy.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    async fn work(
        engine: &'e Engine,
        certificate: &'e Certificate,
        renewal: Renewal,
    ) -> Result<RoundOutcome, StoreError> {
        let id = &certificate.spec.id;
        let Some(lock) = engine.store.lock(id).await? else { return Ok(RoundOutcome::Locked) };
        *engine.ledger.lock().await = engine.store.ledger().await?;
        let records = engine.store.journal(id).await?;
        let stored = inspect(&engine.store.contents(id).await?);
        let state = adopt(&certificate.spec, State::replay(&records), &stored);
        if records.len() > COMPACT_ABOVE && state.attempt.is_none() {
            engine.store.compact(id, &state).await?;
        }
        let mut machine = Machine::new(certificate.spec.clone(), state);
        machine.observe(stored);
        if renewal == Renewal::Forced {
            machine.force();
        }
        let mut round = Self { engine, certificate, lock, issued: false, unwritten: 0 };
        let outcome = round.drive(&mut machine).await;
        // A certificate that is not due any more is not held back.
        if outcome.is_ok() && machine.rests() {
            engine.record_dependency(id, None).await;
        }
        if outcome.is_err() || machine.state().undeployed || machine.state().attempt.is_some() {
            engine.deployer.forget(id);
        }
        outcome
    }

    /// Performs the machine's actions and feeds back their results, until the machine is idle, has to wait longer than
    /// [`MAX_WAIT`], or the engine is stopped. Returns the outcome.
    ///
    /// # Errors
    /// Returns [`StoreError::LockLost`] if the lock is lost, and [`StoreError::Unwritten`] if the journal cannot be
    /// written [`MAX_WRITE_FAILURES`] times in a row.
    async fn drive(&mut self, machine: &mut Machine) -> Result<RoundOutcome, StoreError> {
        let id = &self.certificate.spec.id;
        let issuer = Issuer::new(self.engine, self.certificate);
        loop {
            if self.lock.is_lost() {
                return Err(StoreError::LockLost { id: id.clone() });
            }
            let action = machine.poll(self.engine.now(), &*self.engine.ledger.lock().await);
            if let Action::Wait { until, why } = action {
                if machine.rests() {
                    return Ok(self.outcome_at_rest(machine, until, why));
                }
                let pause = until.since(self.engine.now());
                if pause > MAX_WAIT || !self.engine.sleep(pause.max(Duration::from_millis(1))).await {
                    return Ok(RoundOutcome::failed(until, ErrorKind::Transient, why));
                }
                continue;
            }
            if self.engine.is_stopping() && !matches!(action, Action::Journal(_)) {
                // Every completed action is recorded; the next start continues from there.
                return Ok(RoundOutcome::failed(
                    self.engine.now(),
                    ErrorKind::Transient,
                    "the engine is stopped",
                ));
            }
            if decides(&action, machine.state().attempt.as_ref())
                && let Some(by) = self.engine.dependency_of_due(self.certificate).await
            {
                return Ok(RoundOutcome::Blocked { until: self.engine.now().after(BLOCKED_PAUSE), by });
            }
            let record = match &action {
                Action::Journal(record) => Some(record.clone()),
                _ => None,
            };
            let deploys = matches!(action, Action::Deploy);
            let event = issuer.perform(machine, action).await.unwrap_or_else(Event::Error);
            match (&record, &event) {
                (Some(_), Event::Error(error)) => {
                    self.unwritten += 1;
                    self.engine.reporter.event(id, &EngineEvent::Error(error.reason.clone()));
                    if self.unwritten >= MAX_WRITE_FAILURES {
                        return Err(StoreError::Unwritten { why: error.reason.clone() });
                    }
                }
                (Some(record), _) => {
                    self.unwritten = 0;
                    self.issued |= matches!(record, Record::Installed { .. });
                    self.engine.reporter.record(id, record);
                }
                // Errors of a deployment, and those that end an attempt, have a journal record with the same text.
                (None, Event::Error(error)) if !deploys && error.is_transient() => {
                    self.engine.reporter.event(id, &EngineEvent::Error(error.reason.clone()));
                }
                (None, _) => {}
            }
            machine.handle(event, self.engine.now());
        }
    }

    /// Returns the outcome of an idle machine: failed if the last deployment or attempt failed, else issued if this
    /// round installed a certificate, else not due. `until` and `why` are those of the machine's wait.
    fn outcome_at_rest(&self, machine: &Machine, until: Time, why: String) -> RoundOutcome {
        let state = machine.state();
        if let Some(error) = &state.deploy_error {
            let why = format!("the certificate is not deployed: {error}");
            return RoundOutcome::failed(until, ErrorKind::Local, why);
        }
        if state.failures > 0 {
            let kind = state.last_error_kind.unwrap_or(ErrorKind::Local);
            return RoundOutcome::failed(until, kind, state.last_error.clone().unwrap_or(why));
        }
        if self.issued { RoundOutcome::Issued } else { RoundOutcome::NotDue { until, reason: why } }
    }
}

/// Returns the state, in which a certificate of a CA that is in place, and that the journal records neither as issued
/// nor as lost, counts as issued by the first configured authority with the configured profile. Any other state is
/// returned unchanged.
pub(super) fn adopt(spec: &CertificateSpec, mut state: State, stored: &StoredPair) -> State {
    if state.held.is_none()
        && state.lost.is_none()
        && let StoredPair::Complete(info) = stored
        && info.origin == Origin::Authority
    {
        let mut held = (**info).clone();
        held.authority = spec.authorities.first().cloned();
        held.profile.clone_from(&spec.profile);
        state.held = Some(held);
    }
    state
}

/// Generates a self-signed placeholder for the names and key type of a certificate.
///
/// # Errors
/// Returns [`StoreError::Damaged`] if the key or the certificate cannot be generated.
pub(super) async fn placeholder(spec: &CertificateSpec, now: Time) -> Result<CertificatePair, StoreError> {
    let (names, kind) = (spec.names.clone(), spec.key_type);
    let damaged = |why: String| StoreError::Damaged { path: spec.id.clone(), why };
    // RSA key generation takes up to seconds.
    let made = tokio::task::spawn_blocking(move || self_signed(&names, kind, now)).await;
    let made = made.map_err(|error| damaged(error.to_string()))?;
    let (chain, key) = made.map_err(|error| damaged(error.to_string()))?;
    Ok(CertificatePair { chain, key })
}

/// Removes the TXT records in a state from the DNS, and records each removal in the journal. Returns the names of those
/// that could not be removed, each with the error.
///
/// # Errors
/// Returns a [`StoreError`] if the journal cannot be written.
pub(super) async fn remove_records(
    engine: &Engine,
    id: &str,
    state: &State,
) -> Result<Vec<(String, AcmeError)>, StoreError> {
    let mut left = Vec::new();
    for txt in &state.txt {
        match engine.locator.remove(txt).await {
            Ok(()) => engine.store.append(id, &Record::Removed { value: txt.value.clone() }).await?,
            Err(error) => left.push((txt.name.clone(), error)),
        }
    }
    Ok(left)
}
