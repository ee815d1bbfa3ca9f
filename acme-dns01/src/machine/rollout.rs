//! Deployment of the installed certificate, and its roll-back.

use super::backoff::{TRIES, long_retry_pause};
use super::context::Context;
use super::error::AcmeError;
use super::journal::Record;
use super::protocol::{Action, Alert, Event};
use crate::time::Time;

/// Deployment or roll-back under way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rollout {
    /// The servers are reloaded, and the served certificate is verified.
    Deploy,
    /// The previous pair is restored, since the certificate described by `why` is served instead of the new one.
    RollBack { why: String },
}

/// Result of an event for a deployment or roll-back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RolloutOutcome {
    /// An action is outstanding.
    Continues,
    /// The deployment was completed, failed, rolled back, or found the certificate lost. Another pair than before may be
    /// in place.
    Ended,
}

impl Rollout {
    /// Returns the next action.
    pub(super) const fn action(&self) -> Action {
        match self {
            Self::Deploy => Action::Deploy,
            Self::RollBack { .. } => Action::Rollback,
        }
    }

    /// Applies the result of the action. An event that is not such a result is ignored.
    pub(super) fn handle(&mut self, event: Event, context: &mut Context, now: Time) -> RolloutOutcome {
        match (&mut *self, event) {
            (Self::Deploy, Event::Done) => {
                context.outbox.write(Record::Deployed { at: now });
                RolloutOutcome::Ended
            }
            (Self::Deploy, Event::Lost(why)) => {
                context.outbox.write(Record::Lost { at: now, why });
                RolloutOutcome::Ended
            }
            (Self::Deploy, Event::NotServed(why)) => {
                *self = Self::RollBack { why };
                RolloutOutcome::Continues
            }
            (Self::RollBack { why }, Event::Done) => {
                let why = std::mem::take(why);
                let until = now.after(context.failure_pause(context.state.roll_backs.saturating_add(1)));
                context.outbox.alert(Alert::RolledBack { why: why.clone() });
                let deployment = context.spec.deployment.clone();
                context.outbox.write(Record::RolledBack { at: now, why, until, deployment });
                RolloutOutcome::Ended
            }
            _ => RolloutOutcome::Continues,
        }
    }

    /// Records an error of the action, and pauses for twice as long with each, up to twelve times. The first and every
    /// sixth failure raises an alert. A deployment ends, a roll-back is retried.
    pub(super) fn handle_error(&self, error: AcmeError, context: &mut Context, now: Time) -> RolloutOutcome {
        let failures = context.state.deploy_failures.saturating_add(1);
        if failures == 1 || failures.is_multiple_of(TRIES) {
            context.outbox.alert(Alert::Undeployed { why: error.reason.clone() });
        }
        let until = now.after(long_retry_pause(&context.spec.timeouts, failures));
        let outcome = match self {
            Self::Deploy => RolloutOutcome::Ended,
            Self::RollBack { .. } => {
                context.backoff.hold(until, error.reason.clone());
                RolloutOutcome::Continues
            }
        };
        let deployment = context.spec.deployment.clone();
        context.outbox.write(Record::Undeployed { at: now, why: error.reason, until, deployment });
        outcome
    }
}
