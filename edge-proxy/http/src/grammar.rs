//! Character classes of HTTP (RFC 9110 §5.6.2, §5.5; RFC 9112 §3.2).

/// Whether each byte may be in a token, by its value.
pub(crate) static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0usize;
    while i < 256 {
        let b = i as u8;
        table[i] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        i += 1;
    }
    table
};

/// Returns whether `wrong` is false for every byte. The loop has no early exit and uses comparisons only, so that it is
/// vectorised; such bytes are rare.
fn none(bytes: &[u8], wrong: impl Fn(u8) -> bool) -> bool {
    !bytes.iter().fold(false, |found, byte| found | wrong(*byte))
}

/// Returns whether `bytes` is a token (RFC 9110 §5.6.2), such as a method or a field name. False if empty.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && none(bytes, |byte| !TOKEN[usize::from(byte)])
}

/// Returns whether `bytes` is free of bytes that a field value must not contain (RFC 9110 §5.5): control characters
/// except tab. Bytes above 0x7f are allowed. True if empty.
pub fn is_field_value(bytes: &[u8]) -> bool {
    none(bytes, |byte| (byte < b' ') & (byte != b'\t') | (byte == 0x7f))
}

/// Returns whether `bytes` consists of visible ASCII characters, as a request target must (RFC 9112 §3.2). False if
/// empty.
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && none(bytes, |byte| (byte <= b' ') | (byte >= 0x7f))
}

/// Parses a decimal number as message framing requires, such as Content-Length. `None` if it is empty, contains
/// anything but digits, has more than 20 digits, or exceeds 64 bits.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    bytes.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(digit.into()) }
    })
}

/// Returns `bytes` without spaces and tabs at both ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// Returns `bytes` without spaces and tabs at the beginning.
#[inline]
pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Returns `bytes` without spaces and tabs at the end.
#[inline]
pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Iterates over the members of a comma-separated list without surrounding whitespace (RFC 9110 §5.6.1). Empty members
/// are skipped. Commas in quoted strings are not recognised.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|member| !member.is_empty())
}
