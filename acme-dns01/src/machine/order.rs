//! The phases of the machine from an order to its certificate.

use super::{AcmeError, Action, Alert, ErrorKind, Event, Machine, Phase, Record, TRIES, TxtRecord};
use super::{Authorization, Order, Status};
use crate::ledger::Entry;
use crate::lifetime::CertificateInfo;
use crate::time::Time;
use std::time::Duration;

/// Progress of the attempt that is not in the journal, and can be rebuilt from the journal and the CA.
#[derive(Clone, Debug, Default)]
pub(super) struct OrderProgress {
    pub(super) renewal_info: bool,
    pub(super) exempt: bool,
    pub(super) staged: Option<Box<CertificateInfo>>,
    /// Description of the certificate that is served instead of the new one. Empty unless a deployment was just
    /// refused.
    pub(super) refusal: String,
    order: Option<Order>,
    unread: Vec<String>,
    pending: Vec<OpenAuthorization>,
    /// Time at which verifying the TXT records, polling the authorizations or polling the order began. `None` before.
    since: Option<Time>,
    polls: u32,
    without_replaces: bool,
}

/// An authorization that is not valid yet, with its TXT record once that has been located.
#[derive(Clone, Debug)]
struct OpenAuthorization {
    authorization: Authorization,
    txt: Option<TxtRecord>,
    /// `true` if the challenge was, or may have been, triggered, now or before a restart.
    triggered: bool,
    polls: u32,
}

/// Consecutive transient errors of a newOrder request with `replaces` after which `replaces` is omitted.
const MAX_REPLACES_ERRORS: u32 = 2;
/// Polls of a pending challenge after which it is located, verified and triggered again.
const RETRIGGER_AFTER_POLLS: u32 = 4;

impl Machine {
    /// Enters the phase in which the attempt in the journal continues: download of an issued certificate, the known
    /// order, search for an order that may have been placed, or preflight.
    pub(super) fn resume(&mut self) {
        let began = self.state.attempt.clone().unwrap_or_default();
        self.phase = match began {
            attempt if attempt.issued.is_some() => Phase::Download,
            attempt if attempt.order.is_some() => Phase::FetchOrder,
            attempt if attempt.ordering => Phase::FindOrder,
            _ => Phase::Preflight,
        };
    }

    /// Records that an order is about to be placed, and enters [`Phase::NewOrder`].
    pub(super) fn new_order(&mut self, now: Time) {
        self.write(Record::Ordering { at: now });
        self.phase = Phase::NewOrder;
    }

    /// Returns the next action of the phases from [`Phase::NewOrder`] to [`Phase::Download`]. Advances over phases in
    /// which nothing is left to do. In any other phase, returns to idle.
    pub(super) fn poll_order(&mut self, now: Time) -> Action {
        let attempt = self.state.attempt.clone().unwrap_or_default();
        match self.phase {
            Phase::NewOrder => {
                let replaces = attempt.replaces.filter(|_| !self.work.without_replaces);
                Action::NewOrder { replaces }
            }
            Phase::FindOrder => Action::FindOrder,
            Phase::FetchOrder => Action::FetchOrder { url: attempt.order.unwrap_or_default() },
            Phase::Authorizations => match self.work.unread.last() {
                Some(url) => Action::FetchAuthorization { url: url.clone() },
                None => self.after_authorizations(now),
            },
            Phase::Locate => match self.unlocated() {
                Some(pending) => {
                    Action::Locate { name: format!("_acme-challenge.{}", pending.authorization.name) }
                }
                None => {
                    self.phase = Phase::Publish;
                    self.poll_order(now)
                }
            },
            Phase::Publish => {
                let unpublished = self.challenge_records().into_iter().find(|txt| !txt.published);
                match unpublished {
                    Some(txt) => Action::Publish(txt),
                    None => {
                        self.phase = Phase::Verify;
                        (self.work.since, self.work.polls) = (Some(now), 0);
                        self.poll_order(now)
                    }
                }
            }
            Phase::Verify => Action::Verify(self.challenge_records()),
            Phase::Trigger => {
                let next = self.work.pending.iter().find(|pending| !pending.triggered);
                match next.and_then(|pending| pending.authorization.challenge.clone()) {
                    Some(challenge) => Action::Trigger { challenge },
                    None => {
                        self.watch(now);
                        self.poll_order(now)
                    }
                }
            }
            Phase::Watch => match self.work.pending.first() {
                Some(pending) => Action::FetchAuthorization { url: pending.authorization.url.clone() },
                None => {
                    self.phase = Phase::FetchOrder;
                    self.poll_order(now)
                }
            },
            Phase::Finalize => match &self.work.order {
                Some(order) => Action::Finalize { order: order.url.clone(), url: order.finalize.clone() },
                None => {
                    self.phase = Phase::FetchOrder;
                    self.poll_order(now)
                }
            },
            Phase::Download => Action::Download { url: attempt.issued.unwrap_or_default() },
            _ => self.rest(now),
        }
    }

