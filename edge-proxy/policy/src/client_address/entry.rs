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
        None => Some((IpAddr::V4(text.parse::<Ipv4Addr>().ok()?), None)),
        Some((address, digits)) if !digits.contains(':') => {
            Some((IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), Some(port(digits)?)))
        }
        Some(_) => Some((v6(text)?, None)),
    }
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
