//! Parser and writer for the Forwarded field (RFC 7239).

use crate::grammar::{is_token, trim};
use std::borrow::Cow;
use std::net::IpAddr;

/// One element of a Forwarded field: the parameters that one proxy, the hop, added. `None` for a parameter that is
/// missing. Values are unquoted and not validated further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedElement<'a> {
    /// The `for` parameter: the client that sent the request to the hop. `None` without it.
    pub node: Option<Cow<'a, [u8]>>,
    /// The `by` parameter: the interface that the hop received the request on. `None` without it.
    pub by: Option<Cow<'a, [u8]>>,
    /// The `host` parameter: the authority of the request. `None` without it.
    pub host: Option<Cow<'a, [u8]>>,
    /// The `proto` parameter: the scheme, such as `http` or `https`. `None` without it.
    pub proto: Option<Cow<'a, [u8]>>,
}

/// The error for a value that is not a valid Forwarded field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Forwarded field is malformed")]
pub struct MalformedForwarded;

/// Parses one line of the field: elements separated by commas, pairs by semicolons (RFC 7239 §4). Unknown parameters
/// are skipped. Whitespace is accepted around names and behind values.
///
/// ```
/// let elements = edge_http::forwarded::parse(br#"for=192.0.2.1, For="[2001:db8::1]:80";proto=https"#).unwrap();
/// assert_eq!(elements[0].node.as_deref(), Some(&b"192.0.2.1"[..]));
/// assert_eq!(elements[1].node.as_deref(), Some(&b"[2001:db8::1]:80"[..]));
/// ```
///
/// # Errors
/// [`MalformedForwarded`] if an element or a pair is malformed or empty, or a known parameter is repeated in an
/// element.
pub fn parse(line: &[u8]) -> Result<Vec<ForwardedElement<'_>>, MalformedForwarded> {
    let mut elements = Vec::new();
    let mut element = ForwardedElement::default();
    let mut rest = line;
    loop {
        let equals = rest.iter().position(|b| *b == b'=').ok_or(MalformedForwarded)?;
        let name = trim(&rest[..equals]);
        if !is_token(name) {
            return Err(MalformedForwarded);
        }
        let (value, after) = value(&rest[equals + 1..])?;
        set(&mut element, name, value)?;
        rest = trim(after);
        match rest.split_first() {
            None => {
                elements.push(element);
                return Ok(elements);
            }
            Some((b';', after)) => rest = after,
            Some((b',', after)) => {
                elements.push(std::mem::take(&mut element));
                rest = after;
            }
            Some(_) => return Err(MalformedForwarded),
        }
    }
}

/// Sets the parameter `name` of an element. Unknown parameters are ignored.
///
/// # Errors
/// [`MalformedForwarded`] if the parameter is repeated.
fn set<'a>(
    element: &mut ForwardedElement<'a>,
    name: &[u8],
    value: Cow<'a, [u8]>,
) -> Result<(), MalformedForwarded> {
    let slot = match name.to_ascii_lowercase().as_slice() {
        b"for" => &mut element.node,
        b"by" => &mut element.by,
        b"host" => &mut element.host,
        b"proto" => &mut element.proto,
        _ => return Ok(()),
    };
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(MalformedForwarded),
    }
}

