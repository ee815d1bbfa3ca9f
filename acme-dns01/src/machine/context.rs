//! Parts of the machine that every phase uses.

use super::attempt::Attempt;
use super::backoff::{Backoff, PAUSES};
use super::error::AcmeError;
use super::journal::{Record, State};
use super::outbox::Outbox;
use super::protocol::{Alert, Event};
use super::spec::CertificateSpec;
use crate::ledger::Entry;
use crate::time::Time;
use std::time::Duration;

/// Specification and journaled state of the certificate, requests that precede the phase's action, and the wait before
/// it.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) spec: CertificateSpec,
    pub(super) state: State,
    pub(super) outbox: Outbox,
    pub(super) backoff: Backoff,
}

impl Context {
    /// Returns the name of the authority of the attempt in progress. Without an attempt, returns that of the next one.
    pub(super) fn authority(&self) -> String {
        attempt_authority(&self.spec, &self.state)
    }

    /// Applies the result of the first request in the outbox. A journal record that has become durable changes the
    /// state.
    pub(super) fn settle(&mut self, event: Event, now: Time) {
        if let Some(record) = self.outbox.settle(event, &self.spec.timeouts, now) {
            self.state.apply(&record);
        }
    }

    /// Delays the next action after a transient error, and counts the try.
    pub(super) fn retry(&mut self, error: AcmeError, now: Time) {
        self.backoff.retry(error, &self.spec.timeouts, now);
    }

    /// Records that the attempt has failed, with the pause until the next one. An order that ends without an issued
    /// certificate is marked as void in the ledger. The error's Retry-After extends the pause if there is only one
    /// authority.
    pub(super) fn fail(&mut self, error: AcmeError, now: Time) {
        let mut pause = self.failure_pause(self.state.failures + 1);
        if self.spec.authorities.len() <= 1 {
            pause = pause.max(error.retry_after.unwrap_or_default());
        }
        if self.state.attempt.as_ref().is_some_and(Attempt::is_in_vain) {
            let (authority, names) = (self.authority(), self.spec.names.clone());
            self.outbox.note(Entry::Void { authority, names });
        }
        let (until, kind, why) = (now.after(pause), Some(error.kind), error.reason.clone());
        self.end(error.reason, until, Record::Failed { at: now, why, until, kind });
    }

    /// Records that the attempt is suspended, to be resumed with the same order, for the pause after a failure, at
    /// least for a minute and for the error's Retry-After.
    pub(super) fn stall(&mut self, error: AcmeError, now: Time) {
        let mut pause = self.failure_pause(self.state.failures + 1);
        if pause.is_zero() {
            pause = Duration::from_secs(PAUSES[0]);
        }
        let pause = pause.max(error.retry_after.unwrap_or_default());
        let (until, kind, why) = (now.after(pause), Some(error.kind), error.reason.clone());
        self.end(error.reason, until, Record::Stalled { at: now, why, until, kind });
    }

    /// Alerts that the attempt has ended or is suspended until a time, for the reason `why`, and records it.
    fn end(&mut self, why: String, until: Time, record: Record) {
        let failures = self.state.failures + 1;
        self.outbox.alert(Alert::Failing { why, next: until, failures });
        self.outbox.write(record);
    }

    /// Returns the pause after this many consecutive failures of the attempt or roll-backs of the certificate, as
    /// [`failure_pause`](super::backoff::failure_pause).
    pub(super) fn failure_pause(&self, failures: u32) -> Duration {
        super::backoff::failure_pause(&self.spec, &self.state, failures)
    }
}

/// Returns the name of the authority of the attempt in progress, else the configured one at the position of the number
/// of failures modulo the number of authorities. Empty if none is configured.
pub(super) fn attempt_authority(spec: &CertificateSpec, state: &State) -> String {
    if let Some(attempt) = &state.attempt {
        return attempt.authority.clone();
    }
    let count = spec.authorities.len().max(1);
    spec.authorities.get(state.failures as usize % count).cloned().unwrap_or_default()
}
