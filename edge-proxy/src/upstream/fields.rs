//! The conversion of fields between the `h2` crate and this one.

use edge_http::{Fields, Name};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Appends all fields of `from` to `to`, except Content-Length and Transfer-Encoding.
pub(super) fn copy_fields(from: &HeaderMap, to: &mut Fields) {
    for (name, value) in from {
        if !matches!(Name::of(name.as_str().as_bytes()), Name::ContentLength | Name::TransferEncoding) {
            to.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// Returns the fields for HTTP/2, without connection-specific ones (Connection, Keep-Alive, Proxy-Connection,
/// Transfer-Encoding and Upgrade, RFC 9113 §8.2.2) and without those that are invalid for the `http` crate.
pub(super) fn to_header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 2);
    for field in fields.iter() {
        if matches!(
            field.id,
            Name::Connection
                | Name::KeepAlive
                | Name::ProxyConnection
                | Name::TransferEncoding
                | Name::Upgrade
        ) {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value))
        {
            map.append(name, value);
        }
    }
    map
}
