//! Version 2: binary, with extensions.

use super::{Error, Header};

/// The longest header that [`parse`] reads, its first 16 bytes included.
pub const MAX: usize = 4096;

/// Reads a header of at most [`MAX`] bytes and its length. `None` as long as bytes are missing.
///
/// # Errors
/// The bytes are no such header, however they go on.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    parse_up_to(bytes, MAX)
}

/// Reads a header of at most `max` bytes.
///
/// # Errors
/// The bytes are no such header, however they go on.
pub fn parse_up_to(bytes: &[u8], max: usize) -> Result<Option<(Header, usize)>, Error> {
    let _ = (bytes, max);
    Err(Error::Missing)
}

/// Appends a header.
pub fn write(header: &Header, out: &mut Vec<u8>) {
    let _ = (header, out);
}
