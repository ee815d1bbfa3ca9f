//! The removal of hop-by-hop fields, which concern one connection only and are never forwarded (RFC 9110 §7.6.1).

use crate::field_names::{folded, is_same_variable, push_folded};
use crate::fields::Field;
use crate::grammar::list;
use crate::name::is_spelling;
use crate::{Fields, Name, NameSet};
use std::collections::HashSet;

/// Removes hop-by-hop fields: Connection, the fields that it nominates, and those that are always hop-by-hop or frame a
/// message (Content-Length, Host, Keep-Alive, Proxy-Authenticate, Proxy-Authorization, Proxy-Connection, TE,
/// Transfer-Encoding and Upgrade), also in spellings with `_` that a backend could take for them. `TE` is replaced by
/// `TE: trailers` if it contains `trailers`. Early-Data is kept even if it is nominated (RFC 8470 §5.1).
///
/// ```
/// use edge_http::{Fields, hop_by_hop};
///
/// let mut fields = Fields::new();
/// fields.push(b"Connection", b"close, X-Secret");
/// fields.push(b"X-Secret", b"1");
/// fields.push(b"Accept", b"*/*");
/// hop_by_hop::strip(&mut fields);
/// assert_eq!(fields.len(), 1);
/// ```
pub fn strip(fields: &mut Fields) {
    if !fields.may_contain(ALWAYS) && !fields.classes().has_underscore() {
        return;
    }
    // Names are copied only if an unusual one is nominated, since the fields cannot be read while they are changed.
    let mut nominated = ConnectionOptions::default();
    // The usual values nominate no field, and are not taken apart.
    let is_usual = |value: &[u8]| is_spelling(value, b"keep-alive") || is_spelling(value, b"close");
    for name in fields.all(Name::Connection).filter(|value| !is_usual(value)).flat_map(list) {
        if !is_always_hop_by_hop(Name::of(name)) && !is_option(name) {
            nominated.push(name);
        }
    }
    let is_trailers = |coding: &[u8]| coding.eq_ignore_ascii_case(b"trailers");
    let trailers = fields.all(Name::Te).flat_map(list).any(is_trailers);
    if !nominated.is_empty() {
        let nominated = nominated.index();
        fields.retain(|field| {
            !(concerns_hop(field) || field.id != Name::EarlyData && nominated.contains(field.name))
        });
    } else if fields.classes().has_underscore() {
        fields.retain(|field| !concerns_hop(field));
    } else {
        fields.remove_all(ALWAYS);
    }
    if trailers {
        fields.push(b"TE", b"trailers");
    }
}

/// Returns whether this field is always hop-by-hop, or has a name with `_` that a backend could take for such a field.
fn concerns_hop(field: Field<'_>) -> bool {
    match field.id {
        Name::Other if field.class.has_underscore() => is_always_hop_by_hop(folded(field.name)),
        id => is_always_hop_by_hop(id),
    }
}

/// The field names that Connection nominates, in the form that [`is_same_variable`] compares.
#[derive(Default)]
struct ConnectionOptions {
    /// The names, one after the other.
    names: Vec<u8>,
    /// The offset in `names` after each name.
    ends: Vec<usize>,
}

/// The highest number of nominated names that are compared one by one. For more, a hash set is built, so that the cost
/// of a long list is linear.
const MAX_LINEAR_SEARCH: usize = 8;

impl ConnectionOptions {
    /// Appends a name, in the form that [`is_same_variable`] compares.
    fn push(&mut self, name: &[u8]) {
        push_folded(name, &mut self.names);
        self.ends.push(self.names.len());
    }

    /// Returns true if there are no names.
    const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the names in their order.
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.names[begin..*end])
    }

    /// Returns the names with a hash set, if there are more than [`MAX_LINEAR_SEARCH`].
    fn index(&self) -> FieldIndex<'_> {
        let many = self.ends.len() > MAX_LINEAR_SEARCH;
        FieldIndex { nominated: self, many: many.then(|| self.iter().collect()) }
    }
}

/// The nominated names, with a hash set if there are many.
struct FieldIndex<'a> {
    /// The nominated names.
    nominated: &'a ConnectionOptions,
    /// The same names as a set. `None` if they are few.
    many: Option<HashSet<&'a [u8]>>,
}

impl FieldIndex<'_> {
    /// Returns whether a field with this name is nominated, as backends compare names.
    fn contains(&self, name: &[u8]) -> bool {
        match &self.many {
            None => self.nominated.iter().any(|nominated| is_same_variable(nominated, name)),
            Some(names) => {
                let mut folded = Vec::with_capacity(name.len());
                push_folded(name, &mut folded);
                names.contains(&folded[..])
            }
        }
    }
}

/// Returns whether a field with this name is hop-by-hop even if it is not nominated. That includes the fields that
/// frame a message, which parsers keep out of [`Fields`], but not Trailer, which concerns the message (RFC 9110
/// §6.6.2).
const fn is_always_hop_by_hop(id: Name) -> bool {
    ALWAYS.contains(id)
}

/// The names of [`is_always_hop_by_hop`].
const ALWAYS: NameSet = NameSet::of(&[
    Name::Connection,
    Name::ContentLength,
    Name::Host,
    Name::KeepAlive,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::ProxyConnection,
    Name::Te,
    Name::TransferEncoding,
    Name::Upgrade,
]);

/// Returns whether this member of Connection is an option that names no field: `close`.
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

    #[test]
    fn other_spellings_go_too() {
        let left = stripped(&[
            ("Content_Length", "5"),
            ("Transfer_Encoding", "chunked"),
            ("Keep_Alive", "1"),
            ("Proxy_Connection", "keep-alive"),
            ("Connection", "X-Nominated"),
            ("x_nominated", "1"),
            ("Content_Type", "text/plain"),
        ]);
        assert_eq!(left, ["Content_Type: text/plain"]);
        assert!(stripped(&[("Transfer_Encoding", "chunked")]).is_empty(), "also without Connection");
    }

    #[test]
    fn d16_a_long_list_costs_no_more_than_its_length() {
        let long = "a,".repeat(7200);
        let took = |count: usize| {
            let mut fields = Fields::new();
            fields.push(b"Connection", long.as_bytes());
            (0..count).for_each(|n| fields.push(format!("X-Field-{n}").as_bytes(), b"1"));
            // The best of several, so that whatever else the machine does is left out.
            let one = || {
                let mut fields = fields.clone();
                let begin = std::time::Instant::now();
                strip(&mut fields);
                assert_eq!(fields.len(), count);
                begin.elapsed()
            };
            (0..20).map(|_| one()).min().unwrap()
        };
        let (few, many) = (took(2), took(96));
        assert!(many < few * 4, "{few:?} for 2 fields, {many:?} for 96");
    }
}
