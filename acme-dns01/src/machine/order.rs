//! An order, from its request to the download of its certificate.

use super::attempt::Attempt;
use super::authorizations::{Authorizations, failure};
use super::context::Context;
use super::error::{AcmeError, ErrorKind};
use super::journal::Record;
use super::polling::{Polling, long_pause};
use super::protocol::{Action, Authorization, Event, Order, Status};
use crate::ledger::Entry;
use crate::lifetime::CertificateInfo;
use crate::time::{Time, format_duration};

/// Consecutive transient errors of a newOrder request with `replaces` after which `replaces` is omitted.
const MAX_REPLACES_ERRORS: u32 = 2;

/// Stage of an order: the action that [`OrderProgress::poll`] returns next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OrderStage {
    #[default]
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
}

/// Result of an event for an order.
#[derive(Debug)]
pub(super) enum OrderOutcome {
    /// An action is outstanding.
    Continues,
    /// The certificate with these properties is staged.
    Staged(Box<CertificateInfo>),
    /// The attempt has failed.
    Failed(AcmeError),
    /// The attempt has to pause, and can be resumed with the same order.
    Stalled(AcmeError),
    /// The CA processes the order, and asked to be polled at this time, later than a round waits.
    Pending(Time),
}

/// Progress of an order that is not in the journal, and can be rebuilt from the journal and the CA.
#[derive(Clone, Debug, Default)]
pub(super) struct OrderProgress {
    stage: OrderStage,
    /// `true` if the CA exempts the order from its rate limits, as a renewal in the suggested window (RFC 9773 §5).
    exempt: bool,
    order: Option<Order>,
    authorizations: Authorizations,
    /// Polls of the TXT records, of the authorizations or of the order.
    polling: Polling,
    without_replaces: bool,
}

impl OrderProgress {
    /// Creates the progress of a new attempt. `exempt` is `true` if the CA exempts its order from rate limits.
    pub(super) fn new(exempt: bool) -> Self {
        Self { exempt, ..Self::default() }
    }

    /// Enters the stage in which the attempt in the journal continues: download of an issued certificate, the known
    /// order, or search for an order that may have been placed. Returns `false` if no order was requested.
    pub(super) fn resume(&mut self, attempt: Option<&Attempt>) -> bool {
        self.stage = match attempt {
            Some(attempt) if attempt.issued.is_some() => OrderStage::Download,
            Some(attempt) if attempt.order.is_some() => OrderStage::FetchOrder,
            Some(attempt) if attempt.ordering => OrderStage::FindOrder,
            _ => return false,
        };
        true
    }

    /// Records that an order is about to be placed, and enters its stage.
    pub(super) fn place(&mut self, context: &mut Context, now: Time) {
        context.outbox.write(Record::Ordering { at: now });
        self.stage = OrderStage::NewOrder;
    }

    /// Returns `true` if the action of this stage is a request to the CA.
    pub(super) const fn asks_the_ca(&self) -> bool {
        !matches!(self.stage, OrderStage::Locate | OrderStage::Publish | OrderStage::Verify)
    }

