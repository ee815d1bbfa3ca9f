//! Version 1: one line of text.

use super::{Error, Header};

/// The longest header, its CR LF included.
pub const MAX: usize = 107;

/// Reads a header and its length. `None` as long as bytes are missing.
///
/// # Errors
/// The bytes are no such header, however they go on.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Error> {
    let _ = bytes;
    Err(Error::Missing)
}

/// Appends a header.
pub fn write(header: &Header, out: &mut Vec<u8>) {
    let _ = (header, out);
}
