//! Network addresses as the server parses them: numeric `getaddrinfo`, and masks compared bit by bit.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address with a mask of the same address family. A client matches if its family is the same and it equals the
/// address in every bit that the mask sets (`pg_range_sockaddr` in ifaddr.c). Equality compares the host bits too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    mask: IpAddr,
}

impl Network {
    /// Creates a network. Returns `None` if the address families differ. Host bits are kept, and the mask need not be
    /// contiguous.
    #[must_use]
    pub fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        (address.is_ipv4() == mask.is_ipv4()).then_some(Self { address, mask })
    }

    /// Returns the address as written, with its host bits.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the mask, of the same address family as the address.
    #[must_use]
    pub fn mask(&self) -> IpAddr {
        self.mask
    }

    /// Returns `true` if a client address matches. An IPv4-mapped IPv6 address matches no IPv4 network.
    #[must_use]
    pub fn contains(&self, client: IpAddr) -> bool {
        self.address.is_ipv4() == client.is_ipv4()
            && (bits(self.address) ^ bits(client)) & bits(self.mask) == 0
    }

    /// Returns the prefix length: 0 to 32 for IPv4, 0 to 128 for IPv6. `None` if the mask is not contiguous.
    #[must_use]
    pub fn prefix_len(&self) -> Option<u8> {
        let (mask, width) = (bits(self.mask), width(self.mask));
        let left = mask << (128 - width);
        let ones = left.leading_ones();
        (left.count_ones() == ones).then(|| u8::try_from(ones).unwrap_or(128))
    }

    /// Returns the network with its host bits cleared. `None` if the mask is not contiguous.
    #[must_use]
    pub fn to_net(self) -> Option<IpNet> {
        IpNet::new(self.address, self.prefix_len()?).ok().map(|net| net.trunc())
    }

    /// Returns `true` if every address of `other` is in this network too. Both may have masks that are not contiguous.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let (mask, wider) = (bits(self.mask), bits(other.mask));
        self.is_v4() == other.is_v4()
            && mask & wider == mask
            && (bits(self.address) ^ bits(other.address)) & mask == 0
    }

    /// Returns `true` if some address is in both networks.
    pub(crate) fn may_meet(&self, other: &Self) -> bool {
        let mask = bits(self.mask) & bits(other.mask);
        self.is_v4() == other.is_v4() && (bits(self.address) ^ bits(other.address)) & mask == 0
    }

    /// Returns `true` for an IPv4 network.
    pub(crate) fn is_v4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Returns address, with its host bits, and mask, each left-aligned in 128 bits: an IPv4 address is in the highest
    /// 32 bits.
    pub(crate) fn left(&self) -> (u128, u128) {
        let shift = 128 - width(self.address);
        (bits(self.address) << shift, bits(self.mask) << shift)
    }
}

impl From<IpNet> for Network {
    /// Converts a network. Host bits of the address are kept.
    fn from(net: IpNet) -> Self {
        Self { address: net.addr(), mask: net.netmask() }
    }
}

impl From<Ipv4Net> for Network {
    /// Converts an IPv4 network. Host bits of the address are kept.
    fn from(net: Ipv4Net) -> Self {
        IpNet::V4(net).into()
    }
}

impl From<Ipv6Net> for Network {
    /// Converts an IPv6 network. Host bits of the address are kept.
    fn from(net: Ipv6Net) -> Self {
        IpNet::V6(net).into()
    }
}

impl From<IpAddr> for Network {
    /// Converts an address to the network that contains it alone.
    fn from(address: IpAddr) -> Self {
        IpNet::from(address).into()
    }
}

impl fmt::Display for Network {
    /// Formats as `address/length`, or as address and mask, separated by a space, if the mask is not contiguous.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix_len() {
            Some(len) => write!(out, "{}/{len}", self.address),
            None => write!(out, "{} {}", self.address, self.mask),
        }
    }
}

