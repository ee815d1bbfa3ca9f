//! The health of one target, from the outcome of requests (passive) and from active checks.
//!
//! ```text
//!        consecutive failures                   ejection ends: one request
//!   well ───────────────────────→ ejected ───────────────────────→ trial
//!    ↑                               ↑                               │
//!    │                               └── failed: twice as long ──────┤
//!    └────────────────────────────────────────────────── succeeded ──┘
//! ```
//!
//! Independently, an active check can mark the target down, and up again.

use std::time::Duration;

/// The thresholds of passive and active health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The number of consecutive failed requests after which a target is ejected. 0 disables ejection.
    pub failures: u8,
    /// The duration of the first ejection. Each failed trial doubles the duration of the next ejection, up to
    /// [`MAX_EJECTION`] or this duration, whichever is longer.
    pub eject: Duration,
    /// The number of consecutive successful checks after which a target that is down is up again, at least 1.
    pub rise: u8,
    /// The number of consecutive failed checks after which a target is down, at least 1.
    pub fall: u8,
}

/// The longest ejection: 5 min, unless [`Rules::eject`] is longer.
pub const MAX_EJECTION: Duration = Duration::from_secs(300);

/// The value of the failure counter during a trial, whose failure ejects the target again at once.
const TRIAL_RUNNING: u8 = u8::MAX;

/// The health of one target. [`Health::to_bits`] encodes it in 64 bits, so that workers can share it in an atomic. The
/// default is healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The number of consecutive failed requests, or [`TRIAL_RUNNING`].
    failures: u8,
    /// The number of consecutive ejections; 0 if the target is not ejected.
    ejections: u8,
    /// The number of consecutive checks whose result contradicts `down`.
    streak: u8,
    /// True if active checks have marked the target down.
    down: bool,
    /// The end of the ejection, or of the wait for the outcome of a trial, in tenths of a second since the fixed
    /// moment.
    until: u32,
}

/// An event at a target: the outcome of a request or of an active check, or the begin of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request succeeded.
    Succeeded,
    /// A request failed: no connection, a broken one, a malformed response, a timeout, or a status that counts as a
    /// failure.
    Failed,
    /// A trial request begins. The next trial is allowed once this one has ended, or after [`Rules::eject`]. No effect
    /// unless a trial is due.
    Trying,
    /// An active check succeeded.
    CheckedUp,
    /// An active check failed.
    CheckedDown,
}

/// A change of a target's availability that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The target is healthy again: a request succeeded after an ejection, or active health checks succeed again.
    Back,
    /// The target was marked down by active checks.
    Down,
    /// The target was ejected for this duration, which failed trials prolong.
    Ejected(Duration),
}

/// The availability of a target for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// The target was marked down by active checks. It receives no requests.
    Down,
    /// The target is ejected after failures. It receives requests only if no other target is available.
    Ejected,
    /// The ejection has ended. The target receives one trial request.
    Trial,
    /// The target is in normal use.
    Healthy,
}

impl Availability {
    /// Returns the stable code in lowercase, for metrics and the status page. That of [`Availability::Healthy`] is
    /// `well`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Trial => "trial",
            Self::Healthy => "well",
        }
    }
}

/// Converts milliseconds to tenths of a second, rounded down.
const fn tenths(milliseconds: u64) -> u32 {
    // The counter lasts for four hundred million seconds from the start of the process.
    (milliseconds / 100) as u32
}

impl Health {
    /// Returns the availability at `now`, in milliseconds since any fixed moment.
    pub const fn availability(self, now: u64) -> Availability {
        if self.down {
            Availability::Down
        } else if self.ejections == 0 {
            Availability::Healthy
        } else if tenths(now) < self.until {
            Availability::Ejected
        } else {
            Availability::Trial
        }
    }

    /// Returns the health after an event at `now`, in milliseconds since the same moment as in
    /// [`Health::availability`]. A success ends an ejection; failures eject the target by `rules`, except those of
    /// earlier requests while it is ejected.
    #[must_use]
    pub fn after(mut self, event: Event, now: u64, rules: &Rules) -> Self {
        match event {
            Event::Succeeded => (self.failures, self.ejections, self.until) = (0, 0, 0),
            Event::Failed => {
                // During an ejection, failures of requests that began before it carry no new information.
                let trial = self.ejections > 0 && self.failures == TRIAL_RUNNING;
                self.failures = self.failures.saturating_add(1).min(TRIAL_RUNNING - 1);
                if rules.failures > 0 && (trial || (self.ejections == 0 && self.failures >= rules.failures)) {
                    let doubled = rules.eject.saturating_mul(1 << self.ejections.min(16));
                    let length = doubled.min(MAX_EJECTION.max(rules.eject));
                    self.ejections = self.ejections.saturating_add(1);
                    self.failures = 0;
                    // At least a tenth of a second, so that the end is distinguishable from the start.
                    self.until = tenths(now).saturating_add(tenths(length.as_millis() as u64).max(1));
                }
            }
            Event::Trying => {
                if self.availability(now) == Availability::Trial {
                    self.failures = TRIAL_RUNNING;
                    self.until = tenths(now).saturating_add(tenths(rules.eject.as_millis() as u64).max(1));
                }
            }
            Event::CheckedUp => self.check(false, rules.rise),
            Event::CheckedDown => self.check(true, rules.fall),
        }
        self
    }

