//! Extensions (TLVs) of version 2 that describe the client's connection (haproxy.org, doc/proxy-protocol.txt, 2.2).

use super::Error;

/// The type PP2_TYPE_ALPN.
pub(super) const ALPN: u8 = 0x01;
/// The type PP2_TYPE_AUTHORITY.
pub(super) const AUTHORITY: u8 = 0x02;
/// The type PP2_TYPE_CRC32C.
pub(super) const CRC32C: u8 = 0x03;
/// The type PP2_TYPE_UNIQUE_ID.
pub(super) const UNIQUE_ID: u8 = 0x05;
/// The type PP2_TYPE_SSL, which contains the next three.
pub(super) const SSL: u8 = 0x20;
/// The type PP2_SUBTYPE_SSL_VERSION.
const SSL_VERSION: u8 = 0x21;
/// The type PP2_SUBTYPE_SSL_CN.
const SSL_COMMON_NAME: u8 = 0x22;
/// The type PP2_SUBTYPE_SSL_CIPHER.
const SSL_CIPHER: u8 = 0x23;

/// The longest value of an extension in bytes, except [`UNIQUE_ID`].
const MAX_VALUE_LEN: usize = 255;
/// The longest [`UNIQUE_ID`] in bytes.
const MAX_UNIQUE_ID_LEN: usize = 128;

/// Flag of the TLS extension: the client connected over TLS.
const OVER_TLS: u8 = 0x01;
/// Flag of the TLS extension: the client sent a certificate in this connection.
const CERTIFICATE_OF_CONNECTION: u8 = 0x02;
/// Flag of the TLS extension: the client sent a certificate when the session began.
const CERTIFICATE_OF_SESSION: u8 = 0x04;

/// The description of a client's connection in the extensions of a version 2 header. The default is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Extensions {
    /// The application protocol negotiated by ALPN (RFC 7301), such as `h2`. 1 to 255 bytes. `None` if the header does
    /// not have it.
    pub alpn: Option<Vec<u8>>,
    /// The host name that the client asked for, such as by SNI (RFC 6066). 1 to 255 bytes. `None` if the header does
    /// not have it.
    pub authority: Option<String>,
    /// An identifier of the connection, opaque. 1 to 128 bytes. `None` if the header does not have it.
    pub unique_id: Option<Vec<u8>>,
    /// The description of TLS between the client and the proxy. `None` if the header has none.
    pub tls: Option<TlsExtension>,
}

/// The description of TLS between a client and a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TlsExtension {
    /// True if the client connected over TLS.
    pub over_tls: bool,
    /// True if the client sent a certificate in this connection or, with a resumed session, in an earlier one.
    pub certificate: bool,
    /// True if the client sent a certificate and it was verified.
    pub verified: bool,
    /// The TLS version, such as `TLSv1.3`. `None` if it is not given.
    pub version: Option<String>,
    /// The common name in the subject of the client's certificate. `None` if it is not given.
    pub common_name: Option<String>,
    /// The cipher suite by OpenSSL's name, such as `TLS_AES_128_GCM_SHA256` or `ECDHE-RSA-AES128-GCM-SHA256`. `None` if
    /// it is not given.
    pub cipher: Option<String>,
}

impl Extensions {
    /// The empty description, by reference.
    pub const NONE: &'static Self = &Self { alpn: None, authority: None, unique_id: None, tls: None };

    /// Returns whether there are no extensions.
    pub fn is_empty(&self) -> bool {
        self == Self::NONE
    }

    /// Stores an extension of type `kind`. Unknown types are ignored, as are empty values except that of TLS.
    ///
    /// # Errors
    /// [`Error::Extension`] for a value that is repeated, too long or malformed.
    pub(super) fn take(&mut self, kind: u8, value: &[u8]) -> Result<(), Error> {
        let fits = |longest| if value.len() <= longest { Ok(()) } else { Err(Error::Extension) };
        let twice = match kind {
            _ if value.is_empty() && kind != SSL => Ok(false),
            ALPN => fits(MAX_VALUE_LEN).map(|()| self.alpn.replace(value.to_vec()).is_some()),
            AUTHORITY => {
                fits(MAX_VALUE_LEN)?;
                Ok(self.authority.replace(text(value)?).is_some())
            }
            UNIQUE_ID => fits(MAX_UNIQUE_ID_LEN).map(|()| self.unique_id.replace(value.to_vec()).is_some()),
            SSL => Ok(self.tls.replace(TlsExtension::parse(value)?).is_some()),
            _ => Ok(false),
        };
        // Two values would be two readings.
        if twice? { Err(Error::Extension) } else { Ok(()) }
    }

    /// Appends the extensions in their encoding. Values that are empty or too long are omitted.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write(ALPN, self.alpn.as_deref(), MAX_VALUE_LEN, out);
        write(AUTHORITY, self.authority.as_deref().map(str::as_bytes), MAX_VALUE_LEN, out);
        write(UNIQUE_ID, self.unique_id.as_deref(), MAX_UNIQUE_ID_LEN, out);
        if let Some(tls) = &self.tls {
            let mut value = Vec::with_capacity(64);
            tls.write(&mut value);
            write(SSL, Some(&value), usize::from(u16::MAX), out);
        }
    }
}

impl TlsExtension {
    /// Creates the description of a client that connected over TLS of this version with this cipher suite, without a
    /// certificate.
    pub fn over_tls(version: &str, cipher: Option<String>) -> Self {
        Self { over_tls: true, version: Some(version.to_owned()), cipher, ..Self::default() }
    }

