//! Header and trailer fields, stored in one buffer.
//!
//! A proxy reads, filters and writes fields; it seldom looks one up by an arbitrary name. A section is therefore one
//! run of bytes and a list of positions in it. This needs no allocation per field and keeps the spelling of names for
//! HTTP/1.1. Names that matter to a proxy are recognised once, when a field is added.

use std::fmt;

/// Field names with a meaning for the proxy. All others are [`Name::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each variant is the field of that name
pub enum Name {
    AltSvc,
    Connection,
    ContentLength,
    Date,
    EarlyData,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    Other,
    Proxy,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    SecWebSocketAccept,
    SecWebSocketKey,
    SecWebSocketVersion,
    Te,
    Traceparent,
    Tracestate,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
    XForwarded,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XRealIp,
}

impl Name {
    /// Recognises a name, ignoring case.
    pub fn of(name: &[u8]) -> Self {
        // Length and first letter leave at most one candidate, with one exception.
        let Some(first) = name.first().map(u8::to_ascii_lowercase) else { return Self::Other };
        let known: (&[u8], Self) = match (name.len(), first) {
            (2, b't') => (b"te", Self::Te),
            (3, b'v') => (b"via", Self::Via),
            (4, b'd') => (b"date", Self::Date),
            (4, b'h') => (b"host", Self::Host),
            (5, b'p') => (b"proxy", Self::Proxy),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b'a') => (b"alt-svc", Self::AltSvc),
            (7, b't') => (b"trailer", Self::Trailer),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (9, b'f') => (b"forwarded", Self::Forwarded),
            (9, b'x') => (b"x-real-ip", Self::XRealIp),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'e') => (b"early-data", Self::EarlyData),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (10, b't') => (b"tracestate", Self::Tracestate),
            (11, b't') => (b"traceparent", Self::Traceparent),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (15, b'x') => (b"x-forwarded-for", Self::XForwardedFor),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (16, b'x') if name[12].eq_ignore_ascii_case(&b'h') => (b"x-forwarded-host", Self::XForwardedHost),
            (16, b'x') => (b"x-forwarded-port", Self::XForwardedPort),
            (17, b's') => (b"sec-websocket-key", Self::SecWebSocketKey),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => (b"x-forwarded-proto", Self::XForwardedProto),
            (18, b'p') => (b"proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => (b"proxy-authorization", Self::ProxyAuthorization),
            (20, b's') => (b"sec-websocket-accept", Self::SecWebSocketAccept),
            (21, b's') => (b"sec-websocket-version", Self::SecWebSocketVersion),
            _ => (b"", Self::Other),
        };
        if name.eq_ignore_ascii_case(known.0) {
            return known.1;
        }
        if first == b'x' && name.len() > 12 && name[..12].eq_ignore_ascii_case(b"x-forwarded-") {
            return Self::XForwarded;
        }
        Self::Other
    }
}

/// Bytes reserved for the fields that a proxy adds to most messages.
const ADDED: usize = 256;
const ADDED_FIELDS: usize = 10;

#[derive(Clone, Copy)]
struct FieldEntry {
    name_at: u32,
    value_at: u32,
    value_len: u32,
    name_len: u16,
    id: Name,
}

/// One field, borrowed from its section.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The recognised name.
    pub id: Name,
    /// The name as spelt in the message.
    pub name: &'a [u8],
    /// The value, without surrounding whitespace.
    pub value: &'a [u8],
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// A header or trailer section: fields in their order, duplicates kept.
///
/// ```
/// use edge_proxy::{Fields, Name};
///
/// let mut fields = Fields::new();
/// fields.push(b"Accept", b"*/*");
/// fields.push(b"x-forwarded-for", b"192.0.2.1");
/// assert_eq!(fields.get(Name::XForwardedFor), Some(&b"192.0.2.1"[..]));
/// fields.remove(Name::XForwardedFor);
/// assert_eq!(fields.len(), 1);
/// ```
#[derive(Clone, Default)]
pub struct Fields {
    buf: Vec<u8>,
    items: Vec<FieldEntry>,
}

impl Fields {
    /// Creates an empty section.
    pub const fn new() -> Self {
        Self { buf: Vec::new(), items: Vec::new() }
    }

