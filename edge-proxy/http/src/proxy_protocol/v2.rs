//! PROXY protocol version 2: binary, with extensions (TLVs).

use super::extensions::{self, CRC32C};
use super::{Error, Extensions, ProxyHeader, crc32c, same_family};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that [`parse`] accepts in bytes, including its first 16 bytes.
pub const MAX: usize = 4096;

/// The first bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length in bytes of the part of a header before the addresses.
const FIXED: usize = 16;

/// Parses a header of version 2 of at most [`MAX`] bytes. Returns the header and its length in bytes. `Ok(None)` if it
/// is incomplete.
///
/// # Errors
/// [`Error`] as soon as the bytes cannot become a valid header.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, Error> {
    parse_up_to(bytes, MAX)
}

/// Parses a header of version 2 of at most `max` bytes. Returns the header and its length in bytes. `Ok(None)` if it is
/// incomplete.
///
/// # Errors
/// [`Error`] as soon as the bytes cannot become a valid header.
pub fn parse_up_to(bytes: &[u8], max: usize) -> Result<Option<(ProxyHeader, usize)>, Error> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Err(Error::Missing);
    }
    if bytes.get(12).is_some_and(|b| !matches!(b, 0x20 | 0x21)) {
        return Err(Error::Unknown);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > max {
        return Err(Error::TooLong);
    }
    let Some(whole) = bytes.get(..length) else {
        return Ok(None);
    };
    // LOCAL: the addresses of the connection apply, and the rest is discarded (§2.2).
    let header = if fixed[12] == 0x20 { ProxyHeader::Local } else { parse_addresses(whole, fixed[13])? };
    Ok(Some((header, length)))
}

/// Parses the addresses of a complete header with this family byte, and checks the extensions. Unix sockets, datagrams
/// and an unspecified family are [`ProxyHeader::Local`].
///
/// # Errors
/// [`Error`] if the family is unknown, or the addresses or extensions are malformed.
fn parse_addresses(whole: &[u8], family: u8) -> Result<ProxyHeader, Error> {
    let body = &whole[FIXED..];
    let (header, addresses) = match family {
        // Nothing is known of what follows an unspecified family: only a checksum can be wrong (§2.2).
        0x00 => {
            return match parse_extensions(whole, FIXED) {
                Err(Error::Checksum) => Err(Error::Checksum),
                _ => Ok(ProxyHeader::Local),
            };
        }
        0x11 => {
            let raw = body.first_chunk::<12>().ok_or(Error::Address)?;
            let ip = |at: usize| IpAddr::V4(Ipv4Addr::new(raw[at], raw[at + 1], raw[at + 2], raw[at + 3]));
            (pair(ip(0), ip(4), &raw[8..]), 12)
        }
        0x21 => {
            let raw = body.first_chunk::<36>().ok_or(Error::Address)?;
            let ip = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&raw[at..at + 16]);
                IpAddr::V6(Ipv6Addr::from(octets))
            };
            (pair(ip(0), ip(16), &raw[32..]), 36)
        }
        // The address of a Unix socket is of no use, and this connection does not carry datagrams: a receiver may take
        // both for unspecified (§2.2).
        0x12 | 0x22 | 0x31 | 0x32 => {
            let length = match family {
                0x12 => 12,
                0x22 => 36,
                _ => 216,
            };
            if body.len() < length {
                return Err(Error::Address);
            }
            (ProxyHeader::Local, length)
        }
        _ => return Err(Error::Unknown),
    };
    if whole.len() > FIXED + addresses {
        parse_extensions(whole, FIXED + addresses)?;
    }
    Ok(header)
}

/// Returns the header for these addresses, with the ports in the first four bytes of `ports`.
fn pair(source: IpAddr, destination: IpAddr, ports: &[u8]) -> ProxyHeader {
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    ProxyHeader::Proxied {
        source: SocketAddr::new(source, port(0)),
        destination: SocketAddr::new(destination, port(2)),
    }
}

