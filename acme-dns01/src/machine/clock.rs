//! Difference between the CA's clock and the local one.

use super::outbox::Outbox;
use super::protocol::Alert;
use crate::time::Time;

/// The CA's clock, relative to the local one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CaClock {
    /// The CA's clock minus the local clock, in milliseconds.
    skew: i64,
}

impl CaClock {
    /// Updates the difference from the Date field of a response; `None` has no effect. Differences below 30 s count as
    /// none. Raises an alert when the difference changes by more than a minute.
    pub(super) fn observe(&mut self, date: Option<Time>, now: Time, outbox: &mut Outbox) {
        let Some(date) = date else { return };
        let skew = i64::try_from(date.millis()).unwrap_or(0) - i64::try_from(now.millis()).unwrap_or(0);
        let before = self.skew;
        // The Date field has a resolution of a second, and the network adds delay.
        self.skew = if skew.unsigned_abs() < 30_000 { 0 } else { skew };
        if self.skew != 0 && before.abs_diff(self.skew) > 60_000 {
            outbox.alert(Alert::Clock { ahead: -self.skew / 1000 });
        }
    }

    /// Returns the time of the CA's clock at a local time.
    pub(super) const fn at_ca(self, local: Time) -> Time {
        local.shifted(self.skew)
    }

    /// Returns the local time at a time of the CA's clock.
    pub(super) const fn at_local(self, ca: Time) -> Time {
        ca.shifted(-self.skew)
    }
}
