//! A parser of one entry of the list of addresses in a forwarding header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80` and returns the address and
/// the port. A zone is removed, and an IPv4-mapped IPv6 address becomes IPv4. `None` for anything else: an empty entry,
/// `unknown`, an obfuscated identifier such as `_hidden` (RFC 7239 §6.3), a host name, or more than 80 bytes.
///
/// ```
/// use edge_policy::client_address::parse_entry;
///
/// assert_eq!(parse_entry(b"[::ffff:192.0.2.1]:80"), Some(("192.0.2.1".parse().unwrap(), Some(80))));
/// assert_eq!(parse_entry(b"unknown"), None);
/// ```
pub fn parse_entry(entry: &[u8]) -> Option<(IpAddr, Option<u16>)> {
    // The longest valid entry is a bracketed address with a zone and a port; longer ones are rejected unread.
    if entry.len() > 80 {
        return None;
    }
    // Most entries.
    if let Some(address) = v4(entry) {
        return Some((IpAddr::V4(address), None));
    }
    let text = std::str::from_utf8(entry).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address = v6(address)?;
        return match rest.strip_prefix(':') {
            Some(digits) => Some((address, Some(port(digits)?))),
            None if rest.is_empty() => Some((address, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        None => None,
        Some((address, digits)) if !digits.contains(':') => {
            Some((IpAddr::V4(v4(address.as_bytes())?), Some(port(digits)?)))
        }
        Some(_) => Some((v6(text)?, None)),
    }
}

/// Parses an IPv4 address as the standard library does: four numbers up to 255 without leading zeros, separated by
/// dots. `None` for anything else.
fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    // The octet that is parsed, the number of its digits so far, and their value.
    let (mut nth, mut digits, mut value) = (0, 0, 0_u16);
    for byte in text {
        if *byte == b'.' {
            if digits == 0 || nth == 3 {
                return None;
            }
            octets[nth] = value as u8;
            (nth, digits, value) = (nth + 1, 0, 0);
            continue;
        }
        let digit = byte.wrapping_sub(b'0');
        let leading_zero = digits == 1 && value == 0;
        value = value * 10 + u16::from(digit);
        digits += 1;
        if digit > 9 || leading_zero || value > 255 {
            return None;
        }
    }
    octets[nth] = value as u8;
    (nth == 3 && digits > 0).then(|| octets.into())
}

/// Parses an IPv6 address, optionally with a zone, which is removed. An IPv4-mapped address becomes IPv4. `None` if
/// the address or the zone is not valid.
fn v6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        None => text,
        Some((address, zone)) => {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
            if zone.is_empty() || !zone.bytes().all(known) {
                return None;
            }
            address
        }
    };
    Some(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?).to_canonical())
}

/// Parses a port of one to five digits. `None` if it is not valid.
fn port(digits: &str) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn the_same_ipv4_as_the_standard_library(
            octets: [u8; 4],
            text in "((0|00|25[0-9]|[0-9]{1,4}| |\\+1|x|)[.:]?){3,5}",
        ) {
            let written = Ipv4Addr::from(octets).to_string();
            prop_assert_eq!(v4(written.as_bytes()), Some(octets.into()));
            prop_assert_eq!(v4(text.as_bytes()), text.parse().ok());
        }
    }

    #[test]
    fn forms() {
        let read = |text: &str| parse_entry(text.as_bytes()).map(|(ip, port)| (ip.to_string(), port));
        let some = |ip: &str, port| Some((ip.to_string(), port));
        assert_eq!(read("192.0.2.1"), some("192.0.2.1", None));
        assert_eq!(read("192.0.2.1:443"), some("192.0.2.1", Some(443)));
        assert_eq!(read("2001:db8::1"), some("2001:db8::1", None));
        assert_eq!(read("[2001:db8::1]"), some("2001:db8::1", None));
        assert_eq!(read("[2001:db8::1]:443"), some("2001:db8::1", Some(443)));
        assert_eq!(read("fe80::1%eth0"), some("fe80::1", None));
        assert_eq!(read("[fe80::1%eth0]:1"), some("fe80::1", Some(1)));
        assert_eq!(read("::ffff:192.0.2.1"), some("192.0.2.1", None));
        for garbage in [
            "",
            " ",
            "unknown",
            "_hidden",
            "example.org",
            "192.0.2",
            "192.0.2.01",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:65536",
            "192.0.2.1:+1",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "::1%",
            "::1%a/b",
            "192.0.2.1 ",
            "1",
            "0x7f.1",
        ] {
            assert_eq!(read(garbage), None, "{garbage}");
        }
    }
}
