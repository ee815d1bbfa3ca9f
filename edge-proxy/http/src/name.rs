//! Names of fields that a proxy acts upon.

/// A field name that the parsers recognise since it has a meaning for a proxy. All others are [`Name::Other`]. The name
/// of a variant is that of the field, such as `AltSvc` for Alt-Svc.
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
    /// Any name that has no variant.
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
    /// Any name that begins with X-Forwarded- and has no variant of its own.
    XForwarded,
    XForwardedFor,
    XForwardedHost,
    XForwardedPort,
    XForwardedProto,
    XRealIp,
}

impl Name {
    /// Returns the known name, compared without regard to case. [`Name::Other`] if it is not known.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        match name.first().map(|b| b | 0x20) {
            Some(first) if is_begun_by(first, name.len()) => Self::of_begun(name, first),
            _ => Self::Other,
        }
    }

    /// Returns the known name, as [`Name::of`], of a name whose length and first letter, in lower case, are those of a
    /// known name.
    fn of_begun(name: &[u8], first: u8) -> Self {
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
        if is_spelling(name, known.0) {
            return known.1;
        }
        if first == b'x' && name.len() > 12 && is_spelling(&name[..12], b"x-forwarded-") {
            return Self::XForwarded;
        }
        Self::Other
    }
}

/// Returns whether `name` equals `known` without regard to case. `known` must consist of lower-case letters and `-`.
pub(crate) fn is_spelling(name: &[u8], known: &[u8]) -> bool {
    // Bit 6 distinguishes letters from `-`, and bit 5 lower case from upper case.
    const LETTERS: u64 = u64::from_ne_bytes([1 << 6; 8]);
    let same = |name: u64, known: u64| (name ^ known) & !((known & LETTERS) >> 1) == 0;
    let same4 = |name: [u8; 4], known: [u8; 4]| {
        same(u32::from_ne_bytes(name).into(), u32::from_ne_bytes(known).into())
    };
    if name.len() != known.len() {
        return false;
    }
    // The last word overlaps the one before it, so that no byte is looked at alone.
    if let (Some(last), Some(known_last)) = (name.last_chunk(), known.last_chunk()) {
        let (words, _) = name.as_chunks::<8>();
        let (known_words, _) = known.as_chunks::<8>();
        return same(u64::from_ne_bytes(*last), u64::from_ne_bytes(*known_last))
            && words
                .iter()
                .zip(known_words)
                .all(|(a, b)| same(u64::from_ne_bytes(*a), u64::from_ne_bytes(*b)));
    }
    if let (Some(first), Some(known_first), Some(last), Some(known_last)) =
        (name.first_chunk(), known.first_chunk(), name.last_chunk(), known.last_chunk())
    {
        return same4(*first, *known_first) && same4(*last, *known_last);
    }
    name.eq_ignore_ascii_case(known)
}

/// The lengths of the known names as bit sets, indexed by the five low bits of their first letter. Most names of a
/// message are not known, and are recognised as such by this table alone.
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

/// Returns whether a known name can begin with this letter, in lower case, and have this length.
#[inline]
fn is_begun_by(first: u8, len: usize) -> bool {
    // Longer than any but one that begins with X-Forwarded-.
    let len = len.min(31);
    LENGTHS[usize::from(first & 0x1f)] >> len & 1 != 0
}

/// A set of field names ([`Name`]). [`Name::Other`] can be in it, too, and stands for all names that are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameSet(pub(crate) u32);

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

    /// Returns whether a name is in both sets.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Returns the bit of a name in a [`NameSet`].
pub(crate) const fn bit(id: Name) -> u32 {
    1 << id as u32
}

#[cfg(test)]
mod tests {
    use super::{Name, is_spelling};
    use proptest::prelude::*;

    proptest! {
        /// Words of eight bytes tell what single bytes tell, whatever the name is.
        #[test]
        fn spellings(known in "[a-z-]{0,24}", flips in prop::collection::vec((0usize..24, any::<u8>()), 0..3), upper: bool) {
            let mut name = if upper { known.to_uppercase().into_bytes() } else { known.clone().into_bytes() };
            for (at, byte) in flips {
                if let Some(place) = name.get_mut(at) {
                    *place = byte;
                }
            }
            prop_assert_eq!(is_spelling(&name, known.as_bytes()), name.eq_ignore_ascii_case(known.as_bytes()));
        }
    }

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