/// Parses the extensions of a complete header, which begin at the offset `at`, and verifies the checksum if there is
/// one.
///
/// # Errors
/// [`Error`] if an extension is malformed, or the checksum is repeated or wrong.
fn parse_extensions(whole: &[u8], at: usize) -> Result<Extensions, Error> {
    let mut found = Extensions::default();
    let mut checked = false;
    let mut value_at = at;
    extensions::for_each_extension(&whole[at..], |kind, value| {
        value_at += 3;
        let end = value_at + value.len();
        if kind == CRC32C {
            let Ok(stated) = <[u8; 4]>::try_from(value) else {
                return Err(Error::Extension);
            };
            if std::mem::replace(&mut checked, true) {
                return Err(Error::Extension);
            }
            // The checksum is computed with its own bytes as zeros (§2.2.4).
            let sum = crc32c::of(&[&whole[..value_at], &[0; 4], &whole[end..]]);
            if sum != u32::from_be_bytes(stated) {
                return Err(Error::Checksum);
            }
        }
        value_at = end;
        found.take(kind, value)
    })?;
    Ok(found)
}

/// Returns the extensions of a header that [`parse`] accepted. Empty for [`ProxyHeader::Local`], for addresses other
/// than TCP over IP, and for a header of version 1.
pub fn extensions(header: &[u8]) -> Extensions {
    let addresses = match header.get(13) {
        Some(0x11) => 12,
        Some(0x21) => 36,
        _ => return Extensions::default(),
    };
    if !header.starts_with(SIGNATURE) || header[12] != 0x21 || header.len() < FIXED + addresses {
        return Extensions::default();
    }
    parse_extensions(header, FIXED + addresses).unwrap_or_default()
}

/// Appends a header of version 2 with a checksum, which [`ProxyHeader::Local`] does not have. Addresses of different
/// families are both written as IPv6.
///
/// ```
/// use edge_http::proxy_protocol::{ProxyHeader, v2};
///
/// let header = ProxyHeader::Proxied {
///     source: "192.0.2.1:40000".parse().unwrap(),
///     destination: "192.0.2.2:443".parse().unwrap(),
/// };
/// let mut bytes = Vec::new();
/// v2::write(&header, &mut bytes);
/// assert_eq!(v2::parse(&bytes), Ok(Some((header, bytes.len()))));
/// ```
pub fn write(header: &ProxyHeader, out: &mut Vec<u8>) {
    write_with(header, Extensions::NONE, out);
}