    /// Parses the value of the TLS extension, and the extensions in it.
    ///
    /// # Errors
    /// [`Error::Extension`].
    fn parse(value: &[u8]) -> Result<Self, Error> {
        let [flags, verify @ ..] = *value.first_chunk::<5>().ok_or(Error::Extension)?;
        let certificate = flags & (CERTIFICATE_OF_CONNECTION | CERTIFICATE_OF_SESSION) != 0;
        let mut tls = Self {
            over_tls: flags & OVER_TLS != 0,
            certificate,
            // Zero without a certificate says nothing.
            verified: certificate && verify == [0; 4],
            ..Self::default()
        };
        for_each_extension(&value[5..], |kind, value| {
            let place = match kind {
                SSL_VERSION => &mut tls.version,
                SSL_COMMON_NAME => &mut tls.common_name,
                SSL_CIPHER => &mut tls.cipher,
                _ => return Ok(()),
            };
            let fits = value.len() <= MAX_VALUE_LEN;
            let twice = !value.is_empty() && place.replace(text(value)?).is_some();
            if fits && !twice { Ok(()) } else { Err(Error::Extension) }
        })?;
        Ok(tls)
    }

    /// Appends the value of the TLS extension.
    fn write(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(self.over_tls, OVER_TLS) | flag(self.certificate, CERTIFICATE_OF_CONNECTION));
        out.extend_from_slice(&u32::from(!self.verified).to_be_bytes());
        for (kind, value) in
            [(SSL_VERSION, &self.version), (SSL_COMMON_NAME, &self.common_name), (SSL_CIPHER, &self.cipher)]
        {
            write(kind, value.as_deref().map(str::as_bytes), MAX_VALUE_LEN, out);
        }
    }
}

/// Calls `take` with the type and value of each extension in `rest`, in order.
///
/// # Errors
/// [`Error::Extension`] if an extension exceeds the bytes; else the first error of `take`, which ends the iteration.
pub(super) fn for_each_extension(
    mut rest: &[u8],
    mut take: impl FnMut(u8, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    while !rest.is_empty() {
        let [kind, high, low] = *rest.first_chunk::<3>().ok_or(Error::Extension)?;
        let end = 3 + usize::from(u16::from_be_bytes([high, low]));
        take(kind, rest.get(3..end).ok_or(Error::Extension)?)?;
        rest = &rest[end..];
    }
    Ok(())
}

/// Converts a value to text; it must be UTF-8.
///
/// # Errors
/// [`Error::Extension`] if it is not.
fn text(value: &[u8]) -> Result<String, Error> {
    String::from_utf8(value.to_vec()).map_err(|_| Error::Extension)
}

/// Appends an extension of type `kind`, unless its value is `None`, empty or longer than `longest`.
fn write(kind: u8, value: Option<&[u8]>, longest: usize, out: &mut Vec<u8>) {
    let Some(value) = value.filter(|value| (1..=longest).contains(&value.len())) else { return };
    let Ok(length) = u16::try_from(value.len()) else { return };
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Extensions, Error> {
        let mut found = Extensions::default();
        for_each_extension(bytes, |kind, value| found.take(kind, value)).map(|()| found)
    }

    /// What HAProxy 2.6 sends with `proxy-v2-options ssl,cert-cn,ssl-cipher,authority,unique-id` for a client with a certificate.
    #[test]
    fn what_another_proxy_writes_is_read() {
        let mut bytes = b"\x01\0\x02h2\x02\0\x06a.test\x05\0\x04id-7".to_vec();
        bytes.extend_from_slice(
            b"\x20\0\x32\x03\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x07Ann Lee\x23\0\x16TLS_AES_128_GCM_SHA256",
        );
        bytes.extend_from_slice(b"\x30\0\x03net");
        let found = parsed(&bytes).expect("valid");
        assert_eq!(found.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(found.authority.as_deref(), Some("a.test"));
        assert_eq!(found.unique_id.as_deref(), Some(&b"id-7"[..]));
        let tls = found.tls.expect("TLS");
        assert!(tls.over_tls && tls.certificate && tls.verified);
        assert_eq!(tls.version.as_deref(), Some("TLSv1.3"));
        assert_eq!(tls.common_name.as_deref(), Some("Ann Lee"));
        assert_eq!(tls.cipher.as_deref(), Some("TLS_AES_128_GCM_SHA256"));
    }

    #[test]
    fn malformed_extensions_are_refused() {
        for bytes in [
            &b"\x01\0\x02h"[..],
            b"\x02\0\x01\xff",
            b"\x02\0\x01a\x02\0\x01b",
            b"\x20\0\0",
            b"\x20\0\x04\x01\0\0\0",
            b"\x20\0\x08\x01\0\0\0\0\x21\0\x01",
            b"\x20\0\x09\x01\0\0\0\0\x21\0\x01\xff",
        ] {
            assert_eq!(parsed(bytes), Err(Error::Extension), "{bytes:?}");
        }
        for (kind, longest) in [(AUTHORITY, 255), (ALPN, 255), (UNIQUE_ID, 128)] {
            let of = |n: usize| {
                let mut bytes = vec![kind];
                bytes.extend_from_slice(&(n as u16).to_be_bytes());
                bytes.extend(std::iter::repeat_n(b'x', n));
                parsed(&bytes)
            };
            assert!(of(longest).is_ok(), "{kind}");
            assert_eq!(of(longest + 1), Err(Error::Extension), "{kind}");
            assert_eq!(of(0), Ok(Extensions::default()), "{kind}");
        }
    }

    #[test]
    fn a_certificate_that_was_not_verified_is_no_proof() {
        let tls = |flags: u8, verify: u8| {
            let bytes = [0x20, 0, 5, flags, 0, 0, 0, verify];
            parsed(&bytes).expect("valid").tls.expect("TLS")
        };
        assert!(!tls(1, 0).verified);
        assert!(!tls(3, 1).verified);
        assert!(tls(3, 0).verified && tls(5, 0).verified);
    }
}
