//! Conversion of times and sizes.

/// Converts a size of nginx, with the unit `k`, `m` or `g` in either case, into one such as `16KiB`. Other units are
/// dropped, leaving bytes. `None` if it is 0 or does not begin with a number.
pub(super) fn size(text: &str) -> Option<String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if digits.parse::<u64>().ok()? == 0 {
        return None;
    }
    Some(match text[digits.len()..].to_ascii_lowercase().as_str() {
        "k" => format!("{digits}KiB"),
        "m" => format!("{digits}MiB"),
        "g" => format!("{digits}GiB"),
        _ => digits.to_owned(),
    })
}

/// Parses a time of nginx, such as `90`, `1m30s` or `1d 2h`, into milliseconds. The units are `ms`, `s`, `m`, `h`, `d`,
/// `w`, `M` (30 days) and `y` (365 days); a number without a unit is in seconds. `None` if the text is not valid or the
/// time overflows.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let (mut total, mut digits, mut unit) = (0u64, String::new(), String::new());
    let mut add = |digits: &mut String, unit: &mut String| {
        let factor = match unit.as_str() {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
        digits.clear();
        unit.clear();
        Some(())
    };
    for letter in text.chars() {
        match letter {
            '0'..='9' if unit.is_empty() => digits.push(letter),
            '0'..='9' => {
                add(&mut digits, &mut unit)?;
                digits.push(letter);
            }
            ' ' => {}
            letter => unit.push(letter),
        }
    }
    add(&mut digits, &mut unit)?;
    Some(total)
}

/// Returns a duration in milliseconds as edge-proxyd reads it, in the largest unit from `ms` to `d` of which it is a
/// multiple, such as `90s`. 0 is `0d`.
pub(super) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        time if time % 86_400_000 == 0 => format!("{}d", time / 86_400_000),
        time if time % 3_600_000 == 0 => format!("{}h", time / 3_600_000),
        time if time % 60_000 == 0 => format!("{}m", time / 60_000),
        time if time % 1000 == 0 => format!("{}s", time / 1000),
        time => format!("{time}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, milliseconds};

    #[test]
    fn times_of_nginx() {
        for (text, time, written) in [
            ("90", 90_000, "90s"),
            ("1m30s", 90_000, "90s"),
            ("1d 2h", 93_600_000, "26h"),
            ("500ms", 500, "500ms"),
            ("1w", 604_800_000, "7d"),
        ] {
            assert_eq!(milliseconds(text), Some(time), "{text}");
            assert_eq!(duration(time), written);
        }
        assert_eq!(milliseconds("soon"), None);
    }
}
