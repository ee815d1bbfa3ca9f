//! An attempt in progress, from the directory of the CA to the installation of the certificate.

use super::backoff::TRIES;
use super::context::Context;
use super::error::{AcmeError, ErrorKind};
use super::journal::Record;
use super::order::{OrderOutcome, OrderProgress};
use super::protocol::{Action, Alert, Event};
use crate::lifetime::CertificateInfo;
use crate::time::Time;

/// Stage of an attempt: the action that [`Issuance::poll`] returns next.
#[derive(Clone, Debug, Default, PartialEq)]
enum IssuanceStage {
    #[default]
    Directory,
    Account {
        forgotten: bool,
    },
    Preflight,
    Key,
    Order,
    /// Installation of a new certificate, or of the issued one if it was restored (`None`).
    Install(Option<Box<CertificateInfo>>),
}

/// Result of an event for an attempt.
#[derive(Debug)]
pub(super) enum IssuanceOutcome {
    /// An action is outstanding.
    Continues,
    /// The certificate is installed.
    Installed,
    /// The attempt has failed.
    Failed(AcmeError),
    /// The attempt has to pause, and can be resumed with the same order.
    Stalled(AcmeError),
    /// The CA processes the order, and asked to be polled at this time, which is later than a round waits.
    Pending(Time),
}

/// Progress of an attempt that is not in the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Issuance {
    stage: IssuanceStage,
    order: OrderProgress,
    /// `true` if a request was already repeated with a newly registered account, because the CA did not know the old
    /// one. Holds for all attempts of the machine.
    reregistered: bool,
}

impl Issuance {
    /// Discards the progress. The next action fetches the directory.
    pub(super) fn reset(&mut self) {
        (self.stage, self.order) = (IssuanceStage::Directory, OrderProgress::default());
    }

    /// Begins a new attempt. `exempt` is `true` if the CA exempts its order from rate limits.
    pub(super) fn begin(&mut self, exempt: bool) {
        self.order = OrderProgress::new(exempt);
    }

    /// Returns `true` if the directory is being fetched.
    pub(super) fn awaits_directory(&self) -> bool {
        self.stage == IssuanceStage::Directory
    }

    /// Continues with the account after the directory was fetched.
    pub(super) fn enter_account(&mut self) {
        self.stage = IssuanceStage::Account { forgotten: false };
    }

    /// Continues with the installation of a restored certificate.
    pub(super) fn install_restored(&mut self) {
        self.stage = IssuanceStage::Install(None);
    }

    /// Returns `true` if the action of this stage is a request to the CA.
    pub(super) const fn asks_the_ca(&self) -> bool {
        match &self.stage {
            IssuanceStage::Directory | IssuanceStage::Account { .. } => true,
            IssuanceStage::Order => self.order.asks_the_ca(),
            IssuanceStage::Preflight | IssuanceStage::Key | IssuanceStage::Install(_) => false,
        }
    }

    /// Returns the next action.
    pub(super) fn poll(&mut self, context: &mut Context, now: Time) -> Action {
        match self.stage {
            IssuanceStage::Directory => Action::Directory { authority: context.authority() },
            IssuanceStage::Account { forgotten } => {
                Action::Account { authority: context.authority(), forgotten }
            }
            IssuanceStage::Preflight => Action::Preflight { authority: context.authority() },
            IssuanceStage::Key => Action::Key,
            IssuanceStage::Order => self.order.poll(context, now),
            IssuanceStage::Install(_) => Action::Install,
        }
    }

    /// Applies the result of the last action. Ignores an event that does not belong to the stage. The directory is
    /// handled by the machine.
    pub(super) fn handle(&mut self, event: Event, context: &mut Context, now: Time) -> IssuanceOutcome {
        match (&mut self.stage, event) {
            (IssuanceStage::Account { forgotten }, Event::Account) => {
                context.backoff.reset();
                if *forgotten {
                    let authority = context.authority();
                    context.outbox.alert(Alert::AccountForgotten { authority });
                }
                let resumes = self.order.resume(context.state.attempt.as_ref());
                self.stage = if resumes { IssuanceStage::Order } else { IssuanceStage::Preflight };
            }
            (IssuanceStage::Preflight, Event::Clear) => self.stage = IssuanceStage::Key,
            (IssuanceStage::Key, Event::Key { public_key }) => {
                context.outbox.write(Record::Key { public_key });
                self.order.place(context, now);
                self.stage = IssuanceStage::Order;
            }
            (IssuanceStage::Order, event) => match self.order.handle(event, context, now) {
                OrderOutcome::Continues => {}
                OrderOutcome::Staged(held) => self.stage = IssuanceStage::Install(Some(held)),
                OrderOutcome::Failed(error) => return IssuanceOutcome::Failed(error),
                OrderOutcome::Stalled(error) => return IssuanceOutcome::Stalled(error),
                OrderOutcome::Pending(until) => return IssuanceOutcome::Pending(until),
            },
            (IssuanceStage::Install(staged), Event::Done) => {
                match staged.take() {
                    Some(held) => {
                        if context.state.failures > 0 {
                            context.outbox.alert(Alert::Recovered);
                        }
                        context.outbox.write(Record::Installed { at: now, held });
                    }
                    None => context.outbox.write(Record::Restored { at: now }),
                }
                return IssuanceOutcome::Installed;
            }
            _ => {}
        }
        IssuanceOutcome::Continues
    }

    /// Handles an error of the last action by its kind and stage: retries after a pause, searches for an order whose
    /// response was lost, orders again without `replaces`, registers a forgotten account once more, polls a challenge
    /// that was triggered already, or ends the attempt as failed or suspended. Without an attempt, raises an alert and
    /// pauses.
    pub(super) fn handle_error(
        &mut self,
        error: AcmeError,
        context: &mut Context,
        now: Time,
    ) -> IssuanceOutcome {
        let in_order = self.stage == IssuanceStage::Order;
        if in_order && self.order.avoids(error.kind, context, now) {
            return IssuanceOutcome::Continues;
        }
        let attempt = context.state.attempt.as_ref();
        let ordered = attempt.is_some_and(|attempt| attempt.order.is_some());
        match error.kind {
            ErrorKind::AccountUnknown if !self.reregistered => {
                self.reregistered = true;
                self.stage = IssuanceStage::Account { forgotten: true };
            }
            ErrorKind::OrderGone => return IssuanceOutcome::Failed(error),
            ErrorKind::Transient if context.backoff.tries() < TRIES => {
                if in_order {
                    self.order.search_lost();
                }
                context.retry(error, now);
            }
            ErrorKind::RateLimited if ordered => context.retry(error, now),
            ErrorKind::Transient | ErrorKind::Local if ordered => return IssuanceOutcome::Stalled(error),
            _ if attempt.is_some() || self.awaits_directory() => return IssuanceOutcome::Failed(error),
            _ => {
                let (why, failures) = (error.reason.clone(), context.state.failures);
                context.outbox.alert(Alert::Failing { why, next: now, failures });
                context.retry(error, now);
            }
        }
        IssuanceOutcome::Continues
    }
}