    /// Applies the result of an action of the phases from [`Phase::NewOrder`] to [`Phase::Download`]. Ignores an event
    /// that does not belong to the phase.
    pub(super) fn order_event(&mut self, event: Event, now: Time) {
        match event {
            Event::Order(order) => {
                self.tries = 0;
                match self.phase {
                    Phase::NewOrder | Phase::FindOrder => {
                        // The ledger counts orders that were created, not requests that failed.
                        self.note(Entry::Order {
                            at: now,
                            authority: self.authority(),
                            names: self.spec.names.clone(),
                            exempt: self.work.exempt && !self.work.without_replaces,
                            void: false,
                        });
                        self.write(Record::Ordered { url: order.url.clone() });
                        self.on_order(order, now);
                    }
                    Phase::FetchOrder | Phase::Finalize => self.on_order(order, now),
                    _ => {}
                }
            }
            // Either the order was never created, or the CA cannot list it; the CA may then return the same order
            // again.
            Event::NoOrder if self.phase == Phase::FindOrder => self.new_order(now),
            Event::Authorization(authorization) => {
                self.tries = 0;
                match self.phase {
                    Phase::Authorizations => self.on_authorization(authorization, now),
                    Phase::Watch => self.on_polled_authorization(&authorization, now),
                    _ => {}
                }
            }
            Event::Located(found) if self.phase == Phase::Locate => {
                let Some(pending) = self.unlocated() else { return };
                let txt = TxtRecord {
                    value: pending.authorization.value.clone(),
                    id: None,
                    published: false,
                    ..found
                };
                pending.txt = Some(txt.clone());
                self.write(Record::Publishing(txt));
            }
            Event::Published { id } if self.phase == Phase::Publish => {
                self.tries = 0;
                if let Some(txt) = self.challenge_records().into_iter().find(|txt| !txt.published) {
                    self.write(Record::Published { value: txt.value, id });
                }
            }
            Event::Visible if self.phase == Phase::Verify => {
                self.tries = 0;
                self.phase = Phase::Trigger;
                if !self.spec.timeouts.settle.is_zero() {
                    let until = now.after(self.spec.timeouts.settle);
                    self.hold = Some((until, "every name server has the record; settling".to_owned()));
                }
                let untriggered: Vec<String> = self
                    .work
                    .pending
                    .iter()
                    .filter(|pending| !pending.triggered)
                    .map(|pending| pending.authorization.url.clone())
                    .collect();
                for authorization in untriggered {
                    self.write(Record::Triggering { authorization });
                }
            }
            Event::NotVisible(report) if self.phase == Phase::Verify => {
                if now.since(self.work.since.unwrap_or(now)) >= self.spec.timeouts.propagation {
                    let within = crate::time::format_duration(self.spec.timeouts.propagation);
                    let why = format!("the TXT record is not at every name server after {within}: {report}");
                    return self.stall(AcmeError::new(ErrorKind::Local, why), now);
                }
                self.poll_later(now, None, report);
            }
            Event::Done if self.phase == Phase::Trigger => {
                self.tries = 0;
                if let Some(pending) = self.work.pending.iter_mut().find(|pending| !pending.triggered) {
                    pending.triggered = true;
                }
                if self.work.pending.iter().all(|pending| pending.triggered) {
                    self.watch(now);
                }
            }
            Event::Staged(held) if self.phase == Phase::Download => {
                self.tries = 0;
                self.work.staged = Some(held);
                self.phase = Phase::Install;
            }
            _ => {}
        }
    }

