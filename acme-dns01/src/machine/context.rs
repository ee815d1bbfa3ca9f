//! Parts of the machine that every phase uses.

use super::attempt::Attempt;
use super::backoff::{Backoff, PAUSES, TRANSIENT_PAUSE};
use super::error::{AcmeError, ErrorKind};
use super::journal::{Record, State};
use super::outbox::Outbox;
use super::protocol::{Alert, Event};
use super::spec::CertificateSpec;
use crate::ledger::Entry;
use crate::time::Time;
use std::time::Duration;

/// Reason for the wait for an order that the CA processes.
pub(super) const PENDING: &str = "the CA has not finished the order";

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
        let mut pause = self.pause_after(error.kind);
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
        let mut pause = self.pause_after(error.kind);
        if pause.is_zero() {
            pause = Duration::from_secs(PAUSES[0]);
        }
        let pause = pause.max(error.retry_after.unwrap_or_default());
        let (until, kind, why) = (now.after(pause), Some(error.kind), error.reason.clone());
        self.end(error.reason, until, Record::Stalled { at: now, why, until, kind, pending: false });
    }

    /// Records that the CA processes the order, which is polled again at this time.
    pub(super) fn pend(&mut self, until: Time, now: Time) {
        let why = PENDING.to_owned();
        self.outbox.write(Record::Stalled { at: now, why, until, kind: None, pending: true });
    }

    /// Alerts that the attempt has ended or is suspended until a time, for the reason `why`, and records it.
    fn end(&mut self, why: String, until: Time, record: Record) {
        let failures = self.state.failures + 1;
        self.outbox.alert(Alert::Failing { why, next: until, failures });
        self.outbox.write(record);
    }

    /// Returns the pause after a further failure of this kind. After a transient one, as without a network, it is at most
    /// [`TRANSIENT_PAUSE`]: the CA did not refuse anything.
    fn pause_after(&self, kind: ErrorKind) -> Duration {
        let pause = self.failure_pause(self.state.failures.saturating_add(1));
        if kind == ErrorKind::Transient { pause.min(TRANSIENT_PAUSE) } else { pause }
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

#[cfg(test)]
mod tests {
    use super::super::protocol::Action;
    use super::*;

    const NOW: Time = Time::from_secs(1_800_000_000);

    /// Pauses after this many failures of a kind, one after the other.
    fn pauses(kind: ErrorKind, count: usize) -> Vec<u64> {
        let mut context = Context {
            spec: CertificateSpec::new(["a.test".parse().expect("a name")], "ca"),
            state: State::default(),
            outbox: Outbox::default(),
            backoff: Backoff::default(),
        };
        let mut pauses = Vec::new();
        for _ in 0..count {
            context.fail(AcmeError::new(kind, "no"), NOW);
            while let Some(action) = context.outbox.poll(NOW) {
                assert!(matches!(action, Action::Journal(_) | Action::Alert(_)), "{action:?}");
                context.settle(Event::Done, NOW);
            }
            pauses.push(context.state.until.map_or(0, |until| until.since(NOW).as_secs()));
        }
        pauses
    }

    #[test]
    fn an_authority_that_cannot_be_reached_is_tried_every_hour() {
        assert_eq!(pauses(ErrorKind::Transient, 5), [60, 600, 3600, 3600, 3600]);
        assert_eq!(pauses(ErrorKind::Refused, 5), [60, 600, 6000, 86_400, 86_400]);
    }
}
