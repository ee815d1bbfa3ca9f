//! What edges that serve the same names share: when a ticket key is made, seals, opens and is forgotten.
//!
//! Time is cut into epochs of [`Schedule::rotate`] since 1970, and each epoch has one key, which seals during that epoch. The key
//! of an epoch is made while the one before runs, by whichever edge comes first; the store keeps the first one. It opens until the
//! tickets that it sealed have ended, and is deleted then. Keys are random: what was recorded cannot be read any more by whoever
//! gets hold of the edges' secret after a key was deleted, which a key derived from the secret could not say.
//!
//! Clocks of edges may differ by [`Schedule::skew`].

use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest lifetime of a ticket: seven days (RFC 8446 §4.6.1).
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// When keys are made, seal, open, and are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    rotate: u64,
    lifetime: u64,
    skew: u64,
}

/// Why a schedule cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Keys would change too often, or too seldom.
    #[error("keys rotate every 2 s to 7 days")]
    Rotate,
    /// A ticket would live too short, or too long.
    #[error("tickets live 1 s to 7 days")]
    Lifetime,
    /// Clocks would be too far apart.
    #[error("clocks may differ by an hour at most")]
    Skew,
}

impl Default for Schedule {
    /// A new key every 6 hours, tickets that live 12 hours, clocks that differ by a minute.
    fn default() -> Self {
        Self { rotate: 6 * 3600, lifetime: 12 * 3600, skew: 60 }
    }
}

impl Schedule {
    /// A schedule by which a key seals for `rotate` and what it sealed can be opened for `lifetime`, where clocks differ by `skew`
    /// at most. Parts of seconds are left out.
    ///
    /// # Errors
    /// [`ScheduleError`], if one of them is out of its range.
    pub const fn new(rotate: Duration, lifetime: Duration, skew: Duration) -> Result<Self, ScheduleError> {
        let (rotate, lifetime, skew) = (rotate.as_secs(), lifetime.as_secs(), skew.as_secs());
        if rotate < 2 || rotate > LONGEST.as_secs() {
            return Err(ScheduleError::Rotate);
        }
        if lifetime < 1 || lifetime > LONGEST.as_secs() {
            return Err(ScheduleError::Lifetime);
        }
        if skew > 3600 {
            return Err(ScheduleError::Skew);
        }
        Ok(Self { rotate, lifetime, skew })
    }

    /// For how long a key seals.
    pub const fn rotate(&self) -> Duration {
        Duration::from_secs(self.rotate)
    }

    /// For how long what was sealed can be opened.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime)
    }

    /// By how much clocks may differ.
    pub const fn skew(&self) -> Duration {
        Duration::from_secs(self.skew)
    }

    /// How often an edge looks for keys: often enough to have each before anybody seals by it.
    pub fn refresh(&self) -> Duration {
        (self.rotate() / 4).min(Duration::from_secs(60))
    }

    /// The epoch whose key seals at this time, in seconds since 1970.
    pub const fn sealing(&self, now: u64) -> u64 {
        now / self.rotate
    }

    /// The epochs whose keys an edge makes at this time where they are missing: that of now, and the next.
    pub const fn wanted(&self, now: u64) -> RangeInclusive<u64> {
        let epoch = self.sealing(now);
        epoch..=epoch + 1
    }

    /// When the key of an epoch is forgotten, in seconds since 1970.
    pub const fn ends(&self, epoch: u64) -> u64 {
        (epoch.saturating_add(1)).saturating_mul(self.rotate).saturating_add(self.lifetime + self.skew)
    }

    /// Whether the key of an epoch still opens at this time. That of a later epoch does: another's clock may be ahead.
    pub const fn opens(&self, epoch: u64, now: u64) -> bool {
        now < self.ends(epoch)
    }

    /// The longest that a key exists, from when it is made by one edge until it is forgotten by another.
    pub const fn longest(&self) -> Duration {
        Duration::from_secs(2 * self.rotate + self.lifetime + 2 * self.skew)
    }
}

#[cfg(test)]
mod tests;
