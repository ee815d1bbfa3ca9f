//! Header and trailer fields, stored in one buffer.
//!
//! A proxy reads, filters and writes fields; it seldom looks one up by an arbitrary name. A section is therefore one buffer and a
//! list of positions in it. This needs no allocation per field and keeps the spelling of names for HTTP/1.1. Names that matter to
//! a proxy are recognised once, when a field is added.

use crate::name_class::NameClass;
use std::fmt;

/// A field name with a meaning for the proxy. All others are [`Name::Other`].
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
    /// Returns the known name, compared without regard to case. [`Name::Other`] if it is not known.
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first().map(|b| b | 0x20) else { return Self::Other };
        if !is_begun_by(first, name.len()) {
            return Self::Other;
        }
        // Length and first letter leave at most one candidate, with one exception.
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

/// For the five low bits of a first letter: a bit for each length of a known name that begins with it. Most names are none of
/// them, and are told by this alone.
static LENGTHS: [u32; 32] = {
    let names = [
        "alt-svc",
        "connection",
        "content-length",
        "date",
        "early-data",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "proxy",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "sec-websocket-accept",
        "sec-websocket-key",
        "sec-websocket-version",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-real-ip",
    ];
    let mut lengths = [0; 32];
    let mut i = 0;
    while i < names.len() {
        lengths[names[i].as_bytes()[0] as usize & 0x1f] |= 1 << names[i].len();
        i += 1;
    }
    // All that begins with X-Forwarded- is known.
    lengths[b'x' as usize & 0x1f] |= u32::MAX << "x-forwarded-".len();
    lengths
};

/// Returns whether a known name can begin with this small letter and have this length.
fn is_begun_by(first: u8, len: usize) -> bool {
    // Longer than any but one that begins with X-Forwarded-.
    let len = len.min(31);
    LENGTHS[usize::from(first & 0x1f)] >> len & 1 != 0
}

/// Bytes reserved for the fields that a proxy adds to most messages.
const ADDED: usize = 256;
/// Bytes of most messages' fields, those that a proxy adds among them.
const USUAL_BYTES: usize = 768;
/// Fields of most messages, those that a proxy adds among them.
const USUAL_FIELDS: usize = 24;

/// A field by its position in the buffer. Parsers limit a name to 2^16 bytes and a section to far less than 2^32.
#[derive(Clone, Copy)]
struct FieldEntry {
    name_at: u32,
    value_at: u32,
    value_len: u32,
    name_len: u16,
    id: Name,
    class: NameClass,
}

impl FieldEntry {
    fn of<'a>(&self, buf: &'a [u8]) -> Field<'a> {
        let (name_at, value_at) = (self.name_at as usize, self.value_at as usize);
        Field {
            id: self.id,
            name: &buf[name_at..name_at + usize::from(self.name_len)],
            value: &buf[value_at..value_at + self.value_len as usize],
            class: self.class,
        }
    }
}

/// One field, borrowed from its section.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// The known name, or [`Name::Other`].
    pub id: Name,
    /// The name as spelt in the message.
    pub name: &'a [u8],
    /// The value, without leading and trailing whitespace.
    pub value: &'a [u8],
    /// The classes of characters in the name.
    pub class: NameClass,
}

/// Ignores the class, which follows from the name.
impl PartialEq for Field<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.name == other.name && self.value == other.value
    }
}

impl Eq for Field<'_> {}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// A header or trailer section: fields in the order of the message, including duplicates.
///
/// ```
/// use edge_http::{Fields, Name};
///
/// let mut fields = Fields::new();
/// fields.push(b"Accept", b"*/*");
/// fields.push(b"x-forwarded-for", b"192.0.2.1");
/// assert_eq!(fields.get(Name::XForwardedFor), Some(&b"192.0.2.1"[..]));
/// fields.remove(Name::XForwardedFor);
/// assert_eq!(fields.len(), 1);
/// ```
#[derive(Default)]
pub struct Fields {
    buf: Vec<u8>,
    items: Vec<FieldEntry>,
    /// Names that were added: where one is missing, no field has it.
    added: NameSet,
    /// Kinds of characters in the names that were added.
    classes: NameClass,
}

/// A set of recognised names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameSet(u32);

impl NameSet {
    /// Returns the set of these names.
    pub const fn of(names: &[Name]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < names.len() {
            bits |= bit(names[at]);
            at += 1;
        }
        Self(bits)
    }

    /// Returns whether the name is in the set.
    #[inline]
    pub const fn contains(self, name: Name) -> bool {
        self.0 & bit(name) != 0
    }

    /// Returns whether both sets have a name.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Returns the bit of a name in a [`NameSet`].
const fn bit(id: Name) -> u32 {
    1 << id as u32
}

impl Clone for Fields {
    fn clone(&self) -> Self {
        Self { buf: self.buf.clone(), items: self.items.clone(), added: self.added, classes: self.classes }
    }

    /// Copies into the existing allocation.
    fn clone_from(&mut self, source: &Self) {
        self.buf.clone_from(&source.buf);
        self.items.clone_from(&source.items);
        self.added = source.added;
        self.classes = source.classes;
    }
}

impl Fields {
    /// Creates an empty section without allocating.
    pub const fn new() -> Self {
        Self { buf: Vec::new(), items: Vec::new(), added: NameSet(0), classes: NameClass::EMPTY }
    }