/// Appends a header of version 2 with extensions and a checksum. Both are omitted with [`ProxyHeader::Local`], and so
/// is an extension whose value is empty or longer than 255 bytes (128 for the identifier). Addresses of different
/// families are both written as IPv6.
///
/// ```
/// use edge_http::proxy_protocol::{Extensions, ProxyHeader, v2};
///
/// let header = ProxyHeader::Proxied {
///     source: "192.0.2.1:40000".parse().unwrap(),
///     destination: "192.0.2.2:443".parse().unwrap(),
/// };
/// let mut extensions = Extensions::default();
/// extensions.authority = Some("git.example.org".to_owned());
/// let mut bytes = Vec::new();
/// v2::write_with(&header, &extensions, &mut bytes);
/// assert_eq!(v2::parse(&bytes), Ok(Some((header, bytes.len()))));
/// assert_eq!(v2::extensions(&bytes), extensions);
/// ```
pub fn write_with(header: &ProxyHeader, extensions: &Extensions, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    let ProxyHeader::Proxied { source, destination } = *header else {
        return out.extend_from_slice(&[0x20, 0, 0, 0]);
    };
    match same_family(source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 0]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
        }
        (from, to) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 0]);
            for ip in [from, to] {
                if let IpAddr::V6(ip) = ip {
                    out.extend_from_slice(&ip.octets());
                }
            }
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    extensions.write(out);
    out.extend_from_slice(&[CRC32C, 0, 4]);
    let length = out.len() + 4 - start - FIXED;
    // The longest description has less than 2 kB.
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    out[start + 14..start + FIXED].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::of(&[&out[start..], &[0; 4]]);
    out.extend_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::TlsExtension;
    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&[command, family]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 1, 187];

    #[test]
    fn headers_are_strict() {
        let body = |extra: &[u8]| [&V4[..], extra].concat();
        assert!(matches!(parse(&header(0x21, 0x11, &V4)), Ok(Some((ProxyHeader::Proxied { .. }, 28)))));
        assert_eq!(parse(&header(0x20, 0x55, &[9; 5])), Ok(Some((ProxyHeader::Local, 21))));
        assert_eq!(parse(&header(0x21, 0x00, &[])), Ok(Some((ProxyHeader::Local, 16))));
        assert_eq!(parse(&header(0x21, 0x00, &[9; 5])), Ok(Some((ProxyHeader::Local, 21))));
        assert_eq!(parse(&header(0x21, 0x00, &[3, 0, 4, 0, 0, 0, 0])), Err(Error::Checksum));
        assert_eq!(parse(&header(0x11, 0x11, &V4)), Err(Error::Unknown));
        assert_eq!(parse(&header(0x22, 0x11, &V4)), Err(Error::Unknown));
        assert_eq!(
            parse(&header(0x21, 0x12, &V4)),
            Ok(Some((ProxyHeader::Local, 28))),
            "datagrams are unspecified"
        );
        assert_eq!(parse(&header(0x21, 0x22, &V4)), Err(Error::Address));
        assert_eq!(parse(&header(0x21, 0x13, &V4)), Err(Error::Unknown));
        assert_eq!(parse(&header(0x21, 0x11, &V4[..11])), Err(Error::Address));
        assert_eq!(parse(&header(0x21, 0x21, &V4)), Err(Error::Address));
        assert!(parse(&header(0x21, 0x11, &body(&[4, 0, 2, 0, 0]))).unwrap().is_some());
        assert_eq!(parse(&header(0x21, 0x11, &body(&[4, 0, 3, 0, 0]))), Err(Error::Extension));
        assert_eq!(parse(&header(0x21, 0x11, &body(&[4, 0]))), Err(Error::Extension));
        assert_eq!(parse(&header(0x21, 0x11, &body(&[3, 0, 4, 0, 0, 0, 0]))), Err(Error::Checksum));
        assert_eq!(parse(&header(0x21, 0x11, &body(&[3, 0, 3, 0, 0, 0]))), Err(Error::Extension));
        assert_eq!(parse(&header(0x21, 0x11, &[0; 4081])), Err(Error::TooLong));
        assert_eq!(parse(b"\r\n\r\nGET"), Err(Error::Missing));
    }

    /// A header with every extension that is read, nested ones included.
    fn whole() -> Vec<u8> {
        let mut said = Extensions { authority: Some("a.test".into()), ..Extensions::default() };
        (said.alpn, said.unique_id) = (Some(b"h2".to_vec()), Some(b"id-7".to_vec()));
        let mut tls = TlsExtension::over_tls("TLSv1.3", Some("TLS_AES_128_GCM_SHA256".into()));
        (tls.certificate, tls.verified, tls.common_name) = (true, true, Some("Ann".into()));
        said.tls = Some(tls);
        let address = "192.0.2.1:80".parse().unwrap();
        let mut bytes = Vec::new();
        write_with(&ProxyHeader::Proxied { source: address, destination: address }, &said, &mut bytes);
        assert_eq!(extensions(&bytes), said);
        bytes
    }

    #[test]
    fn a_header_is_incomplete_until_its_last_byte() {
        let bytes = whole();
        for n in 0..bytes.len() {
            assert_eq!(parse(&bytes[..n]), Ok(None), "{n} bytes");
        }
        assert!(matches!(parse(&bytes), Ok(Some((ProxyHeader::Proxied { .. }, n))) if n == bytes.len()));
    }

    #[test]
    fn a_header_that_ends_within_an_extension_is_refused() {
        let bytes = whole();
        // The offsets at which an extension ends.
        let mut ends = vec![FIXED + 12];
        while let Some([high, low]) =
            bytes.get(ends[ends.len() - 1]..).and_then(|rest| rest[1..].first_chunk())
        {
            ends.push(ends[ends.len() - 1] + 3 + usize::from(u16::from_be_bytes([*high, *low])));
            if ends.ends_with(&[bytes.len()]) {
                break;
            }
        }
        assert_eq!(ends.len(), 6, "the addresses, ALPN, authority, identifier, TLS and checksum: {ends:?}");
        for n in FIXED + 12..bytes.len() {
            let mut cut = bytes[..n].to_vec();
            cut[14..16].copy_from_slice(&u16::try_from(n - FIXED).unwrap().to_be_bytes());
            match parse(&cut) {
                Ok(Some((ProxyHeader::Proxied { .. }, used))) => {
                    assert!(used == n && ends.contains(&n), "{n}");
                }
                other => assert!(other == Err(Error::Extension) && !ends.contains(&n), "{n}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_byte_is_under_the_checksum() {
        let mut bytes = Vec::new();
        let address = "192.0.2.1:80".parse().unwrap();
        write(&ProxyHeader::Proxied { source: address, destination: address }, &mut bytes);
        for at in FIXED..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // Changing the type of the last extension makes it another one.
            assert!(!matches!(parse(&changed), Ok(Some(_))) || at == bytes.len() - 7, "{at}");
        }
    }
}
