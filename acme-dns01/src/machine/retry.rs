//! Handling of errors: retries, the end or suspension of an attempt, alerts.

use super::{AcmeError, Alert, Entry, ErrorKind, Machine, Phase, Record};
use crate::time::{DAY, Time};
use std::time::Duration;

/// Pauses in seconds after every authority has failed once, twice, three times, and four times or more often, as Let's
/// Encrypt recommends.
const PAUSES: [u64; 4] = [60, 600, 6000, 86_400];
/// Number of tries after which a repeated error raises an alert (the one about a TXT record that cannot be removed at the
/// sixth, the one about a failed deployment at the first and every sixth), and before which a transient error of an order
/// pauses the attempt.
pub(super) const TRIES: u32 = 6;

impl Machine {
    /// Suspends the machine after a transient error, for the error's Retry-After or else for
    /// [`retry_pause`](Self::retry_pause), and counts the try.
    pub(super) fn pause(&mut self, now: Time, error: AcmeError) {
        let pause = error.retry_after.unwrap_or(self.retry_pause(self.tries));
        self.tries = self.tries.saturating_add(1);
        self.hold = Some((now.after(pause), error.reason));
    }

    /// Returns the pause after this many earlier tries: the configured one, doubled with each, at most six times
    /// (64-fold).
    pub(super) fn retry_pause(&self, tries: u32) -> Duration {
        self.spec.timeouts.retry * 2_u32.pow(tries.min(6))
    }

    /// Returns the pause before the next attempt after this many consecutive failures. It is zero unless the number is
    /// a multiple of that of the authorities, so that each is tried once. Then it grows by [`PAUSES`] with each round,
    /// but is at most a twentieth of the certificate's lifetime (a day without a certificate), or a minute if that is
    /// longer.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        let authorities = u32::try_from(self.spec.authorities.len().max(1)).unwrap_or(1);
        if !failures.is_multiple_of(authorities) {
            return Duration::ZERO;
        }
        let round = (failures / authorities).max(1) as usize - 1;
        let pause = Duration::from_secs(PAUSES[round.min(PAUSES.len() - 1)]);
        // A pause of a day is too long for a certificate that is valid for six.
        let longest = self.state.held.as_ref().map_or(DAY, |held| held.lifetime() / 20);
        pause.min(longest.max(Duration::from_secs(60)))
    }

    /// Ends the attempt as failed, with the pause until the next one.
    pub(super) fn fail(&mut self, error: AcmeError, now: Time) {
        self.end(error, now, false);
    }

    /// Suspends the attempt for a pause of at least a minute (if none would follow), to be resumed with the same order.
    pub(super) fn stall(&mut self, error: AcmeError, now: Time) {
        self.end(error, now, true);
    }

    /// Ends the attempt or, if `stalled`, suspends it, with an error: alerts, records it with the time of the next
    /// attempt, and lets the machine rest. The pause is that of [`pause_after`](Self::pause_after). A suspension lasts
    /// a minute instead of none. The error's Retry-After extends the pause if the attempt is suspended or there is only
    /// one authority. An order that ends without an issued certificate is marked as void in the ledger.
    fn end(&mut self, error: AcmeError, now: Time, stalled: bool) {
        let AcmeError { kind, reason: why, retry_after } = error;
        let failures = self.state.failures + 1;
        let mut pause = self.pause_after(failures);
        if stalled && pause.is_zero() {
            pause = Duration::from_secs(PAUSES[0]);
        }
        if self.spec.authorities.len() <= 1 || stalled {
            pause = pause.max(retry_after.unwrap_or_default());
        }
        let in_vain = |attempt: &super::Attempt| attempt.order.is_some() && attempt.issued.is_none();
        if !stalled && self.state.attempt.as_ref().is_some_and(in_vain) {
            self.note(Entry::Void { authority: self.authority(), names: self.spec.names.clone() });
        }
        let until = now.after(pause);
        self.alert(Alert::Failing { why: why.clone(), next: until, failures });
        self.write(if stalled {
            Record::Stalled { at: now, why, until, kind: Some(kind) }
        } else {
            Record::Failed { at: now, why, until, kind: Some(kind) }
        });
        self.rest(now);
    }

    /// Handles the error of the current action by phase. A rate limit with Retry-After is also recorded in the ledger.
    ///
    /// - Idle: no effect.
    /// - Renewal information: what is known remains in use, and the next query is after Retry-After or an hour, at most
    ///   a day.
    /// - Removal of a TXT record: retried after a pause that doubles up to twelve times; the sixth failure alerts.
    /// - Deployment and rollback: recorded and retried after a pause that doubles up to twelve times; the first and
    ///   every sixth failure alerts.
    /// - Restoration and the phases of an order: by `restore_error` and `order_error`.
    pub(super) fn on_error(&mut self, error: AcmeError, now: Time) {
        if error.kind == ErrorKind::RateLimited
            && let Some(after) = error.retry_after
        {
            let authority = self.authority();
            self.note(Entry::RetryAfter {
                until: now.after(after),
                authority,
                why: error.reason.clone(),
                at: Some(now),
            });
        }
        match &self.phase {
            Phase::Idle => {}
            Phase::RenewalInfo => {
                // The known renewal information remains in use: a failed query must not change the renewal time.
                let of = self.state.held.as_ref().and_then(|held| held.ari.clone()).unwrap_or_default();
                let info =
                    self.state.ari.as_ref().filter(|ari| ari.of == of).and_then(|ari| ari.info.clone());
                let next = now.after(error.retry_after.unwrap_or(Duration::from_secs(3600)).min(DAY));
                self.write(Record::Ari(crate::lifetime::Ari { of, info, next }));
                self.phase = Phase::Idle;
            }
            Phase::Restore => self.restore_error(error, now),
            Phase::Unpublish(txt) => {
                let name = txt.name.clone();
                self.unpublish_tries += 1;
                self.unpublish_hold =
                    Some(now.after(self.spec.timeouts.retry * 2_u32.pow(self.unpublish_tries.min(12))));
                if self.unpublish_tries == TRIES {
                    self.alert(Alert::Leftover { name, why: error.reason });
                }
                self.phase = Phase::Idle;
            }
            Phase::Deploy | Phase::Rollback => {
                let failures = self.state.deploy_failures.saturating_add(1);
                if failures == 1 || failures.is_multiple_of(TRIES) {
                    self.alert(Alert::Undeployed { why: error.reason.clone() });
                }
                let until = now.after(self.spec.timeouts.retry * 2_u32.pow(failures.min(12)));
                if self.phase == Phase::Rollback {
                    self.hold = Some((until, error.reason.clone()));
                } else {
                    self.phase = Phase::Idle;
                }
                self.write(Record::Undeployed { at: now, why: error.reason, until });
            }
            _ => self.order_error(error, now),
        }
    }
}
