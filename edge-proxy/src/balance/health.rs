//! What is known of one target: by the requests that went there, and by checks of its own.
//!
//! ```text
//!            failures in a row                 its time is over: one request
//!   well ───────────────────────→ ejected ───────────────────────→ trial
//!    ↑                               ↑                               │
//!    │                               └── failed: twice as long ──────┤
//!    └────────────────────────────────────────────────── succeeded ──┘
//! ```
//!
//! Independently of that an active check can find it down, and up again.

use std::time::Duration;

/// When a target is ejected, and when a check's word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Requests that must fail in a row before the target is ejected. 0 never ejects.
    pub failures: u8,
    /// For how long it is ejected at first. It doubles with each failed trial, up to [`LONGEST`].
    pub eject: Duration,
    /// Checks that must succeed in a row before a target that is down counts as up.
    pub rise: u8,
    /// Checks that must fail in a row before a target counts as down.
    pub fall: u8,
}

/// The longest time for which a target is ejected.
pub const LONGEST: Duration = Duration::from_secs(300);

/// In the place of a count of failures: a trial is under way, and its outcome counts at once.
const TRYING: u8 = u8::MAX;

/// The state of one target. It fits in 64 bits, so that all workers share it without a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Requests that failed in a row.
    failures: u8,
    /// How often it was ejected in a row; 0 is not ejected.
    ejections: u8,
    /// Checks in a row that said the opposite of `down`.
    streak: u8,
    /// What the checks say.
    down: bool,
    /// Until when it is ejected, or a trial is under way, in tenths of a second.
    until: u32,
}

/// What happened at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request succeeded.
    Succeeded,
    /// A request failed: no connection, a broken one, nonsense, no answer in time.
    Failed,
    /// A trial begins: the next is not allowed before this one ended or took too long.
    Trying,
    /// An active check succeeded.
    CheckedUp,
    /// An active check failed.
    CheckedDown,
}

/// Whether a target may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Availability {
    /// The active check finds it down: it is not used.
    Down,
    /// Ejected after failures: used only if nothing else is left.
    Ejected,
    /// Its time is over: one request may find out.
    Trial,
    /// It is used.
    Well,
}

impl Availability {
    /// The stable name, for metrics and pages.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Ejected => "ejected",
            Self::Trial => "trial",
            Self::Well => "well",
        }
    }
}

const fn tenths(milliseconds: u64) -> u32 {
    // Four hundred million seconds from the start are beyond any process.
    (milliseconds / 100) as u32
}

impl Health {
    /// Whether the target may be used now, in milliseconds.
    pub const fn availability(self, now: u64) -> Availability {
        if self.down {
            Availability::Down
        } else if self.ejections == 0 {
            Availability::Well
        } else if tenths(now) < self.until {
            Availability::Ejected
        } else {
            Availability::Trial
        }
    }

    /// The state after an event.
    #[must_use]
    pub fn after(mut self, event: Event, now: u64, rules: &Rules) -> Self {
        match event {
            Event::Succeeded => (self.failures, self.ejections, self.until) = (0, 0, 0),
            Event::Failed => {
                // While it is ejected, late failures of earlier requests say nothing new.
                let trial = self.ejections > 0 && self.failures == TRYING;
                self.failures = self.failures.saturating_add(1).min(TRYING - 1);
                if rules.failures > 0 && (trial || (self.ejections == 0 && self.failures >= rules.failures)) {
                    let doubled = rules.eject.saturating_mul(1 << self.ejections.min(16));
                    let length = doubled.min(LONGEST.max(rules.eject));
                    self.ejections = self.ejections.saturating_add(1);
                    self.failures = 0;
                    // At least a tenth, so that there is an end to come.
                    self.until = tenths(now).saturating_add(tenths(length.as_millis() as u64).max(1));
                }
            }
            Event::Trying => {
                if self.availability(now) == Availability::Trial {
                    self.failures = TRYING;
                    self.until = tenths(now).saturating_add(tenths(rules.eject.as_millis() as u64).max(1));
                }
            }
            Event::CheckedUp => self.check(false, rules.rise),
            Event::CheckedDown => self.check(true, rules.fall),
        }
        self
    }

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
                // Its own check knows better than what failed before.
                (self.failures, self.ejections, self.until) = (0, 0, 0);
            }
        }
    }

    /// As one number, for an atomic.
    pub const fn to_bits(self) -> u64 {
        (self.failures as u64)
            | (self.ejections as u64) << 8
            | (self.streak as u64) << 16
            | (self.down as u64) << 24
            | (self.until as u64) << 32
    }

    /// From [`Health::to_bits`].
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
        assert_eq!(health.availability(1000), Availability::Well);
        health = fail(health, 1000);
        assert_eq!(health.availability(10_900), Availability::Ejected);
        // Others that were under way fail too: no longer ejection for that.
        health = fail(fail(health, 1100), 1200);
        assert_eq!(health.availability(11_000), Availability::Trial);
        health = health.after(Event::Trying, 11_000, &RULES);
        assert_eq!(health.availability(11_000), Availability::Ejected, "one trial at a time");
        health = fail(health, 11_500);
        assert_eq!(health.availability(31_400), Availability::Ejected);
        assert_eq!(health.availability(31_500), Availability::Trial);
        health = health.after(Event::Trying, 31_500, &RULES).after(Event::Succeeded, 31_600, &RULES);
        assert_eq!(health.availability(31_600), Availability::Well);
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
                health = health.after(event, now, &rules);
                prop_assert_eq!(Health::from_bits(health.to_bits()), health);
                if failures == 0 {
                    prop_assert!(health.availability(now) != Availability::Ejected);
                }
            }
            // Never ejected for longer than the longest time.
            let later = now + LONGEST.as_millis() as u64 + 100;
            prop_assert!(health.availability(later) != Availability::Ejected);
            let checked = health.after(Event::CheckedUp, now, &rules).after(Event::CheckedUp, now, &rules);
            prop_assert!(checked.availability(now) != Availability::Down);
            prop_assert_eq!(checked.after(Event::Succeeded, now, &rules).availability(now), Availability::Well);
        }
    }
}
