//! Hosts: parsing of authorities, normalisation, and the host patterns of sites.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The kind of host in an authority or server name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKind {
    /// A host name such as `example.org`.
    Name,
    /// An IP address. An IPv6 address is in brackets in an authority.
    Address,
}

/// Splits an authority into host and port, and classifies the host. An IPv6 address is returned without its brackets.
/// The port is `None` if there is none.
///
/// Returns `None` for an invalid authority: user information, an empty host, other characters than letters, digits,
/// `-`, `_` and `.`, an empty label or one of more than 63 bytes, more than 253 bytes, a port that is not a number up
/// to 65535 (RFC 3986 §3.2, RFC 1123 §2.1).
///
/// ```
/// use edge_http::host::{split_authority, HostKind};
///
/// assert_eq!(split_authority("Example.org:8443"), Some(("Example.org", Some(8443), HostKind::Name)));
/// assert_eq!(split_authority("[::1]"), Some(("::1", None, HostKind::Address)));
/// assert_eq!(split_authority("user@example.org"), None);
/// ```
pub fn split_authority(authority: &str) -> Option<(&str, Option<u16>, HostKind)> {
    let (host, port, kind) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        (host, port, HostKind::Address)
    } else {
        let (host, port) = authority.split_at_checked(name_length(authority.as_bytes())?)?;
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
        // A name in form, too.
        let digit = host.as_bytes().first().is_some_and(u8::is_ascii_digit);
        let address = digit && host.parse::<Ipv4Addr>().is_ok();
        let kind = if address { HostKind::Address } else { HostKind::Name };
        (host, port, kind)
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        Some(_) => return None,
    };
    Some((host, port, kind))
}

/// Returns the authority without the colon of an empty port, which has the same meaning (RFC 3986 §3.2.3).
pub(crate) fn without_empty_port(authority: &str) -> &str {
    match authority.strip_suffix(':') {
        Some(host) if !host.is_empty() => host,
        _ => authority,
    }
}

/// A table by byte value: true for bytes that a label of a host name may contain.
static LABEL: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0usize;
    while i < 256 {
        table[i] = (i as u8).is_ascii_alphanumeric() || i as u8 == b'-' || i as u8 == b'_';
        i += 1;
    }
    table
};

/// Returns the length of the host name at the beginning of `bytes`: labels of 1 to 63 letters, digits, `-` and `_`, at
/// most 253 bytes, and optionally a trailing dot. `None` if there is no valid name.
fn name_length(bytes: &[u8]) -> Option<usize> {
    // The offsets of the current label, and of the byte behind the name.
    let (mut begin, mut end) = (0, bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        if LABEL[usize::from(*byte)] {
            continue;
        }
        if *byte != b'.' {
            end = at;
            break;
        }
        if at == begin || at - begin > 63 {
            return None;
        }
        begin = at + 1;
    }
    // The last label may be empty behind a dot, but not alone.
    let without_dot = if begin == end { end.checked_sub(1)? } else { end };
    (end - begin <= 63 && without_dot <= 253).then_some(end)
}

/// Returns a host in the form that is compared: in lower case, without one trailing dot. Does not validate.
pub fn normalize(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// A host pattern of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `*`: every name and address that no other pattern covers.
    Any,
    /// This name or address, normalised.
    Exact(String),
    /// `*.` and this name: every subdomain of it at any depth, but not the name itself. The name is normalised.
    Below(String),
}

/// The error for a text that is not a valid host pattern: a name such as `example.org` or `*.example.org`, an IP
/// address, or `*`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a valid host name: expected a name such as example.org or *.example.org, in ASCII (xn--… for others), without scheme or port"
)]
pub struct InvalidHost {
    text: String,
}

impl HostPattern {
    /// Parses `example.org`, `*.example.org`, an IP address with or without brackets, or `*`. Names and addresses are
    /// normalised.
    ///
    /// # Errors
    /// [`InvalidHost`] for any other text, such as one with a port.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let invalid = || InvalidHost { text: text.into() };
        let (wild, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if !wild && let Ok(address) = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            return Ok(Self::Exact(address.to_string()));
        }
        match split_authority(name) {
            Some((host, None, HostKind::Name)) if wild => Ok(Self::Below(normalize(host))),
            Some((host, None, HostKind::Name)) => Ok(Self::Exact(normalize(host))),
            _ => Err(invalid()),
        }
    }
}

impl std::str::FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Implements [`split_authority`] for names and IPv4 addresses part by part, as its documentation states.
    fn plainly(authority: &str) -> Option<(&str, Option<u16>, HostKind)> {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        let kind = if host.parse::<Ipv4Addr>().is_ok() { HostKind::Address } else { HostKind::Name };
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return None;
        }
        let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        match port {
            None => Some((host, None, kind)),
            Some(port) if digits(port) => Some((host, Some(port.parse().ok()?), kind)),
            Some(_) => None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn one_pass_finds_what_parts_have(
            authority in "(([a-zA-Z0-9_-]{0,3}|[0-9]{1,3}|a{62,64}|[ @%\u{e9}/\\[]|\\.\\.|a{40}(\\.a{40}){4}a{5,9})(\\.|)){0,5}(:|:[0-9]{0,6}|:a|::)?"
        ) {
            prop_assume!(!authority.starts_with('['));
            prop_assert_eq!(split_authority(&authority), plainly(&authority));
        }
    }

    #[test]
    fn names_at_their_limits() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
        assert_eq!(longest.len(), 253);
        for name in ["a", "a.", "1.2.3.4", "1.2.3.4.", &longest, &format!("{longest}."), &"a".repeat(63)] {
            assert_eq!(split_authority(name), plainly(name), "{name}");
            assert!(split_authority(name).is_some(), "{name}");
        }
        for name in
            ["", ".", "..", "a..", ".a", "a..b", ":80", ".:80", &format!("{longest}a"), &"a".repeat(64)]
        {
            assert_eq!(split_authority(name), None, "{name}");
        }
    }
}
