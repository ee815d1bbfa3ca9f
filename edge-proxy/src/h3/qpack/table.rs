//! QPACK's static table (RFC 9204 Appendix A), and how a field is found in it.

/// Names and values by their index.
pub(super) const STATIC: [(&[u8], &[u8]); 99] = [
    (b":authority", b""),
    (b":path", b"/"),
    (b"age", b"0"),
    (b"content-disposition", b""),
    (b"content-length", b"0"),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"referer", b""),
    (b"set-cookie", b""),
    (b":method", b"CONNECT"),
    (b":method", b"DELETE"),
    (b":method", b"GET"),
    (b":method", b"HEAD"),
    (b":method", b"OPTIONS"),
    (b":method", b"POST"),
    (b":method", b"PUT"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"103"),
    (b":status", b"200"),
    (b":status", b"304"),
    (b":status", b"404"),
    (b":status", b"503"),
    (b"accept", b"*/*"),
    (b"accept", b"application/dns-message"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-ranges", b"bytes"),
    (b"access-control-allow-headers", b"cache-control"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-allow-origin", b"*"),
    (b"cache-control", b"max-age=0"),
    (b"cache-control", b"max-age=2592000"),
    (b"cache-control", b"max-age=604800"),
    (b"cache-control", b"no-cache"),
    (b"cache-control", b"no-store"),
    (b"cache-control", b"public, max-age=31536000"),
    (b"content-encoding", b"br"),
    (b"content-encoding", b"gzip"),
    (b"content-type", b"application/dns-message"),
    (b"content-type", b"application/javascript"),
    (b"content-type", b"application/json"),
    (b"content-type", b"application/x-www-form-urlencoded"),
    (b"content-type", b"image/gif"),
    (b"content-type", b"image/jpeg"),
    (b"content-type", b"image/png"),
    (b"content-type", b"text/css"),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-type", b"text/plain"),
    (b"content-type", b"text/plain;charset=utf-8"),
    (b"range", b"bytes=0-"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains; preload"),
    (b"vary", b"accept-encoding"),
    (b"vary", b"origin"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-xss-protection", b"1; mode=block"),
    (b":status", b"100"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"302"),
    (b":status", b"400"),
    (b":status", b"403"),
    (b":status", b"421"),
    (b":status", b"425"),
    (b":status", b"500"),
    (b"accept-language", b""),
    (b"access-control-allow-credentials", b"FALSE"),
    (b"access-control-allow-credentials", b"TRUE"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-allow-methods", b"get"),
    (b"access-control-allow-methods", b"get, post, options"),
    (b"access-control-allow-methods", b"options"),
    (b"access-control-expose-headers", b"content-length"),
    (b"access-control-request-headers", b"content-type"),
    (b"access-control-request-method", b"get"),
    (b"access-control-request-method", b"post"),
    (b"alt-svc", b"clear"),
    (b"authorization", b""),
    (b"content-security-policy", b"script-src 'none'; object-src 'none'; base-uri 'none'"),
    (b"early-data", b"1"),
    (b"expect-ct", b""),
    (b"forwarded", b""),
    (b"if-range", b""),
    (b"origin", b""),
    (b"purpose", b"prefetch"),
    (b"server", b""),
    (b"timing-allow-origin", b"*"),
    (b"upgrade-insecure-requests", b"1"),
    (b"user-agent", b""),
    (b"x-forwarded-for", b""),
    (b"x-frame-options", b"deny"),
    (b"x-frame-options", b"sameorigin"),
];

const NONE: u8 = 0xff;

struct Index {
    /// By a hash of the name: the first entry of that name.
    slots: [u8; 256],
    /// The next entry with the same name.
    next: [u8; STATIC.len()],
}

static INDEX: Index = build();

const fn hash(len: usize, first: u8, last: u8, middle: u8) -> usize {
    (len.wrapping_mul(31)
        ^ (first as usize).wrapping_mul(7)
        ^ (last as usize).wrapping_mul(101)
        ^ (middle as usize).wrapping_mul(53))
        & 0xff
}

const fn slot(name: &[u8]) -> usize {
    hash(name.len(), name[0], name[name.len() - 1], name[name.len() / 2])
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn build() -> Index {
    let mut index = Index { slots: [NONE; 256], next: [NONE; STATIC.len()] };
    let mut i = 0;
    while i < STATIC.len() {
        let mut at = slot(STATIC[i].0);
        loop {
            let found = index.slots[at];
            if found == NONE {
                index.slots[at] = i as u8;
                break;
            }
            if same(STATIC[found as usize].0, STATIC[i].0) {
                let mut last = found;
                while index.next[last as usize] != NONE {
                    last = index.next[last as usize];
                }
                index.next[last as usize] = i as u8;
                break;
            }
            at = (at + 1) & 0xff;
        }
        i += 1;
    }
    index
}

/// Where a field is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Name and value.
    Both(u8),
    /// The name alone.
    Name(u8),
    /// Neither.
    Nothing,
}

/// Looks a field up. The name is in lower case.
pub(super) fn find(name: &[u8], value: &[u8]) -> Found {
    if name.is_empty() {
        return Found::Nothing;
    }
    let mut at = slot(name);
    loop {
        let first = INDEX.slots[at];
        if first == NONE {
            return Found::Nothing;
        }
        if STATIC[usize::from(first)].0 == name {
            let mut entry = first;
            while entry != NONE {
                if STATIC[usize::from(entry)].1 == value {
                    return Found::Both(entry);
                }
                entry = INDEX.next[usize::from(entry)];
            }
            return Found::Name(first);
        }
        at = (at + 1) & 0xff;
    }
}