    /// Returns the next action. Advances over stages in which nothing is left to do.
    pub(super) fn poll(&mut self, context: &mut Context, now: Time) -> Action {
        let attempt = context.state.attempt.as_ref();
        match self.stage {
            OrderStage::NewOrder => {
                let replaces = attempt.and_then(|attempt| attempt.replaces.clone());
                Action::NewOrder { replaces: replaces.filter(|_| !self.without_replaces) }
            }
            OrderStage::FindOrder => Action::FindOrder,
            OrderStage::FetchOrder => Action::FetchOrder {
                url: attempt.and_then(|attempt| attempt.order.clone()).unwrap_or_default(),
            },
            OrderStage::Authorizations => match self.authorizations.unread() {
                Some(url) => Action::FetchAuthorization { url: url.to_owned() },
                None => self.after_authorizations(context, now),
            },
            OrderStage::Locate => match self.authorizations.unlocated() {
                Some(authorization) => {
                    Action::Locate { name: format!("_acme-challenge.{}", authorization.name) }
                }
                None => self.advance(OrderStage::Publish, context, now),
            },
            OrderStage::Publish => match self.authorizations.unpublished(&context.state.txt) {
                Some(txt) => Action::Publish(txt),
                None => {
                    self.polling.restart(now);
                    self.advance(OrderStage::Verify, context, now)
                }
            },
            OrderStage::Verify => Action::Verify(self.authorizations.challenge_records(&context.state.txt)),
            OrderStage::Trigger => {
                let next = self.authorizations.untriggered().next();
                match next.and_then(|authorization| authorization.challenge.clone()) {
                    Some(challenge) => Action::Trigger { challenge },
                    None => {
                        self.watch(now);
                        self.poll(context, now)
                    }
                }
            }
            OrderStage::Watch => match self.authorizations.first() {
                Some(authorization) => Action::FetchAuthorization { url: authorization.url.clone() },
                None => self.advance(OrderStage::FetchOrder, context, now),
            },
            OrderStage::Finalize => match &self.order {
                Some(order) => Action::Finalize { order: order.url.clone(), url: order.finalize.clone() },
                None => self.advance(OrderStage::FetchOrder, context, now),
            },
            OrderStage::Download => Action::Download {
                url: attempt.and_then(|attempt| attempt.issued.clone()).unwrap_or_default(),
            },
        }
    }

    /// Applies the result of the last action. Ignores an event that does not belong to the stage.
    pub(super) fn handle(&mut self, event: Event, context: &mut Context, now: Time) -> OrderOutcome {
        match (self.stage, event) {
            (stage, Event::Order(order)) => {
                context.backoff.reset();
                match stage {
                    OrderStage::NewOrder | OrderStage::FindOrder => {
                        // The ledger counts orders that were created, not requests that failed.
                        context.outbox.note(Entry::Order {
                            at: now,
                            authority: context.authority(),
                            names: context.spec.names.clone(),
                            exempt: self.exempt && !self.without_replaces,
                            void: false,
                        });
                        context.outbox.write(Record::Ordered { url: order.url.clone() });
                        return self.on_order(order, context, now);
                    }
                    OrderStage::FetchOrder | OrderStage::Finalize => {
                        return self.on_order(order, context, now);
                    }
                    _ => {}
                }
            }
            // Either the order was never created, or the CA cannot list it; the CA may then return the same order
            // again.
            (OrderStage::FindOrder, Event::NoOrder) => self.place(context, now),
            (stage, Event::Authorization(authorization)) => {
                context.backoff.reset();
                match stage {
                    OrderStage::Authorizations => return self.on_authorization(authorization, context, now),
                    OrderStage::Watch => return self.on_polled_authorization(&authorization, context, now),
                    _ => {}
                }
            }
            (OrderStage::Locate, Event::Located(found)) => {
                if let Some(txt) = self.authorizations.locate(found) {
                    context.outbox.write(Record::Publishing(txt));
                }
            }
            (OrderStage::Publish, Event::Published { id }) => {
                context.backoff.reset();
                if let Some(txt) = self.authorizations.unpublished(&context.state.txt) {
                    context.outbox.write(Record::Published { value: txt.value, id });
                }
            }
            (OrderStage::Verify, Event::Visible) => self.on_visible(context, now),
            (OrderStage::Verify, Event::NotVisible(report)) => {
                let limit = context.spec.timeouts.propagation;
                if self.polling.elapsed(now) >= limit {
                    let within = format_duration(limit);
                    let why = format!("the TXT record is not at every name server after {within}: {report}");
                    return OrderOutcome::Stalled(AcmeError::new(ErrorKind::Local, why));
                }
                self.polling.poll_later(None, report, context, now);
            }
            (OrderStage::Trigger, Event::Done) => {
                context.backoff.reset();
                self.authorizations.mark_triggered();
                if self.authorizations.all_triggered() {
                    self.watch(now);
                }
            }
            (OrderStage::Download, Event::Staged(held)) => {
                context.backoff.reset();
                return OrderOutcome::Staged(held);
            }
            _ => {}
        }
        OrderOutcome::Continues
    }

