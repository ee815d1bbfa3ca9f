//! Names that requests of HTTP/3 often have: those of the static table of QPACK, and others that browsers send. What
//! a request head needs of each is computed at compile time, also its Huffman code, by which it is found undecoded.

use crate::Name;
use crate::field_names::is_omitted;
use crate::prefixed::huffman::{NAME_CODE, encode_name};

/// The most bytes of a known name.
const MAX_NAME: usize = 32;

/// The number of bytes of [`KnownName::line`].
pub(crate) const LINE_LEN: usize = MAX_NAME + 2;

/// The part of a request that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRole {
    /// The pseudo-header field `:authority`.
    Authority,
    /// A field that is joined with others of its name.
    Cookie,
    /// A field that is only checked and added.
    Field,
    /// The pseudo-header field `:method`.
    Method,
    /// The pseudo-header field `:path`.
    Path,
    /// The pseudo-header field `:protocol`.
    Protocol,
    /// The pseudo-header field `:scheme`.
    Scheme,
    /// A field that determines the host, the length or the connection.
    Special,
    /// A pseudo-header field that requests do not have.
    Unexpected,
}

impl NameRole {
    /// Returns the role of a pseudo-header field by its name.
    pub(crate) const fn of_pseudo(name: &[u8]) -> Self {
        match name {
            b":authority" => Self::Authority,
            b":method" => Self::Method,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            b":scheme" => Self::Scheme,
            _ => Self::Unexpected,
        }
    }
}

/// A name in lower case, and its properties, in one line of the cache.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct KnownName {
    /// The name, `: ` and zeros, as the beginning of a line of HTTP/1.1.
    pub(crate) line: [u8; LINE_LEN],
    /// The length of the name in bytes.
    pub(crate) len: u8,
    /// The part of a request that the name stands for.
    pub(crate) role: NameRole,
    /// The identity of the name.
    pub(crate) id: Name,
    /// The length of `code` in bytes.
    code_len: u8,
    /// The Huffman code of the name.
    code: [u8; NAME_CODE],
}

impl KnownName {
    /// Returns the name.
    #[cfg(test)]
    fn text(&self) -> &[u8] {
        &self.line[..usize::from(self.len)]
    }

    /// Returns the properties of a name. Panics at compile time if it is too long.
    const fn of(name: &[u8], id: Name) -> Self {
        let mut line = [0; LINE_LEN];
        let mut i = 0;
        while i < name.len() {
            line[i] = name[i];
            i += 1;
        }
        (line[i], line[i + 1]) = (b':', b' ');
        let role = match name {
            [b':', ..] => NameRole::of_pseudo(name),
            b"cookie" => NameRole::Cookie,
            _ if is_omitted(id) => NameRole::Special,
            _ => NameRole::Field,
        };
        let (code, code_len) = encode_name(name);
        Self { line, len: name.len() as u8, role, id, code_len: code_len as u8, code }
    }
}

/// The names that are known, and the identity of each.
const NAMES: &[(&[u8], Name)] = &[
    (b":authority", Name::Other),
    (b":method", Name::Other),
    (b":path", Name::Other),
    (b":protocol", Name::Other),
    (b":scheme", Name::Other),
    (b":status", Name::Other),
    (b"accept", Name::Other),
    (b"accept-encoding", Name::Other),
    (b"accept-language", Name::Other),
    (b"accept-ranges", Name::Other),
    (b"access-control-allow-credentials", Name::Other),
    (b"access-control-allow-headers", Name::Other),
    (b"access-control-allow-methods", Name::Other),
    (b"access-control-allow-origin", Name::Other),
    (b"access-control-expose-headers", Name::Other),
    (b"access-control-request-headers", Name::Other),
    (b"access-control-request-method", Name::Other),
    (b"age", Name::Other),
    (b"alt-svc", Name::AltSvc),
    (b"authorization", Name::Other),
    (b"cache-control", Name::Other),
    (b"content-disposition", Name::Other),
    (b"content-encoding", Name::Other),
    (b"content-length", Name::ContentLength),
    (b"content-security-policy", Name::Other),
    (b"content-type", Name::Other),
    (b"cookie", Name::Other),
    (b"date", Name::Date),
    (b"dnt", Name::Other),
    (b"early-data", Name::EarlyData),
    (b"etag", Name::Other),
    (b"expect-ct", Name::Other),
    (b"forwarded", Name::Forwarded),
    (b"host", Name::Host),
    (b"if-modified-since", Name::Other),
    (b"if-none-match", Name::Other),
    (b"if-range", Name::Other),
    (b"last-modified", Name::Other),
    (b"link", Name::Other),
    (b"location", Name::Other),
    (b"origin", Name::Other),
    (b"pragma", Name::Other),
    (b"priority", Name::Other),
    (b"purpose", Name::Other),
    (b"range", Name::Other),
    (b"referer", Name::Other),
    (b"sec-ch-ua", Name::Other),
    (b"sec-ch-ua-mobile", Name::Other),
    (b"sec-ch-ua-platform", Name::Other),
    (b"sec-fetch-dest", Name::Other),
    (b"sec-fetch-mode", Name::Other),
    (b"sec-fetch-site", Name::Other),
    (b"sec-fetch-user", Name::Other),
    (b"sec-gpc", Name::Other),
    (b"server", Name::Other),
    (b"set-cookie", Name::Other),
    (b"strict-transport-security", Name::Other),
    (b"te", Name::Te),
    (b"timing-allow-origin", Name::Other),
    (b"traceparent", Name::Traceparent),
    (b"tracestate", Name::Tracestate),
    (b"upgrade-insecure-requests", Name::Other),
    (b"user-agent", Name::Other),
    (b"vary", Name::Other),
    (b"x-content-type-options", Name::Other),
    (b"x-forwarded-for", Name::XForwardedFor),
    (b"x-frame-options", Name::Other),
    (b"x-requested-with", Name::Other),
    (b"x-xss-protection", Name::Other),
];

