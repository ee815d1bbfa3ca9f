//! Base64 with padding (RFC 4648 §4) and hexadecimal, encoding only.

/// The characters of Base64, by their values (RFC 4648 §4).
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Encodes `bytes` in Base64 with padding into the beginning of `out`: four bytes for each group of up to three. If
/// `out` is shorter, only as many bytes as fit are written; if it is longer, the rest is unchanged.
pub fn base64_into(bytes: &[u8], out: &mut [u8]) {
    for (group, out) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (i, out) in out.iter_mut().enumerate() {
            *out = if i <= group.len() { ALPHABET[(bits >> (18 - 6 * i)) as usize & 63] } else { b'=' };
        }
    }
}

/// Returns `bytes` in Base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut out = vec![0; bytes.len().div_ceil(3) * 4];
    base64_into(bytes, &mut out);
    out.into_iter().map(char::from).collect()
}

/// Returns `bytes` in lower-case hexadecimal, two digits per byte.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn vectors_of_rfc_4648() {
        for (text, encoded) in
            [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            let mut out = vec![0; encoded.len()];
            super::base64_into(text.as_bytes(), &mut out);
            assert_eq!(out, encoded.as_bytes());
            assert_eq!(super::base64(text.as_bytes()), encoded);
        }
    }
}
