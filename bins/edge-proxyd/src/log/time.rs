//! Calendar dates and times in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// A calendar date and time of day in UTC.
pub(super) struct Date {
    /// The year, such as 2026.
    pub(super) year: u64,
    /// The month, from 1 to 12.
    pub(super) month: usize,
    /// The day of the month, from 1 to 31.
    pub(super) day: u64,
    /// The hour, from 0 to 23.
    pub(super) hour: u64,
    /// The minute, from 0 to 59.
    pub(super) minute: u64,
    /// The second, from 0 to 59; there are no leap seconds.
    pub(super) second: u64,
    /// The millisecond, from 0 to 999.
    pub(super) millisecond: u32,
}

impl Date {
    /// Converts a time. Times before 1970 become the beginning of 1970.
    pub(super) fn new(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Years begin in March, so that the leap day is the last; 400 years are 146097 days.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * of_year + 2) / 153;
        let month = if march < 10 { march + 3 } else { march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as usize,
            day: of_year - (153 * march + 2) / 5 + 1,
            hour: second / 3600,
            minute: second / 60 % 60,
            second: second % 60,
            millisecond: since.subsec_millis(),
        }
    }

    /// Returns the English abbreviation of the month, such as `Jan`.
    pub(super) const fn month_name(&self) -> &'static str {
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][self.month - 1]
    }
}

/// Formats the date as in RFC 3339, such as `2026-11-06T21:20:00.123Z`.
impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, month, day, hour, minute, second, millisecond } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_moments() {
        for (seconds, date) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_735_689_599, (2024, 12, 31)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            let found = Date::new(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!((found.year, found.month, found.day), date);
        }
    }
}
