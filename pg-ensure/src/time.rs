//! Expiry times of passwords (`VALID UNTIL`).

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Time at which a password expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValidUntil {
    /// `-infinity`: the password has always been expired.
    Never,
    /// A time in microseconds since 1970-01-01T00:00:00Z.
    At(i64),
    /// `infinity`, or no limit: the password does not expire.
    Forever,
}

/// Error of a text that is not a time in RFC 3339 format, a date, `infinity` or `-infinity`. Contains the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a valid time: expected one such as \"2027-01-31T12:00:00Z\", \"2027-01-31\" (UTC) or \"infinity\""
)]
pub struct InvalidTime(pub String);

impl ValidUntil {
    /// Returns the time as an SQL string constant for `VALID UNTIL`, such as `'2027-01-31T12:00:00Z'`.
    #[must_use]
    pub fn sql(self) -> String {
        format!("'{self}'")
    }
}

impl FromStr for ValidUntil {
    type Err = InvalidTime;

    /// Parses RFC 3339 with `Z` or an offset and at most six fractional digits, a date (its beginning in UTC),
    /// `infinity` or `-infinity`.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        match text {
            "infinity" => return Ok(Self::Forever),
            "-infinity" => return Ok(Self::Never),
            _ => {}
        }
        parse(text).map(Self::At).ok_or_else(|| InvalidTime(text.to_owned()))
    }
}

impl fmt::Display for ValidUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = match self {
            Self::Never => return f.write_str("-infinity"),
            Self::Forever => return f.write_str("infinity"),
            Self::At(micros) => *micros,
        };
        let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
        let (year, month, day) = civil(days);
        let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if fraction != 0 {
            write!(f, ".{fraction:06}")?;
        }
        f.write_str("Z")
    }
}

/// Parses a date, which stands for its beginning in UTC, or an RFC 3339 timestamp, with a space in place of the `T`
/// permitted, to microseconds since 1970. `None` if it is not valid.
fn parse(text: &str) -> Option<i64> {
    let number = |part: &str, length: usize| -> Option<i64> {
        (part.len() == length && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let date = text.get(..10)?;
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let days = days(year, month, day);
    if civil(days) != (year, month, day) || parts.next().is_some() {
        return None;
    }
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(days * 86_400_000_000);
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let clock = rest.get(..8)?;
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if hour > 23 || minute > 59 || second > 59 || parts.next().is_some() {
        return None;
    }
    let mut zone = &rest[8..];
    let mut micros = 0;
    if let Some(fraction) = zone.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        micros = number(&format!("{:0<6}", &fraction[..digits]), 6).filter(|_| digits > 0)?;
        zone = &fraction[digits..];
    }
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('+') { 1 } else { -1 };
            let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
            sign * (number(hours, 2)? * 60 + number(minutes, 2)?)
        }
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60;
    Some(seconds * 1_000_000 + micros)
}

/// Returns the number of days from 1970-01-01 to a date in the Gregorian calendar, negative before that.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns year, month and day from the number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for (text, written) in [
            ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
            ("2027-01-31", "2027-01-31T00:00:00Z"),
            ("2024-02-29 23:59:59.5+02:00", "2024-02-29T21:59:59.500000Z"),
            ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(text.parse::<ValidUntil>().expect(text).to_string(), written);
        }
        for text in ["", "tomorrow", "2027-02-29", "2027-1-31", "2027-01-31T25:00:00Z", "2027-01-31T12:00:00"]
        {
            assert!(text.parse::<ValidUntil>().is_err(), "{text}");
        }
        assert_eq!("2000-01-01".parse(), Ok(ValidUntil::At(946_684_800_000_000)));
    }
}
