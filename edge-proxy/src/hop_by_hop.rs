//! Hop-by-hop fields, which concern one connection only and are never forwarded (RFC 9110 §7.6.1).

use crate::grammar::list;
use crate::{Fields, Name};

/// Removes hop-by-hop fields: Connection, the fields it nominates, and those that are always hop-by-hop. `TE: trailers`
/// is kept, written anew. Early-Data is kept even if it is nominated (RFC 8470 §5.1).
///
/// ```
/// use edge_proxy::{Fields, hop_by_hop};
///
/// let mut fields = Fields::new();
/// fields.push(b"Connection", b"close, X-Secret");
/// fields.push(b"X-Secret", b"1");
/// fields.push(b"Accept", b"*/*");
/// hop_by_hop::strip(&mut fields);
/// assert_eq!(fields.len(), 1);
/// ```
pub fn strip(fields: &mut Fields) {
    // Allocated only if something unusual is nominated: the fields cannot be read while they are changed.
    let mut nominated: Vec<u8> = Vec::new();
    let mut present = false;
    let mut trailers = false;
    for field in fields.iter() {
        match field.id {
            Name::Connection => {
                present = true;
                for name in list(field.value) {
                    if !always(Name::of(name)) && !is_option(name) {
                        nominated.extend_from_slice(name);
                        nominated.push(b',');
                    }
                }
            }
            Name::Te => {
                present = true;
                trailers |= list(field.value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            id => present |= always(id),
        }
    }
    if !present {
        return;
    }
    fields.retain(|field| {
        !(always(field.id)
            || field.id != Name::EarlyData
                && !nominated.is_empty()
                && nominated.split(|b| *b == b',').any(|name| name.eq_ignore_ascii_case(field.name)))
    });
    if trailers {
        fields.push(b"TE", b"trailers");
    }
}

/// Returns whether a field is hop-by-hop even if it is not nominated. Fields that frame a message are included,
/// although parsers keep them out of [`Fields`]. Trailer is not: it concerns the message (RFC 9110 §6.6.2).
const fn always(id: Name) -> bool {
    matches!(
        id,
        Name::Connection
            | Name::ContentLength
            | Name::Host
            | Name::KeepAlive
            | Name::ProxyAuthenticate
            | Name::ProxyAuthorization
            | Name::ProxyConnection
            | Name::Te
            | Name::TransferEncoding
            | Name::Upgrade
    )
}

/// Returns whether this connection option names no field.
fn is_option(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"close")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&str, &str)]) -> Vec<String> {
        let mut fields: Fields =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        strip(&mut fields);
        fields.iter().map(|field| format!("{field:?}")).collect()
    }

    #[test]
    fn nominated_and_standing() {
        let left = stripped(&[
            ("connection", "Keep-Alive, x-a ,, X-B"),
            ("Connection", "x-c"),
            ("X-A", "1"),
            ("x-b", "2"),
            ("X-C", "3"),
            ("X-D", "4"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("Upgrade", "h2c"),
            ("Trailer", "X-E"),
        ]);
        assert_eq!(left, ["X-D: 4", "Trailer: X-E"]);
    }

    #[test]
    fn te_trailers_stays_alone() {
        assert_eq!(stripped(&[("TE", "gzip, trailers"), ("Connection", "TE")]), ["TE: trailers"]);
        assert!(stripped(&[("TE", "gzip")]).is_empty());
    }

    #[test]
    fn early_data_stays() {
        assert_eq!(stripped(&[("Connection", "Early-Data"), ("Early-Data", "1")]), ["Early-Data: 1"]);
    }
}