    /// Returns the change of availability from this health to `after` that is to be reported. `None` if there is none,
    /// for a failed trial, and for ejections of a target that is down. `rules` must be those that `after` was computed
    /// by.
    pub fn change_to(self, after: Self, rules: &Rules) -> Option<Change> {
        let well = |health: Self| !health.down && health.ejections == 0;
        if after.down && !self.down {
            Some(Change::Down)
        } else if after.ejections > 0 && self.ejections == 0 && !after.down {
            Some(Change::Ejected(rules.eject))
        } else if well(after) && !well(self) {
            Some(Change::Back)
        } else {
            None
        }
    }

    /// Counts the result of an active check: `down` is true if it failed. After `needed` consecutive results that
    /// contradict the present state, the state changes; a target that comes up is also no longer ejected.
    fn check(&mut self, down: bool, needed: u8) {
        if self.down == down {
            self.streak = 0;
            return;
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak >= needed.max(1) {
            self.down = down;
            self.streak = 0;
            if !down {
                // An active check overrides earlier passive failures.
                (self.failures, self.ejections, self.until) = (0, 0, 0);
            }
        }
    }

    /// Encodes the health as one number, for an atomic. 0 is the default health. The encoding is not stable across
    /// versions.
    pub const fn to_bits(self) -> u64 {
        (self.failures as u64)
            | (self.ejections as u64) << 8
            | (self.streak as u64) << 16
            | (self.down as u64) << 24
            | (self.until as u64) << 32
    }

    /// Decodes a number returned by [`Health::to_bits`].
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            failures: bits as u8,
            ejections: (bits >> 8) as u8,
            streak: (bits >> 16) as u8,
            down: bits >> 24 & 1 == 1,
            until: (bits >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: Rules = Rules { failures: 3, eject: Duration::from_secs(10), rise: 2, fall: 3 };

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Succeeded),
            Just(Event::Failed),
            Just(Event::Trying),
            Just(Event::CheckedUp),
            Just(Event::CheckedDown),
        ]
    }

    #[test]
    fn three_failures_eject_for_ten_seconds_then_twenty() {
        let fail = |health: Health, now| health.after(Event::Failed, now, &RULES);
        let mut health = (0..2).fold(Health::default(), |health, _| fail(health, 1000));
        assert_eq!(health.availability(1000), Availability::Healthy);
        health = fail(health, 1000);
        assert_eq!(health.availability(10_900), Availability::Ejected);
        // Other requests in flight fail too; that must not extend the ejection.
        health = fail(fail(health, 1100), 1200);
        assert_eq!(health.availability(11_000), Availability::Trial);
        health = health.after(Event::Trying, 11_000, &RULES);
        assert_eq!(health.availability(11_000), Availability::Ejected, "one trial at a time");
        health = fail(health, 11_500);
        assert_eq!(health.availability(31_400), Availability::Ejected);
        assert_eq!(health.availability(31_500), Availability::Trial);
        health = health.after(Event::Trying, 31_500, &RULES).after(Event::Succeeded, 31_600, &RULES);
        assert_eq!(health.availability(31_600), Availability::Healthy);
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another() {
        let ejected = (0..3).fold(Health::default(), |health, _| health.after(Event::Failed, 0, &RULES));
        let trying = ejected.after(Event::Trying, 10_000, &RULES);
        assert_eq!(trying.availability(19_900), Availability::Ejected);
        assert_eq!(trying.availability(20_000), Availability::Trial);
    }

    #[test]
    fn checks_take_effect_after_their_counts() {
        let mut health = Health::default();
        for (event, now_down) in [
            (Event::CheckedDown, false),
            (Event::CheckedDown, false),
            (Event::CheckedUp, false),
            (Event::CheckedDown, false),
            (Event::CheckedDown, false),
            (Event::CheckedDown, true),
            (Event::CheckedUp, true),
            (Event::CheckedUp, false),
        ] {
            health = health.after(event, 0, &RULES);
            assert_eq!(health.availability(0) == Availability::Down, now_down);
        }
    }

    proptest! {
        #[test]
        fn whatever_happened_there_is_a_way_back(
            events in proptest::collection::vec((event(), 0u64..100_000), 0..200), failures in 0u8..9,
        ) {
            let rules = Rules { failures, ..RULES };
            let (mut health, mut now) = (Health::default(), 0);
            for (event, later) in events {
                now += later;
                let before = health;
                health = health.after(event, now, &rules);
                prop_assert_eq!(Health::from_bits(health.to_bits()), health);
                let said = before.change_to(health, &rules);
                let used = |health: Health| matches!(health.availability(now), Availability::Healthy);
                prop_assert_eq!(said == Some(Change::Back), used(health) && !used(before));
                prop_assert!(said.is_some() || used(health) == used(before));
                if failures == 0 {
                    prop_assert!(health.availability(now) != Availability::Ejected);
                }
            }
            // No ejection is longer than `MAX_EJECTION`.
            let later = now + MAX_EJECTION.as_millis() as u64 + 100;
            prop_assert!(health.availability(later) != Availability::Ejected);
            let checked = health.after(Event::CheckedUp, now, &rules).after(Event::CheckedUp, now, &rules);
            prop_assert!(checked.availability(now) != Availability::Down);
            prop_assert_eq!(checked.after(Event::Succeeded, now, &rules).availability(now), Availability::Healthy);
        }
    }
}