    /// Handles an error that another request of the same order avoids: orders again without `replaces`, or polls a
    /// challenge that was triggered already. Returns `false` for any other error.
    pub(super) fn avoids(&mut self, kind: ErrorKind, context: &mut Context, now: Time) -> bool {
        let attempt = context.state.attempt.as_ref();
        let replaces = !self.without_replaces && attempt.is_some_and(|attempt| attempt.replaces.is_some());
        match (self.stage, kind) {
            // The certificate was replaced already, or belongs to another account: an order without `replaces` may
            // succeed.
            (OrderStage::NewOrder, ErrorKind::AlreadyReplaced | ErrorKind::Refused) if replaces => {}
            // A CA that fails on `replaces` must not prevent the renewal.
            (OrderStage::NewOrder, ErrorKind::Transient)
                if replaces && context.backoff.tries() >= MAX_REPLACES_ERRORS => {}
            (OrderStage::Trigger, ErrorKind::Refused) => {
                // The challenge was triggered already, before a restart: the authorization shows the result.
                self.authorizations.mark_all_triggered();
                self.watch(now);
                return true;
            }
            _ => return false,
        }
        self.without_replaces = true;
        self.place(context, now);
        true
    }

    /// Searches for the order after the response to its request was lost: it may have been created.
    pub(super) fn search_lost(&mut self) {
        if self.stage == OrderStage::NewOrder {
            self.stage = OrderStage::FindOrder;
        }
    }

    /// Applies an order that the CA returned, by its status: fetches its authorizations, finalizes, polls while the CA
    /// processes it, or downloads the certificate. An invalid order, or a valid one without a certificate, fails the
    /// attempt; one that is processed for longer than the time limit suspends it.
    fn on_order(&mut self, order: Order, context: &mut Context, now: Time) -> OrderOutcome {
        let retry_after = order.retry_after;
        match order.status {
            Status::Pending => {
                self.authorizations = Authorizations::new(&order.authorizations);
                self.stage = OrderStage::Authorizations;
            }
            Status::Ready => {
                context.outbox.write(Record::Finalizing);
                self.stage = OrderStage::Finalize;
            }
            Status::Processing => {
                self.stage = OrderStage::FetchOrder;
                self.polling.start(now);
                if let Some(after) = long_pause(retry_after) {
                    return OrderOutcome::Pending(now.after(after));
                }
                if self.polling.elapsed(now) >= context.spec.timeouts.validation {
                    let error = AcmeError::new(ErrorKind::Transient, "the CA does not finish the order");
                    return OrderOutcome::Stalled(error.after(retry_after));
                }
                self.polling.poll_later(retry_after, "the CA issues".to_owned(), context, now);
            }
            Status::Valid => match &order.certificate {
                Some(url) => {
                    context.outbox.write(Record::Issued { url: url.clone() });
                    self.stage = OrderStage::Download;
                }
                None => {
                    let why = "the order is valid but names no certificate";
                    return OrderOutcome::Failed(AcmeError::new(ErrorKind::OrderGone, why));
                }
            },
            Status::Invalid => {
                let why = order.problem.as_deref().unwrap_or("the CA gave no reason");
                let why = format!("the order became invalid: {why}");
                return OrderOutcome::Failed(AcmeError::new(ErrorKind::Refused, why));
            }
        }
        self.order = Some(order);
        OrderOutcome::Continues
    }

