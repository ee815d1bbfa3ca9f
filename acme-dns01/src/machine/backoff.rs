//! Pauses between polls, after errors, and between attempts.

use super::error::AcmeError;
use super::journal::State;
use super::protocol::Action;
use super::spec::{CertificateSpec, Timeouts};
use crate::time::{DAY, Time};
use std::time::Duration;

/// Pauses in seconds after every authority has failed once, twice, three times, and four times or more often, as Let's
/// Encrypt recommends.
pub(super) const PAUSES: [u64; 4] = [60, 600, 6000, 86_400];
/// Longest pause after an attempt that ended by a transient error.
pub(super) const TRANSIENT_PAUSE: Duration = Duration::from_secs(3600);
/// Number of tries after which a repeated error raises an alert (the one about a TXT record that cannot be removed at
/// the sixth, the one about a failed deployment at the first and every sixth), and before which a transient error of an
/// order pauses the attempt.
pub(super) const TRIES: u32 = 6;

/// Wait before the action of the phase, and its tries.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    /// Earliest time of the next action, with the reason. `None` without a wait.
    hold: Option<(Time, String)>,
    /// Tries of the action that failed with a transient error.
    tries: u32,
}

impl Backoff {
    /// Returns the number of failed tries since the last success.
    pub(super) const fn tries(&self) -> u32 {
        self.tries
    }

    /// Resets the number of failed tries. A wait remains.
    pub(super) const fn reset(&mut self) {
        self.tries = 0;
    }

    /// Delays the next action until this time, for the reason `why`.
    pub(super) fn hold(&mut self, until: Time, why: String) {
        self.hold = Some((until, why));
    }

    /// Delays the next action after a transient error, for its Retry-After or else for [`retry_pause`], and counts the
    /// try.
    pub(super) fn retry(&mut self, error: AcmeError, timeouts: &Timeouts, now: Time) {
        let pause = error.retry_after.unwrap_or(retry_pause(timeouts, self.tries));
        self.tries = self.tries.saturating_add(1);
        self.hold(now.after(pause), error.reason);
    }

    /// Returns the wait that was set, even one that has passed. `None` without one.
    pub(super) fn wait(&self) -> Option<Action> {
        self.hold.as_ref().map(|(until, why)| Action::Wait { until: *until, why: why.clone() })
    }

    /// Returns the wait that is in force, and ends one that has passed. `None` without one.
    pub(super) fn poll(&mut self, now: Time) -> Option<Action> {
        self.hold.take_if(|(until, _)| *until <= now);
        self.wait()
    }
}

/// Returns the pause after this many earlier tries: the configured one, doubled with each, at most six times (64-fold).
pub(super) fn retry_pause(timeouts: &Timeouts, tries: u32) -> Duration {
    timeouts.retry * 2_u32.pow(tries.min(6))
}

/// Returns the pause after this many tries of a deployment or of the removal of a TXT record: the configured one,
/// doubled with each, at most twelve times (4096-fold).
pub(super) fn long_retry_pause(timeouts: &Timeouts, tries: u32) -> Duration {
    timeouts.retry * 2_u32.pow(tries.min(12))
}

/// Returns the pause before the next attempt after this many consecutive failures. It is zero unless the number is a
/// multiple of that of the authorities, so that each is tried once. Then it grows by [`PAUSES`] with each round, but is
/// at most a twentieth of the certificate's lifetime (a day without a certificate), or a minute if that is longer.
pub(super) fn failure_pause(spec: &CertificateSpec, state: &State, failures: u32) -> Duration {
    let authorities = u32::try_from(spec.authorities.len().max(1)).unwrap_or(1);
    if !failures.is_multiple_of(authorities) {
        return Duration::ZERO;
    }
    let round = (failures / authorities).max(1) as usize - 1;
    let pause = Duration::from_secs(PAUSES[round.min(PAUSES.len() - 1)]);
    // A pause of a day is too long for a certificate that is valid for six.
    let longest = state.held.as_ref().map_or(DAY, |held| held.lifetime() / 20);
    pause.min(longest.max(Duration::from_secs(60)))
}