    /// Applies an order that the CA returned, by its status: fetches its authorizations, finalizes, polls while the CA
    /// processes it, or downloads the certificate. An invalid order, or a valid one without a certificate, fails the
    /// attempt; one that is processed for longer than the time limit suspends it.
    fn on_order(&mut self, order: Order, now: Time) {
        let retry_after = order.retry_after;
        match order.status {
            Status::Pending => {
                self.work.unread = order.authorizations.clone();
                self.work.unread.reverse();
                self.work.pending.clear();
                self.phase = Phase::Authorizations;
            }
            Status::Ready => {
                self.write(Record::Finalizing);
                self.phase = Phase::Finalize;
            }
            Status::Processing => {
                self.phase = Phase::FetchOrder;
                if now.since(*self.work.since.get_or_insert(now)) >= self.spec.timeouts.validation {
                    let error = AcmeError::new(ErrorKind::Transient, "the CA does not finish the order");
                    return self.stall(error.after(retry_after), now);
                }
                self.poll_later(now, retry_after, "the CA issues".to_owned());
            }
            Status::Valid => match &order.certificate {
                Some(url) => {
                    self.write(Record::Issued { url: url.clone() });
                    self.phase = Phase::Download;
                }
                None => {
                    let why = "the order is valid but names no certificate";
                    self.fail(AcmeError::new(ErrorKind::OrderGone, why), now);
                }
            },
            Status::Invalid => {
                let why = order.problem.as_deref().unwrap_or("the CA gave no reason");
                let why = format!("the order became invalid: {why}");
                return self.fail(AcmeError::new(ErrorKind::Refused, why), now);
            }
        }
        self.work.order = Some(order);
    }

    /// Applies an authorization that was fetched for the first time: adds it to the pending ones unless it is valid.
    /// Fails the attempt if it is invalid or has no DNS-01 challenge.
    fn on_authorization(&mut self, authorization: Authorization, now: Time) {
        self.work.unread.pop();
        match authorization.status {
            Status::Valid => {}
            Status::Invalid => self.on_invalid(&authorization, now),
            _ if authorization.challenge.is_none() => {
                let name = &authorization.name;
                let why = format!("the CA offers no dns-01 challenge for {name}");
                self.fail(AcmeError::new(ErrorKind::Refused, why), now);
            }
            _ => {
                let known = self.state.attempt.as_ref();
                let triggered = known.is_some_and(|known| known.triggered.contains(&authorization.url));
                let txt = self.state.txt.iter().find(|txt| txt.value == authorization.value).cloned();
                self.work.pending.push(OpenAuthorization { authorization, txt, triggered, polls: 0 });
            }
        }
    }

    /// Continues after the last authorization was fetched, and returns the next action: with [`Phase::Watch`] if every
    /// challenge is triggered, after a pause if no authorization is pending, else with [`Phase::Locate`].
    fn after_authorizations(&mut self, now: Time) -> Action {
        if self.work.pending.iter().all(|pending| pending.triggered) {
            // Without any pending authorization the order is fetched again after a pause.
            if self.work.pending.is_empty() {
                self.poll_later(now, None, "the CA updates the order".to_owned());
            }
            self.watch(now);
        } else {
            self.phase = Phase::Locate;
        }
        match &self.hold {
            Some((until, why)) => Action::Wait { until: *until, why: why.clone() },
            None => self.poll_order(now),
        }
    }

    /// Enters [`Phase::Watch`], and restarts its time limit and the count of polls.
    fn watch(&mut self, now: Time) {
        self.phase = Phase::Watch;
        (self.work.since, self.work.polls) = (Some(now), 0);
    }

    /// Applies the status of the first pending authorization: removes the authorization when it is valid, fails the
    /// attempt when it is invalid, suspends the attempt when the time limit has passed, and polls again otherwise. A
    /// challenge that is still pending after [`RETRIGGER_AFTER_POLLS`] polls is triggered again.
    fn on_polled_authorization(&mut self, authorization: &Authorization, now: Time) {
        match authorization.status {
            Status::Valid => {
                self.work.pending.remove(0);
                self.work.polls = 0;
            }
            Status::Invalid => self.on_invalid(authorization, now),
            _ if now.since(self.work.since.unwrap_or(now)) >= self.spec.timeouts.validation => {
                let why = format!("the CA does not finish validating {}", authorization.name);
                let error = AcmeError::new(ErrorKind::Transient, why);
                self.stall(error.after(authorization.retry_after), now);
            }
            _ => {
                let pending = &mut self.work.pending[0];
                pending.polls += 1;
                // The trigger was recorded, but the process may have ended before it was sent.
                if pending.polls >= RETRIGGER_AFTER_POLLS && authorization.challenge_status == Status::Pending
                {
                    pending.polls = 0;
                    pending.triggered = false;
                    pending.txt = self.state.txt.iter().find(|txt| txt.value == authorization.value).cloned();
                    self.phase = Phase::Locate;
                    return;
                }
                let why = format!("the CA validates {}", authorization.name);
                self.poll_later(now, authorization.retry_after, why);
            }
        }
    }