    /// Applies an authorization that was fetched for the first time: adds it to the pending ones unless it is valid.
    /// Fails the attempt if it is invalid or has no DNS-01 challenge.
    fn on_authorization(
        &mut self,
        authorization: Authorization,
        context: &mut Context,
        now: Time,
    ) -> OrderOutcome {
        self.authorizations.mark_read();
        match authorization.status {
            Status::Valid => {}
            Status::Invalid => return OrderOutcome::Failed(failure(&authorization, context, now)),
            _ if authorization.challenge.is_none() => {
                let name = &authorization.name;
                let why = format!("the CA offers no dns-01 challenge for {name}");
                return OrderOutcome::Failed(AcmeError::new(ErrorKind::Refused, why));
            }
            _ => {
                let attempt = context.state.attempt.as_ref();
                let triggered = attempt.is_some_and(|attempt| attempt.triggered.contains(&authorization.url));
                let txt = context.state.challenge_record(&authorization.value).cloned();
                self.authorizations.add(authorization, txt, triggered);
            }
        }
        OrderOutcome::Continues
    }

    /// Continues after the last authorization was fetched, and returns the next action: that of polling if every
    /// challenge is triggered, after a pause if no authorization is pending, else that of locating the TXT records.
    fn after_authorizations(&mut self, context: &mut Context, now: Time) -> Action {
        if !self.authorizations.all_triggered() {
            return self.advance(OrderStage::Locate, context, now);
        }
        // Without any pending authorization the order is fetched again after a pause.
        let pauses = self.authorizations.is_empty();
        if pauses {
            self.polling.poll_later(None, "the CA updates the order".to_owned(), context, now);
        }
        self.watch(now);
        let wait = context.backoff.wait().filter(|_| pauses);
        wait.unwrap_or_else(|| self.poll(context, now))
    }

    /// Records that every challenge is about to be triggered, after the time for the TXT records to settle.
    fn on_visible(&mut self, context: &mut Context, now: Time) {
        context.backoff.reset();
        self.stage = OrderStage::Trigger;
        let settle = context.spec.timeouts.settle;
        if !settle.is_zero() {
            let why = "every name server has the record; settling".to_owned();
            context.backoff.hold(now.after(settle), why);
        }
        for authorization in self.authorizations.untriggered() {
            context.outbox.write(Record::Triggering { authorization: authorization.url.clone() });
        }
    }

    /// Applies the status of the first pending authorization: removes the authorization when it is valid, fails the
    /// attempt when it is invalid, suspends the attempt when the time limit has passed, and polls again otherwise. A
    /// challenge that stays pending is triggered again.
    fn on_polled_authorization(
        &mut self,
        authorization: &Authorization,
        context: &mut Context,
        now: Time,
    ) -> OrderOutcome {
        match authorization.status {
            Status::Valid => {
                self.authorizations.remove_first();
                self.polling.reset_pause();
            }
            Status::Invalid => return OrderOutcome::Failed(failure(authorization, context, now)),
            _ if self.polling.elapsed(now) >= context.spec.timeouts.validation => {
                let why = format!("the CA does not finish validating {}", authorization.name);
                let error = AcmeError::new(ErrorKind::Transient, why);
                return OrderOutcome::Stalled(error.after(authorization.retry_after));
            }
            _ => {
                let known = context.state.challenge_record(&authorization.value).cloned();
                if self.authorizations.count_poll(authorization.challenge_status, known) {
                    self.stage = OrderStage::Locate;
                } else {
                    let why = format!("the CA validates {}", authorization.name);
                    self.polling.poll_later(authorization.retry_after, why, context, now);
                }
            }
        }
        OrderOutcome::Continues
    }

    /// Enters a stage, and returns its action.
    fn advance(&mut self, stage: OrderStage, context: &mut Context, now: Time) -> Action {
        self.stage = stage;
        self.poll(context, now)
    }

    /// Enters the stage in which the authorizations are polled, and restarts its time limit and the count of polls.
    fn watch(&mut self, now: Time) {
        self.stage = OrderStage::Watch;
        self.polling.restart(now);
    }
}
