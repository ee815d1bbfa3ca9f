//! PROXY protocol version 1: one line of text.

use super::{Error, ProxyHeader, same_family};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header in bytes, including its CR LF.
pub const MAX: usize = 107;

/// The first bytes of a header of version 1.
const BEGIN: &[u8] = b"PROXY ";

/// Parses a header of version 1. Returns the header and its length in bytes. `Ok(None)` if it is incomplete.
///
/// ```
/// use edge_http::proxy_protocol::v1;
///
/// let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\nGET";
/// let (header, length) = v1::parse(line).unwrap().unwrap();
/// assert_eq!(header.source(), Some("192.0.2.1:40000".parse().unwrap()));
/// assert_eq!(&line[length..], b"GET");
/// ```
///
/// # Errors
/// [`Error`] as soon as the bytes cannot become a valid header.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    let known = bytes.len().min(BEGIN.len());
    if bytes[..known] != BEGIN[..known] {
        return Err(Error::Missing);
    }
    let Some(end) = bytes.iter().take(MAX).position(|b| matches!(b, b'\r' | b'\n')) else {
        return if bytes.len() >= MAX { Err(Error::TooLong) } else { Ok(None) };
    };
    if bytes[end] == b'\n' || end + 2 > MAX {
        return Err(if bytes[end] == b'\n' { Error::Missing } else { Error::TooLong });
    }
    match bytes.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(Error::Missing),
    }
    let line = bytes.get(BEGIN.len()..end).ok_or(Error::Missing)?;
    Ok(Some((parse_line(line)?, end + 2)))
}

/// Parses a complete header without `PROXY ` and CR LF.
///
/// # Errors
/// [`Error`] if it is malformed.
fn parse_line(line: &[u8]) -> Result<ProxyHeader, Error> {
    let line = std::str::from_utf8(line).map_err(|_| Error::Address)?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // The rest of the line must be ignored.
        return Ok(ProxyHeader::Local);
    }
    let mut word = || words.next().ok_or(Error::Address);
    let (source, destination) = match family {
        "TCP4" => (IpAddr::V4(v4(word()?)?), IpAddr::V4(v4(word()?)?)),
        "TCP6" => (IpAddr::V6(v6(word()?)?), IpAddr::V6(v6(word()?)?)),
        _ => return Err(Error::Unknown),
    };
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(Error::Address);
    }
    Ok(ProxyHeader::Proxied {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// Parses an IPv4 address.
///
/// # Errors
/// [`Error::Address`] if it is not one.
fn v4(text: &str) -> Result<Ipv4Addr, Error> {
    text.parse().map_err(|_| Error::Address)
}

/// Parses an IPv6 address.
///
/// # Errors
/// [`Error::Address`] if it is not one.
fn v6(text: &str) -> Result<Ipv6Addr, Error> {
    text.parse().map_err(|_| Error::Address)
}

/// Parses a port: at most five digits without a leading zero.
///
/// # Errors
/// [`Error::Address`].
fn port(text: &str) -> Result<u16, Error> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    if !digits || text.len() > 5 || (text.len() > 1 && text.starts_with('0')) {
        return Err(Error::Address);
    }
    text.parse().map_err(|_| Error::Address)
}

/// Appends a header of version 1. [`ProxyHeader::Local`] is written as `UNKNOWN`. Addresses of different families are
/// both written as IPv6.
pub fn write(header: &ProxyHeader, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = match *header {
        ProxyHeader::Local => write!(out, "PROXY UNKNOWN\r\n"),
        ProxyHeader::Proxied { source, destination } => {
            let (from, to) = same_family(source.ip(), destination.ip());
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            write!(out, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_strict() {
        for (line, error) in [
            ("GET / HTTP/1.1\r\n", Error::Missing),
            ("PROXY\r\n", Error::Missing),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", Error::Missing),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx", Error::Missing),
            ("PROXY \r\n", Error::Unknown),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Error::Unknown),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", Error::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", Error::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", Error::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", Error::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", Error::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", Error::Address),
            ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", Error::Address),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", Error::Address),
            ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", Error::Address),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert_eq!(parse(long.as_bytes()), Err(Error::TooLong));
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX - 16));
        assert_eq!(parse(longest.as_bytes()), Ok(Some((ProxyHeader::Local, MAX))));
    }
}