    /// Removes every field and keeps the memory for the next message.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.items.clear();
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether the section is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a field without validation: a caller that reads from the network validates first.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name_at = self.buf.len();
        self.buf.extend_from_slice(name);
        self.buf.extend_from_slice(value);
        self.push_range(name_at, name.len(), name_at + name.len(), value.len());
    }

    /// Appends a field whose name is already recognised.
    pub(crate) fn push_known(&mut self, id: Name, name: &[u8], value: &[u8]) {
        let name_at = self.buf.len();
        self.buf.extend_from_slice(name);
        self.buf.extend_from_slice(value);
        self.items.push(FieldEntry {
            name_at: name_at as u32,
            value_at: (name_at + name.len()) as u32,
            value_len: value.len() as u32,
            name_len: name.len() as u16,
            id,
        });
    }

    /// Copies a block of header lines into the buffer, for [`Fields::push_range`] to refer to. Returns its offset.
    pub(crate) fn push_block(&mut self, block: &[u8]) -> usize {
        let at = self.buf.len();
        // Includes room for the fields that a proxy adds.
        self.buf.reserve(block.len() + ADDED);
        self.items.reserve(ADDED_FIELDS + block.len() / 32);
        self.buf.extend_from_slice(block);
        at
    }

    /// Appends a field whose bytes are already in the buffer.
    pub(crate) fn push_range(&mut self, name_at: usize, name_len: usize, value_at: usize, value_len: usize) {
        // Parsers limit a name to 2^16 bytes and a section to far less than 2^32.
        let id = Name::of(&self.buf[name_at..name_at + name_len]);
        self.items.push(FieldEntry {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value_len as u32,
            name_len: name_len as u16,
            id,
        });
    }

    /// Iterates over the fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> + DoubleEndedIterator + Clone {
        self.items.iter().map(|item| self.field(item))
    }

    fn field(&self, item: &FieldEntry) -> Field<'_> {
        let (name_at, value_at) = (item.name_at as usize, item.value_at as usize);
        Field {
            id: item.id,
            name: &self.buf[name_at..name_at + usize::from(item.name_len)],
            value: &self.buf[value_at..value_at + item.value_len as usize],
        }
    }

    /// Returns the value of the first field of this name.
    pub fn get(&self, id: Name) -> Option<&[u8]> {
        self.items.iter().find(|item| item.id == id).map(|item| self.field(item).value)
    }

    /// Iterates over the values of all fields of this name, in order.
    pub fn all(&self, id: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.items.iter().filter(move |item| item.id == id).map(|item| self.field(item).value)
    }

    /// Returns the value of the first field of this name, ignoring case.
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Returns whether a field of this name is present.
    pub fn contains(&self, id: Name) -> bool {
        self.items.iter().any(|item| item.id == id)
    }

    /// Removes all fields of this name.
    pub fn remove(&mut self, id: Name) {
        self.items.retain(|item| item.id != id);
    }

    /// Removes all fields of this name, ignoring case.
    pub fn remove_named(&mut self, name: &[u8]) {
        self.retain(|field| !field.name.eq_ignore_ascii_case(name));
    }

    /// Keeps the fields for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let buf = &self.buf;
        self.items.retain(|item| {
            let (name_at, value_at) = (item.name_at as usize, item.value_at as usize);
            keep(Field {
                id: item.id,
                name: &buf[name_at..name_at + usize::from(item.name_len)],
                value: &buf[value_at..value_at + item.value_len as usize],
            })
        });
    }

    /// Returns the size of the section as HTTP/2 and HTTP/3 count it: names, values and 32 bytes per field (RFC 9113
    /// §6.5.2).
    pub fn section_size(&self) -> usize {
        self.items.iter().map(|item| usize::from(item.name_len) + item.value_len as usize + 32).sum()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for Fields {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: I) -> Self {
        let mut fields = Self::new();
        for (name, value) in pairs {
            fields.push(name, value);
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_are_recognised_in_any_case_and_no_others() {
        let known = [
            (Name::AltSvc, "alt-svc"),
            (Name::Connection, "connection"),
            (Name::ContentLength, "content-length"),
            (Name::Date, "date"),
            (Name::EarlyData, "early-data"),
            (Name::Expect, "expect"),
            (Name::Forwarded, "forwarded"),
            (Name::Host, "host"),
            (Name::KeepAlive, "keep-alive"),
            (Name::Proxy, "proxy"),
            (Name::ProxyAuthenticate, "proxy-authenticate"),
            (Name::ProxyAuthorization, "proxy-authorization"),
            (Name::ProxyConnection, "proxy-connection"),
            (Name::SecWebSocketAccept, "sec-websocket-accept"),
            (Name::SecWebSocketKey, "sec-websocket-key"),
            (Name::SecWebSocketVersion, "sec-websocket-version"),
            (Name::Te, "te"),
            (Name::Traceparent, "traceparent"),
            (Name::Tracestate, "tracestate"),
            (Name::Trailer, "trailer"),
            (Name::TransferEncoding, "transfer-encoding"),
            (Name::Upgrade, "upgrade"),
            (Name::Via, "via"),
            (Name::XForwarded, "x-forwarded-server"),
            (Name::XForwardedFor, "x-forwarded-for"),
            (Name::XForwardedHost, "x-forwarded-host"),
            (Name::XForwardedPort, "x-forwarded-port"),
            (Name::XForwardedProto, "x-forwarded-proto"),
            (Name::XRealIp, "x-real-ip"),
        ];
        for (id, name) in known {
            assert_eq!(Name::of(name.as_bytes()), id);
            assert_eq!(Name::of(name.to_uppercase().as_bytes()), id);
            // With any one letter changed, it is a different name or unknown.
            for at in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                other[at] = b'~';
                let forwarded = name.starts_with("x-forwarded-") && at >= 12;
                let wanted = if forwarded { Name::XForwarded } else { Name::Other };
                assert_eq!(Name::of(&other), wanted, "{}", other.escape_ascii());
            }
        }
        assert_eq!(
            ["", "t", "x-forwarded-", "cookie"].map(|name| Name::of(name.as_bytes())),
            [Name::Other; 4]
        );
    }
}