    /// Records a failed authorization in the ledger, and fails the attempt.
    fn on_invalid(&mut self, authorization: &Authorization, now: Time) {
        let (authority, name) = (self.authority(), authorization.name.clone());
        self.note(Entry::Failure { at: now, authority, name });
        let why = authorization.problem.as_deref().unwrap_or("the CA gave no reason");
        let why = format!("the CA could not validate {}: {why}", authorization.name);
        self.fail(AcmeError::new(ErrorKind::Refused, why), now);
    }

    /// Suspends the machine until the next poll. The pause begins with the configured one and doubles with each poll,
    /// up to 16 times that; `retry_after` replaces it, with at least 50 ms. `why` is the reason given for the wait.
    fn poll_later(&mut self, now: Time, retry_after: Option<Duration>, why: String) {
        let doubled = self.spec.timeouts.look * 2_u32.pow(self.work.polls.min(4));
        self.work.polls += 1;
        let pause =
            retry_after.map_or(doubled, |after| after.clamp(Duration::from_millis(50), doubled.max(after)));
        self.hold = Some((now.after(pause), why));
    }

    /// Returns the first untriggered challenge whose TXT record has not been located. `None` if there is none.
    fn unlocated(&mut self) -> Option<&mut OpenAuthorization> {
        self.work.pending.iter_mut().find(|pending| !pending.triggered && pending.txt.is_none())
    }

    /// Returns the TXT records in the journal for the challenges that are not triggered yet.
    fn challenge_records(&self) -> Vec<TxtRecord> {
        let values = self.work.pending.iter().filter(|pending| !pending.triggered);
        values
            .filter_map(|pending| {
                self.state.txt.iter().find(|txt| txt.value == pending.authorization.value).cloned()
            })
            .collect()
    }

    /// Handles an error in the phases from [`Phase::Directory`] to [`Phase::Download`], by its kind and phase: retries
    /// after a pause, searches for an order whose response was lost, orders again without `replaces`, registers a
    /// forgotten account once more, polls a challenge that was triggered already, or ends the attempt as failed or
    /// suspended. Without an attempt, raises an alert and pauses.
    pub(super) fn order_error(&mut self, error: AcmeError, now: Time) {
        let ordered = self.state.attempt.as_ref().is_some_and(|attempt| attempt.order.is_some());
        let replaces = self.phase == Phase::NewOrder
            && !self.work.without_replaces
            && self.state.attempt.as_ref().is_some_and(|attempt| attempt.replaces.is_some());
        match error.kind {
            // The certificate was replaced already, or belongs to another account: an order without `replaces` may
            // succeed.
            ErrorKind::AlreadyReplaced | ErrorKind::Refused if replaces => {
                self.work.without_replaces = true;
                self.new_order(now);
            }
            // A CA that fails on `replaces` must not prevent the renewal.
            ErrorKind::Transient if replaces && self.tries >= MAX_REPLACES_ERRORS => {
                self.work.without_replaces = true;
                self.new_order(now);
            }
            ErrorKind::AccountUnknown if !self.reregistered => {
                self.reregistered = true;
                self.phase = Phase::Account { forgotten: true };
            }
            ErrorKind::OrderGone => self.fail(error, now),
            ErrorKind::Refused if self.phase == Phase::Trigger => {
                // The challenge was triggered already, before a restart: the authorization shows the result.
                for pending in &mut self.work.pending {
                    pending.triggered = true;
                }
                self.watch(now);
            }
            ErrorKind::Transient if self.tries < TRIES => {
                // The order may have been created although the response was lost.
                if self.phase == Phase::NewOrder {
                    self.phase = Phase::FindOrder;
                }
                self.pause(now, error);
            }
            ErrorKind::RateLimited if ordered => self.pause(now, error),
            ErrorKind::Transient | ErrorKind::Local if ordered => {
                self.stall(error, now);
            }
            _ if self.state.attempt.is_some() || self.phase == Phase::Directory => {
                self.fail(error, now);
            }
            _ => {
                self.alert(Alert::Failing {
                    why: error.reason.clone(),
                    next: now,
                    failures: self.state.failures,
                });
                self.pause(now, error);
            }
        }
    }
}
