//! Host names and `host:port`, as Go splits them.

use thiserror::Error;

/// A `host:port` that Go's `net.SplitHostPort` refuses.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPortError {
    /// An opening bracket without its end.
    #[error("missing ']' in address")]
    MissingBracket,
    /// No colon before a port. Forgejo then takes the whole text for the host.
    #[error("missing port in address")]
    MissingPort,
    /// Colons outside of brackets, as in an IPv6 address or a URL.
    #[error("too many colons in address")]
    TooManyColons,
    /// A closing bracket in the wrong place.
    #[error("unexpected ']' in address")]
    UnexpectedClose,
    /// An opening bracket in the wrong place.
    #[error("unexpected '[' in address")]
    UnexpectedOpen,
}

/// Splits `host:port` as `net.SplitHostPort` does.
///
/// # Errors
///
/// The error that Go returns.
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

/// Tells if a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}

/// Returns the fault of a text that is to be the name or address of a server.
pub(crate) fn host_fault(host: &str) -> Option<(&'static str, &'static str)> {
    let brackets = host.contains(['[', ']']);
    if host.contains(['/', '\\']) {
        Some((
            "a path or URL: Forgejo would open a Unix socket",
            "write the server's name only, without https://",
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