/// The properties of [`NAMES`], in their order.
static KNOWN: [KnownName; NAMES.len()] = {
    let mut known = [const { KnownName::of(b"", Name::Other) }; NAMES.len()];
    let mut i = 0;
    while i < NAMES.len() {
        known[i] = KnownName::of(NAMES[i].0, NAMES[i].1);
        i += 1;
    }
    known
};

/// The number of slots of [`SLOTS`].
const SLOT_COUNT: usize = 256;

/// The index that stands for no name.
const NONE: u8 = 0xff;
const _: () = assert!(NAMES.len() < NONE as usize);

/// The indexes of the names by the hash of their Huffman codes. [`NONE`] for a free slot.
static SLOTS: [u8; SLOT_COUNT] = {
    let mut slots = [NONE; SLOT_COUNT];
    let mut i = 0;
    while i < NAMES.len() {
        let (code, len) = encode_name(NAMES[i].0);
        // Shorter codes are not looked up.
        if len >= 4 {
            let at = slot(len, [code[len - 4], code[len - 3], code[len - 2], code[len - 1]]);
            assert!(slots[at] == NONE, "two names have the same slot: choose another factor");
            slots[at] = i as u8;
        }
        i += 1;
    }
    slots
};

/// Returns the slot of a code by its length and its last four bytes.
const fn slot(len: usize, last: [u8; 4]) -> usize {
    // Found by trying, so that each name has its own slot.
    const FACTOR: u32 = 0x3f4e_d95b;
    let hash = (u32::from_le_bytes(last) ^ len as u32).wrapping_mul(FACTOR);
    (hash >> (u32::BITS - SLOT_COUNT.ilog2())) as usize
}

/// Returns the name with this Huffman code, if it is known and its code has four bytes at least.
#[inline]
pub(crate) fn by_code(code: &[u8]) -> Option<&'static KnownName> {
    let known = KNOWN.get(usize::from(SLOTS[slot(code.len(), *code.last_chunk()?)]))?;
    (code.len() == usize::from(known.code_len) && is_equal(code, &known.code)).then_some(known)
}

/// Returns whether a code, which has four bytes at least, is the beginning of `known`. The last word overlaps the one
/// before it, so that no byte is compared alone.
#[inline]
fn is_equal(code: &[u8], known: &[u8; NAME_CODE]) -> bool {
    let Some(known) = known.get(..code.len()) else { return false };
    if let (Some(first), Some(last)) = (code.first_chunk::<8>(), code.last_chunk::<8>()) {
        let (middle, _) = code[8..].as_chunks::<8>();
        return known.first_chunk() == Some(first)
            && known.last_chunk() == Some(last)
            && middle.iter().zip(known[8..].as_chunks().0).all(|(a, b)| a == b);
    }
    known.first_chunk::<4>() == code.first_chunk() && known.last_chunk::<4>() == code.last_chunk()
}

/// Returns the known names of the entries of a table.
///
/// # Panics
/// At compile time, if a name is not known.
pub(crate) const fn of_table<const N: usize>(table: &[(&[u8], &[u8]); N]) -> [&'static KnownName; N] {
    let mut names = [&KNOWN[0]; N];
    let mut i = 0;
    while i < N {
        let mut at = 0;
        while !crate::static_table::same(NAMES[at].0, table[i].0) {
            at += 1;
        }
        names[i] = &KNOWN[at];
        i += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NameClass;
    use crate::prefixed::huffman::encode;

    #[test]
    fn properties_are_those_of_the_name() {
        for known in &KNOWN {
            let name = known.text();
            assert_eq!(known.id, Name::of(name), "{}", name.escape_ascii());
            let is_field = matches!(known.role, NameRole::Cookie | NameRole::Field | NameRole::Special);
            assert_eq!(is_field, !name.starts_with(b":"));
            assert_eq!(known.role == NameRole::Cookie, name == b"cookie");
            assert_eq!(known.role == NameRole::Special, is_omitted(known.id));
            assert!(!is_field || NameClass::of(name) == NameClass::EMPTY);
            assert!(known.line[name.len()..].starts_with(b": "));
        }
    }

    #[test]
    fn codes_are_found_and_no_others() {
        for known in &KNOWN {
            let mut code = Vec::new();
            encode(known.text(), &mut code);
            let found = by_code(&code);
            assert_eq!(found.map(KnownName::text), (code.len() >= 4).then(|| known.text()));
            for at in 0..code.len() {
                let mut other = code.clone();
                other[at] ^= 1;
                let found = by_code(&other).map(KnownName::text);
                assert!(found != Some(known.text()), "{}", known.text().escape_ascii());
            }
            code.push(0xff);
            assert!(by_code(&code).is_none());
        }
    }
}