/// Parses a token or quoted string at the beginning of `bytes`. Returns its text, unescaped, and the bytes behind it. A
/// token may contain colons, as many proxies write addresses.
///
/// # Errors
/// [`MalformedForwarded`].
fn value(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), MalformedForwarded> {
    let Some((b'"', quoted)) = bytes.split_first() else {
        let end = bytes.iter().position(|b| matches!(b, b';' | b',' | b' ' | b'\t')).unwrap_or(bytes.len());
        let (token, rest) = bytes.split_at(end);
        // RFC 7239 §4 requires quotes around `:`. Many proxies omit them, and no other reading is possible.
        if token.is_empty() || !token.split(|b| *b == b':').all(|part| part.is_empty() || is_token(part)) {
            return Err(MalformedForwarded);
        }
        return Ok((Cow::Borrowed(token), rest));
    };
    let mut text = Vec::new();
    let mut escaped = false;
    for (i, b) in quoted.iter().enumerate() {
        match (escaped, b) {
            (false, b'"') => {
                let value = if text.len() == i { Cow::Borrowed(&quoted[..i]) } else { Cow::Owned(text) };
                return Ok((value, &quoted[i + 1..]));
            }
            (false, b'\\') => escaped = true,
            (_, b'\t' | b' '..=b'~' | 0x80..) => {
                text.push(*b);
                escaped = false;
            }
            _ => return Err(MalformedForwarded),
        }
    }
    Err(MalformedForwarded)
}

/// The decimal text of each octet followed by a dot, and the length of both together.
static OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let digits = [b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8];
        let skip = if octet < 10 {
            2
        } else if octet < 100 {
            1
        } else {
            0
        };
        let mut at = skip;
        while at < 3 {
            table[octet].0[at - skip] = digits[at];
            at += 1;
        }
        table[octet].1 = (4 - skip) as u8;
        octet += 1;
    }
    table
};

/// Appends the text of an IP address as [`Display`](std::fmt::Display) formats it: an IPv6 address without brackets.
pub fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    use std::io::Write;
    match address {
        IpAddr::V4(address) => {
            let (mut text, mut n) = ([0; 16], 0);
            for octet in address.octets() {
                let (digits, len) = OCTETS[usize::from(octet)];
                text[n..n + 4].copy_from_slice(&digits);
                n += usize::from(len);
            }
            // Without the last dot.
            out.extend_from_slice(&text[..n - 1]);
        }
        // Writing to memory does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends one element to a field value: `for`, and `host` and `proto` if given, quoted where necessary. The caller
/// writes the commas between elements. Control characters in `host` and `proto` are omitted.
pub fn write(node: IpAddr, host: Option<&str>, proto: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"for=");
    if node.is_ipv6() {
        out.extend_from_slice(b"\"[");
    }
    write_address(node, out);
    if node.is_ipv6() {
        out.extend_from_slice(b"]\"");
    }
    for (name, value) in [("host", host), ("proto", proto)] {
        let Some(value) = value else { continue };
        out.push(b';');
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        if is_token(value.as_bytes()) {
            out.extend_from_slice(value.as_bytes());
            continue;
        }
        out.push(b'"');
        for b in value.bytes().filter(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f)) {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(b);
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7239() {
        for line in [
            "for=\"_gazonk\"",
            "For=\"[2001:db8:cafe::17]:4711\"",
            "for=192.0.2.60;proto=http;by=203.0.113.43",
            "for=192.0.2.43, for=198.51.100.17",
            "for=_hidden, for=_SEVKISEK",
        ] {
            assert!(parse(line.as_bytes()).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_malformed() {
        for line in [
            "",
            " ",
            ",",
            "for",
            "for=",
            "for=a,",
            "for=a,,for=b",
            "for=a;",
            "for=\"a",
            "for=\"a\"b",
            "f or=a",
            "for=a;for=b",
            "=a",
            "for=a b",
            "for=\"\\\"",
            "for=[::1]",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(MalformedForwarded), "{line}");
        }
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 255 - octet, 0, octet]);
            let mut out = b"for=".to_vec();
            write_address(address, &mut out);
            assert_eq!(out, format!("for={address}").as_bytes());
        }
    }

    #[test]
    fn quoting() {
        let elements = parse(br#"for="a\"b\\,;" ; host=x , proto="""#).unwrap_or_default();
        assert_eq!(elements[0].node.as_deref(), Some(&br#"a"b\,;"#[..]));
        assert_eq!(elements[1].proto.as_deref(), Some(&b""[..]));
    }
}
