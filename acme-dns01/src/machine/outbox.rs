//! Requests that precede the action of the phase: journal records, ledger entries and alerts.

use super::backoff::retry_pause;
use super::journal::Record;
use super::protocol::{Action, Alert, Event};
use super::spec::Timeouts;
use crate::ledger::Entry;
use crate::time::Time;
use std::collections::VecDeque;

/// Queue of journal records, ledger entries and alerts, first in, first out.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Action>,
    /// Earliest time at which a failed journal write is retried, with the error. `None` if the last write succeeded.
    retry: Option<(Time, String)>,
    /// Consecutive failures of the journal write.
    tries: u32,
}

impl Outbox {
    /// Queues a journal record.
    pub(super) fn write(&mut self, record: Record) {
        self.queue.push_back(Action::Journal(record));
    }

    /// Queues an entry for the ledger.
    pub(super) fn note(&mut self, entry: Entry) {
        self.queue.push_back(Action::Note(entry));
    }

    /// Queues an alert.
    pub(super) fn alert(&mut self, alert: Alert) {
        self.queue.push_back(Action::Alert(alert));
    }

    /// Returns `true` if nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the first request, or a wait until its retry. `None` if nothing is queued.
    pub(super) fn poll(&self, now: Time) -> Option<Action> {
        let first = self.queue.front()?;
        Some(match &self.retry {
            Some((until, why)) if now < *until => Action::Wait { until: *until, why: why.clone() },
            _ => first.clone(),
        })
    }

    /// Applies the result of the first request. A failed journal write is retried after a pause; a failed alert or
    /// ledger entry is dropped. Returns the journal record if it has become durable.
    pub(super) fn settle(&mut self, event: Event, timeouts: &Timeouts, now: Time) -> Option<Record> {
        match (event, self.queue.front()?) {
            (Event::Done, _) => {
                (self.retry, self.tries) = (None, 0);
                if let Some(Action::Journal(record)) = self.queue.pop_front() {
                    return Some(record);
                }
            }
            (Event::Error(error), Action::Journal(_)) => {
                let pause = retry_pause(timeouts, self.tries);
                self.tries = self.tries.saturating_add(1);
                self.retry = Some((now.after(pause), error.reason));
            }
            // An alert or ledger entry that cannot be delivered must not stop a renewal.
            (Event::Error(_), _) => {
                self.queue.pop_front();
            }
            _ => {}
        }
        None
    }
}
