//! Files that are not UTF-8.

/// Offset from a byte to the code point that represents it. Only the bytes 0x80 to 0xff are represented, by U+10FF80 to
/// U+10FFFF, which are for private use.
const BYTES: u32 = 0x10_ff00;

/// Decodes a file of any encoding. Each byte that is not part of valid UTF-8 becomes one private-use character, from
/// U+10FF80 for 0x80 to U+10FFFF for 0xff, so that different bytes stay different. The server compares bytes, too.
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
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|&byte| stands_for(byte)));
    }
    text
}

/// Returns the bytes that the server has for a text: one byte for each private-use character of [`decode_file`], UTF-8
/// for all other characters.
pub(crate) fn server_bytes(text: &str) -> Vec<u8> {
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
