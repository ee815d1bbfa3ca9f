//! Points in time and durations. The pure core receives the current time as an argument.

use std::fmt;
use std::time::Duration;

/// A point in time: milliseconds since 1970-01-01 UTC, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Time(u64);

/// Number of seconds by which a time may be after the current one without counting as in the future.
const CLOCK_TOLERANCE: u64 = 300;

/// The length of a day.
pub const DAY: Duration = Duration::from_secs(86_400);

impl Time {
    /// Creates a time from seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Creates a time from milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the duration since `earlier`, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns `true` if this time is more than five minutes after `now`: it was recorded while the clock was ahead.
    #[must_use]
    pub const fn is_ahead_of(self, now: Self) -> bool {
        self.since(now).as_secs() > CLOCK_TOLERANCE
    }

    /// Returns the time that is `later` after this one. Saturates at the largest time.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the time that is `earlier` before this one, or 1970-01-01 if that is earlier.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(earlier.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Returns the time moved by a signed number of milliseconds. Saturates at 1970-01-01 and the largest time.
    #[must_use]
    pub const fn shifted(self, milliseconds: i64) -> Self {
        Self(self.0.saturating_add_signed(milliseconds))
    }

    /// Returns year, month (1 to 12) and day (1 to 31) in UTC, in the types of certificate libraries. Years after 9999
    /// become 9999.
    #[cfg(feature = "client")]
    pub(crate) fn date(self) -> (i32, u8, u8) {
        let (year, month, day) = self.civil();
        let small = |number: u64| u8::try_from(number).unwrap_or(1);
        (i32::try_from(year.min(9999)).unwrap_or(9999), small(month), small(day))
    }

    /// Returns year, month (1 to 12) and day (1 to 31) in UTC.
    fn civil(self) -> (u64, u64, u64) {
        let (mut year, mut day) = (1970, self.secs() / 86_400);
        // 400 years have a whole number of days.
        year += day / 146_097 * 400;
        day %= 146_097;
        while day >= days_in(year) {
            day -= days_in(year);
            year += 1;
        }
        let mut month = 1;
        while day >= days_of(year, month) {
            day -= days_of(year, month);
            month += 1;
        }
        (year, month, day + 1)
    }

    /// Parses an RFC 3339 timestamp from the years 1970 to 9999, such as `2026-11-23T12:45:56.5+01:00`, truncated to
    /// the millisecond. `T` may be lower case or a space. `None` if the text is not valid.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let bytes = text.as_bytes();
        let mark = |at: usize, allowed: &[u8]| bytes.get(at).is_some_and(|found| allowed.contains(found));
        if !(mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let in_range = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        if !in_range {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut milliseconds = 0;
        if let Some(fraction) = rest.strip_prefix('.') {
            let end = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            let digits = fraction.get(..end).filter(|digits| !digits.is_empty())?;
            milliseconds = format!("{digits:0<3}").get(..3)?.parse().ok()?;
            rest = fraction.get(end..)?;
        }
        let seconds = days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let local = Self(seconds * 1000 + milliseconds);
        if rest.eq_ignore_ascii_case("z") {
            return Some(local);
        }
        let sign = if rest.starts_with('+') { -1 } else { 1 };
        let (hours, minutes) = rest.strip_prefix(['+', '-'])?.split_once(':')?;
        if ![hours, minutes].iter().all(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit())) {
            return None;
        }
        let offset = hours.parse::<i64>().ok().filter(|hours| *hours < 24)? * 60
            + minutes.parse::<i64>().ok().filter(|minutes| *minutes < 60)?;
        Some(local.shifted(sign * offset * 60_000))
    }
}

impl fmt::Display for Time {
    /// Formats the time as RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.secs();
        let (year, month, day) = self.civil();
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Formats a duration for display, rounded down: as days, days and hours, hours, hours and minutes, or minutes; below a
/// minute as seconds. An example is `2 d 3 h`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, ..) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Returns `true` for a leap year of the Gregorian calendar.
const fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Returns the number of days in a year.
const fn days_in(year: u64) -> u64 {
    if leap(year) { 366 } else { 365 }
}

/// Returns the number of days in a month, 1 to 12.
const fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the number of days from 1970-01-01 to a date, 0 for that day. The year must not be before 1970.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    (1970..year).map(days_in).sum::<u64>() + (1..month).map(|month| days_of(year, month)).sum::<u64>() + day
        - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_rfc_3339() {
        let time = Time::parse_rfc3339("2026-11-23T12:45:56Z").expect("a date");
        assert_eq!(time.secs(), 1_795_437_956);
        assert_eq!(Time::parse_rfc3339("2026-11-23T13:45:56.000+01:00"), Some(time));
        assert_eq!(Time::parse_rfc3339("2026-11-23T12:45:56.25Z"), Some(time.shifted(250)));
        for wrong in [
            "",
            "2026-11-23",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-23T12:45:56",
            "2026-11-23T12:45:56+-1:00",
            "2026-11-23T12:45:56-+1:00",
        ] {
            assert_eq!(Time::parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in 0_u64..253_402_300_800) {
            let time = Time::from_secs(seconds);
            prop_assert_eq!(Time::parse_rfc3339(&time.to_string()), Some(time));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            let _ = Time::parse_rfc3339(&text);
        }
    }
}
