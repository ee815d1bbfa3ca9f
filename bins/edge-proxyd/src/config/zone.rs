//! The reader of zones of link-local addresses, such as that of `[fe80::1%eth0]:443` (RFC 4007 §11, RFC 9844).

use super::document::Value;

/// Separates the zone from an authority whose host is an IPv6 address in brackets: `[fe80::1%eth0]:443` becomes
/// `[fe80::1]:443` and `eth0`. `None` if there is no zone.
pub(super) fn split(authority: &str) -> Option<(String, &str)> {
    let (address, rest) = authority.strip_prefix('[')?.split_once('%')?;
    let (zone, rest) = rest.split_once(']')?;
    Some((format!("[{address}]{rest}"), zone))
}

/// Returns the zone of which [`split`] returned the text. `%25` as in URLs of RFC 6874 is read as `%`: the `25` is
/// removed in front of a name. `None` in front of a digit, where it may be a part of the zone too, which is reported.
pub(super) fn read<'t>(value: &Value<'_, '_>, text: &'t str) -> Option<&'t str> {
    match text.strip_prefix("25") {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_digit()) => {
            value.report_error(&format!(
                "the zone may be {text}, or {rest} behind a percent-encoded %: write the name of the interface, such as %eth0"
            ));
            None
        }
        Some(rest) if !rest.is_empty() => Some(rest),
        _ => Some(text),
    }
}