/// Returns the address as a number; an IPv4 address is in the lowest 32 bits.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Returns the number of bits of an address: 32 or 128.
fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Parses an address as `getaddrinfo` with `AI_NUMERICHOST` of the GNU C library does: IPv4 as by `inet_aton`, IPv6
/// with an optional scope after `%`, which is dropped. A scope that is not a number is accepted for link-local
/// addresses only, and an empty one never. Returns `None` for any other text, which is then a host name.
pub(crate) fn numeric(text: &str) -> Option<IpAddr> {
    if let Some(address) = inet_aton(text) {
        return Some(address.into());
    }
    let (text, scope) = text.split_once('%').map_or((text, None), |(text, scope)| (text, Some(scope)));
    let address: Ipv6Addr = text.parse().ok()?;
    // Comparisons ignore a scope. The name of an interface is accepted as a scope for link-local unicast and
    // multicast addresses only; whether that interface exists is not known here.
    let link_local = address.is_unicast_link_local() || address.segments()[0] & 0xff0f == 0xff02;
    match scope {
        Some("") => None,
        Some(scope) if !scope.bytes().all(|byte| byte.is_ascii_digit()) && !link_local => None,
        _ => Some(address.into()),
    }
}

/// Parses an IPv4 address as `inet_aton` does: one to four numbers, each decimal, octal (`0…`) or hexadecimal (`0x…`),
/// the last of which fills the remaining bytes. Returns `None` for any other text.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    let mut address = 0_u32;
    for (index, part) in parts.iter().enumerate() {
        let value = c_number(part)?;
        if index + 1 < parts.len() {
            address |= u32::from(u8::try_from(value).ok()?) << (24 - 8 * index);
        } else {
            let room = u32::MAX.checked_shr(8 * u32::try_from(index).ok()?)?;
            address |= u32::try_from(value).ok().filter(|value| *value <= room)?;
        }
    }
    Some(address.into())
}

/// Parses an unsigned number in C notation: hexadecimal after `0x` or `0X`, octal after `0`, or else decimal. Returns
/// `None` for other text and above 2⁶⁴ - 1.
fn c_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { u64::from_str_radix(digits, radix).ok() } else { None }
}

/// Returns the mask of a prefix length, parsed as by `pg_sockaddr_cidr_mask` through `strtol`: leading white space and
/// a sign are permitted. `None` if the text is no number, is negative (other than `-0`), or exceeds 32 for IPv4 or 128
/// for IPv6.
pub(crate) fn cidr_mask(text: &str, v4: bool) -> Option<IpAddr> {
    let number = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i64 = digits.parse().unwrap_or(i64::MAX);
    if number.starts_with('-') && value != 0 {
        return None;
    }
    let len = u8::try_from(value).ok()?;
    Some(if v4 {
        Ipv4Net::new(Ipv4Addr::UNSPECIFIED, len).ok()?.netmask().into()
    } else {
        Ipv6Net::new(Ipv6Addr::UNSPECIFIED, len).ok()?.netmask().into()
    })
}

/// Returns `true` if every address of the network is in one of the ranges `PRIVATE`: loopback, private (RFC 1918),
/// unique-local (RFC 4193), link-local (RFC 3927, 4291) or shared (RFC 6598) address space.
pub(crate) fn is_private(net: &IpNet) -> bool {
    /// Ranges that are not routed on the Internet.
    const PRIVATE: [&str; 9] = [
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    ];
    PRIVATE.iter().any(|range| range.parse::<IpNet>().is_ok_and(|range| range.contains(net)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, address) in [
            ("010.0.0.0", Some("8.0.0.0")),
            ("127.1", Some("127.0.0.1")),
            ("0x7f.1", Some("127.0.0.1")),
            ("8", Some("0.0.0.8")),
            ("256.1.1.1", None),
            ("1.2.3.4.5", None),
            ("1..2", None),
            ("08.1.1.1", None),
            ("", None),
            ("all", None),
            ("fe80::1%2", Some("fe80::1")),
            ("fe80::1%lo", Some("fe80::1")),
            ("fe80::1%", None),
            ("2001:db8::1%lo", None),
            ("::1", Some("::1")),
        ] {
            assert_eq!(numeric(text), address.map(|address| address.parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn masks() {
        assert_eq!(cidr_mask("+8", true), Some("255.0.0.0".parse().expect("a mask")));
        assert_eq!(cidr_mask("33", true), None);
        assert_eq!(cidr_mask("-0", true), Some("0.0.0.0".parse().expect("a mask")));
        assert_eq!(cidr_mask("8x", true), None);
        let holed = Network::new("10.0.5.0".parse().unwrap(), "255.0.255.0".parse().unwrap()).unwrap();
        assert!(
            holed.contains("10.9.5.77".parse().unwrap()) && !holed.contains("10.9.6.77".parse().unwrap())
        );
        assert_eq!(holed.prefix_len(), None);
    }
}
