//! Readers of single values, such as text, numbers, lists, durations and sizes.

use super::document::Value;
use super::keys::{Kind, words};
use cli_support::words::nearest;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

impl<'d> Value<'d, '_> {
    /// Returns the value as text. `None` if it is not text, which is reported.
    pub(super) fn text(&self) -> Option<&'d str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.report_error("expected a string: put it in quotes");
        }
        text
    }

    /// Returns the value as a boolean. `None` if it is not a boolean, which is reported.
    pub(super) fn boolean(&self) -> Option<bool> {
        debug_assert!(self.may_be(|kind| matches!(kind, Kind::Boolean)), "{}: {:?}", self.path, self.kind);
        let value = self.value.as_bool();
        if value.is_none() {
            self.report_error("expected true or false, without quotes");
        }
        value
    }

    /// Returns the value as a whole number within the bounds of its kind, which are inclusive. `None` if it is not one,
    /// which is reported.
    pub(super) fn number(&self) -> Option<u64> {
        let (low, high) = if let Kind::Number(low, high) = self.kind { (*low, *high) } else { (0, u64::MAX) };
        debug_assert!(
            matches!(self.kind, Kind::Number(..)),
            "{} is not a number according to the table of keys",
            self.path
        );
        let number = self.value.as_integer();
        let number = number.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        let number = number.filter(|n| (low..=high).contains(n));
        if number.is_none() {
            self.report_error(&format!("expected a whole number from {low} to {high}"));
        }
        number
    }

    /// Returns the value as a number from 0 to 1, inclusive. `None` if it is not one, which is reported.
    pub(super) fn share(&self) -> Option<f64> {
        debug_assert!(matches!(self.kind, Kind::Share), "{}: {:?}", self.path, self.kind);
        let number = match (self.value.as_float(), self.value.as_integer()) {
            (Some(float), _) => float.as_str().parse().ok(),
            (_, Some(integer)) => integer.as_str().parse().ok(),
            _ => None,
        };
        let share = number.filter(|number| (0.0..=1.0).contains(number));
        if share.is_none() {
            self.report_error("expected a number from 0 to 1: 0.1 is one in ten, 1 is all");
        }
        share
    }

    /// Returns the value as an absolute path, and records it as a file of the document. `None` if it is not one, which
    /// is reported.
    pub(super) fn path(&self) -> Option<PathBuf> {
        debug_assert!(matches!(self.kind, Kind::Path), "{}: {:?}", self.path, self.kind);
        let text = self.text()?;
        if text.starts_with('/') {
            self.document.name_file(text.into(), self);
            return Some(text.into());
        }
        self.report_error("expected an absolute path: begin with /");
        None
    }

    /// Returns the second part of the pair in `choices` whose word is the value. `None` if no word is, which is
    /// reported, with the most similar word.
    pub(super) fn one_of<T: Copy, const N: usize>(&self, choices: &[(&'static str, T); N]) -> Option<T> {
        let words = words(choices);
        debug_assert!(
            self.may_be(|kind| matches!(kind, Kind::Word(known) if **known == words)),
            "{}: {:?}",
            self.path,
            self.kind
        );
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let hint = nearest(text, words.iter().copied())
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            self.report_error(&format!("must be one of {}{hint}", words.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// Parses text by its `FromStr`. `None` if the value is not text or cannot be parsed; the latter is reported with
    /// the message `form`.
    pub(super) fn parse<T: FromStr>(&self, form: &str) -> Option<T> {
        debug_assert!(matches!(self.kind, Kind::Form(_) | Kind::Range), "{}: {:?}", self.path, self.kind);
        let value = self.text()?.parse().ok();
        if value.is_none() {
            self.report_error(form);
        }
        value
    }

    /// Returns the items of a list. A value that is not an array is returned as a list with that value.
    pub(super) fn list(&self) -> Vec<Self> {
        let Kind::List(kind) = self.kind else {
            debug_assert!(false, "{}: {:?}", self.path, self.kind);
            return Vec::new();
        };
        if self.value.is_array() {
            return self.items();
        }
        vec![Value {
            document: self.document,
            path: self.path.clone(),
            span: self.span.clone(),
            value: self.value,
            kind,
        }]
    }

    /// Returns a list of CIDR ranges; a single address is a range of one. Ranges that are not valid are reported and
    /// left out; a range with bits set beyond its prefix is reported, and returned without these bits.
    pub(super) fn ranges(&self) -> Vec<ipnet::IpNet> {
        let form = "not a valid CIDR range: expected one such as 100.64.0.0/10 or 2001:db8::1";
        let range = |item: &Self| {
            let text = item.text()?;
            if let Ok(address) = text.parse::<std::net::IpAddr>() {
                return Some(address.into());
            }
            if text.contains('%') {
                item.report_error(
                    "addresses are compared without their zones: write one such as fe80::/64 (the zone of [trust] is its `interface`)",
                );
                return None;
            }
            let range = item.parse::<ipnet::IpNet>(form)?;
            if range.addr() != range.network() {
                item.report_error(&format!("has bits set beyond its prefix: write {}", range.trunc()));
            }
            Some(range.trunc())
        };
        self.list().iter().filter_map(range).collect()
    }

    /// Returns true if `such` is true for the kind of the value, or, if that is a choice, for one of its kinds.
    fn may_be(&self, such: impl Fn(&Kind) -> bool) -> bool {
        match self.kind {
            Kind::Either(kinds) => kinds.iter().any(such),
            kind => such(kind),
        }
    }

    /// Parses a duration, such as `10s`, `500ms`, `1m30s`, `1h` or `1d`. `None` if it is not valid, which is reported.
    pub(super) fn duration(&self) -> Option<Duration> {
        debug_assert!(matches!(self.kind, Kind::Duration), "{}: {:?}", self.path, self.kind);
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(number) = self.value.as_integer()
            && number.radix() == 10
            && is_plain(number.as_str())
        {
            self.report_error(&format!(
                "expected a duration in quotes, with its unit: write \"{}s\"",
                number.as_str()
            ));
            return None;
        }
        let duration = self.text().map(duration)?;
        if duration.is_none() {
            self.report_error("not a valid duration: expected one such as 10s, 500ms, 1m30s or 1h");
        }
        duration
    }

    /// Parses a size in bytes: a number, or text with a unit, such as `16KiB`, `10MB` or `1GiB`. `None` if it is not
    /// valid, which is reported.
    pub(super) fn size(&self) -> Option<u64> {
        debug_assert!(matches!(self.kind, Kind::Size), "{}: {:?}", self.path, self.kind);
        let size = match self.value.as_str() {
            Some(text) => size(text),
            None => self.value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok()),
        };
        if size.is_none() {
            self.report_error("not a valid size: expected bytes, or one such as 16KiB, 10MB or 1GiB");
        }
        size
    }
}

/// Parses a duration: numbers, each followed by one of the units `ms`, `s`, `m`, `h` and `d`. `None` if it is not valid
/// or overflows.
fn duration(mut text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    loop {
        let (number, rest) = number(text)?;
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum = sum.checked_add(match &rest[..unit] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        })?;
        text = &rest[unit..];
        if text.is_empty() {
            return Some(sum);
        }
    }
}

/// Parses a size with an optional unit: `B`, decimal (`kB` or `KB`, `MB`, `GB`) or binary (`KiB`, `MiB`, `GiB`). `None`
/// if it is not valid or overflows.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = number(text)?;
    number.checked_mul(match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    })
}

/// Splits off the decimal number at the beginning. Returns the number and the rest. `None` if the text does not begin
/// with a digit, or the number exceeds 64 bits.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        for wrong in ["", "10", "s", "10 s", "1x", "-1s", "99999999999999999999s", "999999999999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
        assert_eq!((size("16KiB"), size("10 MB"), size("7")), (Some(16_384), Some(10_000_000), Some(7)));
        for wrong in ["", "KiB", "1TB", "99999999999GiB", "-1"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
