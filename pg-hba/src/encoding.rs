//! Files that are not UTF-8.

/// Offset from a byte to the code point that represents it. Only the bytes 0x80 to 0xff are represented, by U+10FF80 to
/// U+10FFFF, which are for private use.
const BYTES: u32 = 0x10_ff00;

/// Decodes a file of any encoding. Each byte that is not part of valid UTF-8 becomes one private-use character, from
/// U+10FF80 for 0x80 to U+10FFFF for 0xff; so does each byte of these characters themselves, so that different bytes stay
/// different. The server compares bytes, too.
///
/// ```
/// let text = pg_hba::decode_file(b"local all all peer # f\xfcr alle\n");
/// let server = pg_hba::Server::new(pg_hba::Version::V18);
/// assert_eq!(pg_hba::Document::parse(&text, &server).rules()?.len(), 1);
/// assert_ne!(pg_hba::decode_file(b"\xfc"), pg_hba::decode_file(b"\xf6"));
/// # Ok::<(), pg_hba::RejectedFile>(())
/// ```
#[must_use]
pub fn decode_file(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let stands_for =
        |byte: u8| char::from_u32(BYTES + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if u32::from(c) < BYTES + 0x80 {
                text.push(c);
            } else {
                text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(stands_for));
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stands_for));
    }
    text
}

/// Returns the bytes of a text of [`decode_file`], as the server has them: one byte for each private-use character, UTF-8
/// for all other characters. The name of an included file is converted before it is opened.
#[must_use]
pub fn encode_file(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        let above = u32::from(c).checked_sub(BYTES + 0x80);
        match above.and_then(|above| u8::try_from(above + 0x80).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{decode_file, encode_file};

    #[test]
    fn every_text_has_the_bytes_of_its_file() {
        let first = "\u{10ff80}".as_bytes();
        for bytes in [&b"\x80"[..], first, "\u{10ffff}\u{10ff7f}\u{fc}".as_bytes(), b"a\xf4\x8f\xbeb\xff"] {
            assert_eq!(encode_file(&decode_file(bytes)), bytes);
        }
        assert_ne!(decode_file(b"\x80"), decode_file(first));
    }
}
