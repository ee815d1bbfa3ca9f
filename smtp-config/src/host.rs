//! Host names and `host:port`, as split by Go's `net` package.

use thiserror::Error;

/// Error of Go's `net.SplitHostPort`. Displayed as Go's error.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPortError {
    /// A `[` has no matching `]`.
    #[error("missing ']' in address")]
    MissingBracket,
    /// There is no colon before a port. Forgejo then uses the whole text as host.
    #[error("missing port in address")]
    MissingPort,
    /// Several colons are outside of brackets, as in an IPv6 address or a URL.
    #[error("too many colons in address")]
    TooManyColons,
    /// A `]` is in an unexpected position.
    #[error("unexpected ']' in address")]
    UnexpectedClose,
    /// A `[` is in an unexpected position.
    #[error("unexpected '[' in address")]
    UnexpectedOpen,
}

/// Splits `host:port` as Go's `net.SplitHostPort` does, at the last colon. Brackets around the host are removed. The
/// port is not parsed and may be empty, as may the host.
///
/// # Errors
/// Returns the error that Go returns.
pub fn split_host_port(text: &str) -> Result<(&str, &str), HostPortError> {
    let colon = text.rfind(':').ok_or(HostPortError::MissingPort)?;
    let (host, rest_open, rest_close) = if text.starts_with('[') {
        let end = text.find(']').ok_or(HostPortError::MissingBracket)?;
        match end + 1 {
            next if next == text.len() => return Err(HostPortError::MissingPort),
            next if next == colon => {}
            _ if text[end + 1..].starts_with(':') => return Err(HostPortError::TooManyColons),
            _ => return Err(HostPortError::MissingPort),
        }
        (&text[1..end], 1, end + 1)
    } else {
        let host = &text[..colon];
        if host.contains(':') {
            return Err(HostPortError::TooManyColons);
        }
        (host, 0, 0)
    };
    if text[rest_open..].contains('[') {
        return Err(HostPortError::UnexpectedOpen);
    }
    if text[rest_close..].contains(']') {
        return Err(HostPortError::UnexpectedClose);
    }
    Ok((host, &text[colon + 1..]))
}

/// Returns `true` if the host is `localhost`, in any case, or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}

/// Problem of a host name that is not ASCII. Go 1.22 to 1.27 answer "no such host" without a question to the DNS
/// (`isDomainName` in `net/dnsclient.go`).
pub(crate) const UNICODE: &str = "characters other than ASCII, and Go asks the DNS for no such name";

/// Returns a domain with its A-labels (RFC 5890). `None` if it has none, and without the feature `doctor`: the tables of
/// Unicode come with its resolver, and the core does without them.
fn ascii_domain(domain: &str) -> Option<String> {
    #[cfg(feature = "doctor")]
    let found = idna::domain_to_ascii(domain).ok();
    #[cfg(not(feature = "doctor"))]
    let found = Some(domain.to_owned()).filter(|domain| domain.is_ascii());
    found.filter(|domain| !domain.is_empty())
}

/// Returns the advice to write the A-labels of a host name that is not ASCII.
pub(crate) fn ascii_fix(host: &str) -> String {
    match ascii_domain(host) {
        Some(name) => format!("write {name}"),
        None => "write the A-labels of the name (xn--…)".to_owned(),
    }
}

/// Returns the advice to write an address in ASCII: with the A-labels of its domain, unless its local part is not ASCII.
pub(crate) fn ascii_address(address: &str) -> String {
    match address.rsplit_once('@').map(|(local, domain)| (local, ascii_domain(domain))) {
        Some((local, Some(domain))) if local.is_ascii() => format!("write {local}@{domain}"),
        _ => "write an address of ASCII characters only".to_owned(),
    }
}

/// Returns the fault of a server name or address, with the fix: as [`malformed`], or else a character that is not
/// ASCII. `None` without such a fault.
pub(crate) fn host_fault(host: &str) -> Option<(&'static str, String)> {
    let unicode = || (!host.is_ascii()).then(|| (UNICODE, ascii_fix(host)));
    malformed(host).map(|(fault, fix)| (fault, fix.to_owned())).or_else(unicode)
}

/// Returns the fault of a server name or address, with the fix: a slash or backslash, white space or a control
/// character, brackets, or a colon in anything but an IPv6 address. `None` without such a fault; an empty host has
/// none.
pub(crate) fn malformed(host: &str) -> Option<(&'static str, &'static str)> {
    let brackets = host.contains(['[', ']']);
    if host.contains(['/', '\\']) {
        Some((
            "a path or URL: Forgejo would open a Unix socket",
            "write the server's name only, without https:// or another scheme",
        ))
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Some(("white space in a host name", "write the server's name only"))
    } else if brackets {
        Some(("brackets around the address: the connection fails", "write an IPv6 address without brackets"))
    } else if host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() {
        Some(("a port in the host name", "write the port to its own key"))
    } else {
        None
    }
}
