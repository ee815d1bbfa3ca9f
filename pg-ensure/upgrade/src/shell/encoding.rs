//! Configuration files in any encoding: read as text, and written back to the byte.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Offset from a byte to the code point that represents it. Only the bytes 0x80 to 0xff are represented, by U+10FF80 to
/// U+10FFFF, which are for private use.
const BYTES: u32 = 0x10_ff00;

/// Returns the byte that a character represents, from 0x80 to 0xff. `None` if it is an ordinary character.
fn byte_of(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BYTES + 0x80).and_then(|above| u8::try_from(above + 0x80).ok())
}

/// Decodes a file of any encoding. Each byte that is not part of valid UTF-8 becomes one private-use character, and
/// each byte of a character from U+10FF80 to U+10FFFF as well. [`encode`] reverses it.
pub(super) fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let push_byte = |text: &mut String, byte: u8| text.extend(char::from_u32(BYTES + u32::from(byte)));
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if byte_of(c).is_some() {
                c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_byte(&mut text, byte));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_byte(&mut text, byte));
    }
    text
}

/// Returns the bytes of a text from [`decode`], equal to those of the file.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match byte_of(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Returns a path that a text from [`decode`] names.
pub(super) fn path(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(encode(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_file_comes_back_to_the_byte(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(encode(&decode(&bytes)), bytes);
        }

        #[test]
        fn what_is_text_stays_text(text in "[ -~\\n\u{e9}\u{10ff00}-\u{10ffff}]{0,40}") {
            prop_assert_eq!(encode(&decode(text.as_bytes())), text.as_bytes());
        }
    }
}
