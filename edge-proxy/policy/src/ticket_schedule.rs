//! The schedule of ticket keys that are shared between edges of the same names: when a key is created, seals, opens and
//! is deleted.
//!
//! Time is divided into epochs of [`TicketSchedule::rotate`] since 1970. Each epoch has one key, which seals tickets
//! during that epoch. The key of an epoch is created during the previous one by whichever edge comes first; the store
//! keeps the first. It opens tickets until the last one that it sealed has expired, and is then deleted. Keys are
//! random: once a key is deleted, recorded traffic stays unreadable even to someone who obtains the edges' shared
//! secret. A key derived from that secret could not offer this.
//!
//! Clocks of edges may differ by [`TicketSchedule::skew`].

use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest lifetime of a ticket: seven days (RFC 8446 §4.6.1).
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The lifecycle of ticket keys. The default rotates every 6 hours, with a ticket lifetime of 12 hours and a clock skew
/// of one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketSchedule {
    /// The duration for which a key seals tickets, in seconds: the length of an epoch.
    rotate: u64,
    /// The lifetime of a ticket, in seconds.
    lifetime: u64,
    /// The largest difference between the clocks of edges, in seconds.
    skew: u64,
}

/// The error of a schedule with a duration out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The rotation interval is not within 2 s to 7 days.
    #[error("keys rotate every 2 s to 7 days")]
    Rotate,
    /// The ticket lifetime is not within 1 s to 7 days.
    #[error("tickets live 1 s to 7 days")]
    Lifetime,
    /// The clock skew is more than one hour.
    #[error("clocks may differ by an hour at most")]
    Skew,
}

impl Default for TicketSchedule {
    /// Returns a rotation of 6 hours, a ticket lifetime of 12 hours, and a skew of one minute.
    fn default() -> Self {
        Self { rotate: 6 * 3600, lifetime: 12 * 3600, skew: 60 }
    }
}

impl TicketSchedule {
    /// Creates a schedule in which a key seals tickets for `rotate` (2 s to 7 days), a ticket can be opened for
    /// `lifetime` (1 s to 7 days), and the clocks of edges differ by at most `skew` (up to 1 h). Fractions of seconds
    /// are truncated.
    ///
    /// # Errors
    /// [`ScheduleError`] for the first duration that is out of range.
    pub const fn new(rotate: Duration, lifetime: Duration, skew: Duration) -> Result<Self, ScheduleError> {
        let (rotate, lifetime, skew) = (rotate.as_secs(), lifetime.as_secs(), skew.as_secs());
        if rotate < 2 || rotate > MAX_LIFETIME.as_secs() {
            return Err(ScheduleError::Rotate);
        }
        if lifetime < 1 || lifetime > MAX_LIFETIME.as_secs() {
            return Err(ScheduleError::Lifetime);
        }
        if skew > 3600 {
            return Err(ScheduleError::Skew);
        }
        Ok(Self { rotate, lifetime, skew })
    }

    /// Returns the duration for which a key seals tickets.
    pub const fn rotate(&self) -> Duration {
        Duration::from_secs(self.rotate)
    }

    /// Returns the duration for which a sealed ticket can be opened.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime)
    }

    /// Returns the largest difference between the clocks of edges.
    pub const fn skew(&self) -> Duration {
        Duration::from_secs(self.skew)
    }

    /// Returns the interval at which an edge reloads keys, a quarter of the rotation and at most 60 s: short enough to
    /// have each key before any edge seals with it.
    pub fn refresh_interval(&self) -> Duration {
        (self.rotate() / 4).min(Duration::from_secs(60))
    }

    /// Returns the epoch whose key seals tickets at `now`, in seconds since 1970.
    pub const fn sealing_epoch(&self, now: u64) -> u64 {
        now / self.rotate
    }

    /// Returns the epochs whose keys an edge creates if they are missing: the current one and the next. `now` is in
    /// seconds since 1970.
    pub const fn required_epochs(&self, now: u64) -> RangeInclusive<u64> {
        let epoch = self.sealing_epoch(now);
        epoch..=epoch + 1
    }

    /// Returns the time from which on the key of an epoch is expired and to be deleted, in seconds since 1970.
    pub const fn end(&self, epoch: u64) -> u64 {
        (epoch.saturating_add(1)).saturating_mul(self.rotate).saturating_add(self.lifetime + self.skew)
    }

    /// Returns whether the key of an epoch opens tickets at `now`, in seconds since 1970: until the time that
    /// [`TicketSchedule::end`] returns. True for later epochs as well, since another edge's clock may be ahead.
    pub const fn opens(&self, epoch: u64, now: u64) -> bool {
        now < self.end(epoch)
    }

    /// Returns the longest time for which a key can exist: from its creation by one edge to its deletion by another,
    /// whose clocks differ by the skew.
    pub const fn max_key_lifetime(&self) -> Duration {
        Duration::from_secs(2 * self.rotate + self.lifetime + 2 * self.skew)
    }
}

#[cfg(test)]
mod tests;
