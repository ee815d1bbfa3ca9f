//! The character classes of HTTP (RFC 9110 §5.6.2, §5.5; RFC 9112 §3.2).

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0usize;
    while i < 256 {
        let b = i as u8;
        let token = b.is_ascii_alphanumeric()
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
        let value = b == b'\t' || (b >= b' ' && b != 0x7f);
        let target = b > b' ' && b < 0x7f;
        table[i] = ((token as u8) * TOKEN) | ((value as u8) * VALUE) | ((target as u8) * TARGET);
        i += 1;
    }
    table
};

fn all(bytes: &[u8], class: u8) -> bool {
    // Without an early exit the loop is a few instructions a byte, and strangers' bytes are seldom wrong.
    bytes.iter().fold(class, |left, b| left & CLASS[usize::from(*b)]) != 0
}

/// Whether these bytes are a token: at least one, each of the characters of a field name.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Whether these bytes can be a field's value: no control characters but tab.
pub fn is_field_value(bytes: &[u8]) -> bool {
    all(bytes, VALUE)
}

/// Whether these bytes can be a request target: visible ASCII, at least one.
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TARGET)
}

/// Reads a decimal number as the framing of messages wants it: digits only, at least one, no overflow.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    bytes.iter().try_fold(0u64, |sum, b| sum.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// Without blanks (space and tab) at either end.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list (RFC 9110 §5.6.1), empty ones left out.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|member| !member.is_empty())
}
