//! Durations as Go's `time.ParseDuration` accepts them.

/// Largest magnitude of a duration in nanoseconds, which only a negative one may have.
const MAX_NEGATIVE: u64 = 1 << 63;

/// Returns `true` if the text is a duration in Go's format, such as `5m` or `1h30m`, that fits into 64 bits of
/// nanoseconds. A unit is required, except for `0`.
pub(crate) fn is_duration(text: &str) -> bool {
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    nanoseconds(rest).is_some_and(|total| negative || total < MAX_NEGATIVE)
}

/// Returns the nanoseconds of a duration without a sign. `None` if it is not valid or exceeds [`MAX_NEGATIVE`].
fn nanoseconds(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, after) = rest.split_at(end);
        let after_point = after.strip_prefix('.').unwrap_or(after);
        let end = if after.len() == after_point.len() {
            0
        } else {
            after_point.find(|c: char| !c.is_ascii_digit()).unwrap_or(after_point.len())
        };
        let (fraction, after) = after_point.split_at(end);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit: u64 = match &after[..end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        rest = &after[end..];
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let part = whole.checked_mul(unit).filter(|part| *part <= MAX_NEGATIVE)?;
        // Digits of the fraction beyond the precision of the number are dropped.
        let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
        let part = part.checked_add((fraction * unit as f64) as u64).filter(|part| *part <= MAX_NEGATIVE)?;
        total = total.checked_add(part).filter(|total| *total <= MAX_NEGATIVE)?;
    }
    Some(total)
}