    /// Removes all fields and keeps the allocation for the next message.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.items.clear();
        self.added = NameSet(0);
        self.classes = NameClass::EMPTY;
    }

    /// Returns the number of fields, duplicates included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether the section is empty.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a field without validation. A caller that reads from the network must validate the name and the value first.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_known(Name::of(name), NameClass::of(name), name, value);
    }

    /// Appends a field whose name is already recognised, without validation. `id` and `class` must be those of `name`.
    pub fn push_known(&mut self, id: Name, class: NameClass, name: &[u8], value: &[u8]) {
        let name_at = self.buf.len();
        self.buf.extend_from_slice(name);
        self.buf.extend_from_slice(value);
        self.push_range((id, class), (name_at, name.len()), (name_at + name.len(), value.len()));
    }

    /// Appends a field whose name is already recognised, with the value that `write` appends to the buffer.
    pub fn push_with(&mut self, id: Name, class: NameClass, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        let name_at = self.buf.len();
        self.buf.extend_from_slice(name);
        let value_at = self.buf.len();
        write(&mut self.buf);
        let length = self.buf.len() - value_at;
        self.push_range((id, class), (name_at, name.len()), (value_at, length));
    }

    /// Reserves space for the fields of a usual message.
    pub(crate) fn reserve(&mut self) {
        self.buf.reserve(USUAL_BYTES);
        self.items.reserve(USUAL_FIELDS);
    }

    /// Returns the offset that the next block of header lines will have.
    pub(crate) fn next_block(&mut self) -> usize {
        self.items.reserve(USUAL_FIELDS);
        self.buf.len()
    }

    /// Copies a block of header lines into the buffer, for [`Fields::push_range`] to refer to.
    pub(crate) fn push_block(&mut self, block: &[u8]) {
        self.buf.reserve(block.len() + ADDED);
        self.buf.extend_from_slice(block);
    }

    /// Appends a field by the positions and lengths of its name and value in the buffer. They must be there when a field is
    /// next read.
    pub(crate) fn push_range(
        &mut self,
        (id, class): (Name, NameClass),
        (name_at, name_len): (usize, usize),
        (value_at, value_len): (usize, usize),
    ) {
        self.added.0 |= bit(id);
        self.classes = self.classes.union(class);
        self.items.push(FieldEntry {
            name_at: name_at as u32,
            value_at: value_at as u32,
            value_len: value_len as u32,
            name_len: name_len as u16,
            id,
            class,
        });
    }

    /// Iterates over the fields in the order of the message.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> + DoubleEndedIterator + Clone {
        self.items.iter().map(|item| self.field(item))
    }

    fn field(&self, item: &FieldEntry) -> Field<'_> {
        item.of(&self.buf)
    }

    /// Returns the value of the first field of this name. `None` if there is none.
    pub fn get(&self, id: Name) -> Option<&[u8]> {
        self.all(id).next()
    }

    /// Iterates over the values of all fields of this name, in the order of the message.
    pub fn all(&self, id: Name) -> impl DoubleEndedIterator<Item = &[u8]> {
        let items = if self.was_added(id) { &self.items[..] } else { &[] };
        items.iter().filter(move |item| item.id == id).map(|item| self.field(item).value)
    }

    /// Returns whether a field of this name was added. It may have been removed since.
    #[inline]
    pub(crate) const fn was_added(&self, id: Name) -> bool {
        self.added.contains(id)
    }

    /// Returns whether a field of one of these names was added. It may have been removed since.
    #[inline]
    pub const fn may_contain(&self, names: NameSet) -> bool {
        self.added.intersects(names)
    }

    /// Returns the kinds of characters in the names of all fields that were added, some of which may have been removed since.
    #[inline]
    pub const fn classes(&self) -> NameClass {
        self.classes
    }

    /// Returns the value of the first field of this name, compared without regard to case. `None` if there is none.
    pub fn get_named(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Returns whether a field of this name is present.
    #[inline]
    pub fn contains(&self, id: Name) -> bool {
        self.was_added(id) && self.items.iter().any(|item| item.id == id)
    }

    /// Removes all fields of this name.
    #[inline]
    pub fn remove(&mut self, id: Name) {
        if self.was_added(id) {
            self.items.retain(|item| item.id != id);
            self.added.0 &= !bit(id);
        }
    }

    /// Removes all fields of these names.
    pub fn remove_all(&mut self, names: NameSet) {
        if self.may_contain(names) {
            self.items.retain(|item| !names.contains(item.id));
            self.added.0 &= !names.0;
        }
    }

    /// Removes all fields of this name, compared without regard to case.
    pub fn remove_named(&mut self, name: &[u8]) {
        self.retain(|field| !field.name.eq_ignore_ascii_case(name));
    }

    /// Removes the fields for which `keep` returns false. The order is kept.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let buf = &self.buf;
        self.items.retain(|item| keep(item.of(buf)));
    }

    /// Returns the size of the section in bytes as HTTP/2 and HTTP/3 count it: names, values and 32 bytes per field (RFC 9113
    /// §6.5.2, RFC 9114 §4.2.2).
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
