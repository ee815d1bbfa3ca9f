//! What follows when something does not work: pauses, the end of an attempt, its continuation, and who is told.

use super::{Alert, Entry, Machine, Phase, Record, Trouble, TroubleKind};
use crate::time::{DAY, Time};
use std::time::Duration;

/// Pauses after a whole round of authorities failed: those that Let's Encrypt suggests.
const PAUSES: [u64; 4] = [60, 600, 6000, 86_400];
/// Transient errors in a row before a person is told.
pub(super) const TRIES: u32 = 6;

impl Machine {
    pub(super) fn pause(&mut self, now: Time, trouble: Trouble) {
        let pause = trouble.retry_after.unwrap_or(self.patience_after(self.tries));
        self.tries = self.tries.saturating_add(1);
        self.hold = Some((now.after(pause), trouble.why));
    }

    /// How long to wait before the next try after this many: it doubles six times.
    pub(super) fn patience_after(&self, tries: u32) -> Duration {
        self.spec.patience.retry * 2_u32.pow(tries.min(6))
    }

    /// How long to wait after this many failures in a row.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        let authorities = u32::try_from(self.spec.authorities.len().max(1)).unwrap_or(1);
        if !failures.is_multiple_of(authorities) {
            return Duration::ZERO;
        }
        let round = (failures / authorities).max(1) as usize - 1;
        let pause = Duration::from_secs(PAUSES[round.min(PAUSES.len() - 1)]);
        // A day is long for a certificate that lives six.
        let longest = self.state.held.as_ref().map_or(DAY, |held| held.lifetime() / 20);
        pause.min(longest.max(Duration::from_secs(60)))
    }

    /// The attempt is over.
    pub(super) fn fail(&mut self, why: String, now: Time, retry_after: Option<Duration>) {
        self.over(why, now, retry_after, false);
    }

    /// The attempt goes on later with its order.
    pub(super) fn stall(&mut self, why: String, now: Time, retry_after: Option<Duration>) {
        self.over(why, now, retry_after, true);
    }

    fn over(&mut self, why: String, now: Time, retry_after: Option<Duration>, stalled: bool) {
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
            Record::Stalled { at: now, why, until }
        } else {
            Record::Failed { at: now, why, until }
        });
        self.rest(now);
    }

    pub(super) fn trouble(&mut self, trouble: Trouble, now: Time) {
        if trouble.kind == TroubleKind::RateLimited
            && let Some(after) = trouble.retry_after
        {
            let authority = self.authority();
            self.note(Entry::RetryAfter { until: now.after(after), authority, why: trouble.why.clone() });
        }
        match &self.phase {
            Phase::Idle => {}
            Phase::RenewalInfo => {
                // What was known stays known; a failure to ask is no reason to renew or not to.
                let of = self.state.held.as_ref().and_then(|held| held.ari.clone()).unwrap_or_default();
                let info =
                    self.state.ari.as_ref().filter(|ari| ari.of == of).and_then(|ari| ari.info.clone());
                let next = now.after(trouble.retry_after.unwrap_or(Duration::from_secs(3600)).min(DAY));
                self.write(Record::Ari(crate::lifetime::Ari { of, info, next }));
                self.phase = Phase::Idle;
            }
            Phase::Unpublish(txt) => {
                let name = txt.name.clone();
                self.unpublish_tries += 1;
                self.unpublish_hold =
                    Some(now.after(self.spec.patience.retry * 2_u32.pow(self.unpublish_tries.min(12))));
                if self.unpublish_tries == TRIES {
                    self.alert(Alert::Leftover { name, why: trouble.why });
                }
                self.phase = Phase::Idle;
            }
            Phase::Deploy | Phase::Rollback => {
                self.tries += 1;
                if self.tries == 1 || self.tries.is_multiple_of(TRIES) {
                    self.alert(Alert::Undeployed { why: trouble.why.clone() });
                }
                let pause = self.spec.patience.retry * 2_u32.pow(self.tries.min(12));
                self.state.deploy_until = Some(now.after(pause));
                if self.phase == Phase::Rollback {
                    self.hold = Some((now.after(pause), trouble.why));
                } else {
                    self.phase = Phase::Idle;
                }
            }
            _ => self.order_trouble(trouble, now),
        }
    }
}
