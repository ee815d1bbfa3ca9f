//! A decoder and validator for chunked content (RFC 9112 §7.1). Extensions are skipped and never forwarded.

use crate::grammar::{is_field_value, is_token, trim};
use crate::name_class::NameClass;
use crate::section::may_be_trailer;
use crate::{Fields, Name};
use memchr::memchr;

/// The longest remainder of a chunk-size line behind the size in bytes, the CR included.
const MAX_SIZE_LINE: usize = 256;
/// The highest number of extension bytes in one message. Extensions cost work and have no use.
const MAX_EXTENSION_BYTES: usize = 16 * 1024;
/// The highest number of bytes in a trailer section.
const MAX_TRAILER_BYTES: usize = 8 * 1024;
/// The highest number of fields in a trailer section.
const MAX_TRAILER_FIELDS: usize = 32;

/// The reason chunked content is rejected. The message must not be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The chunk size is not a hexadecimal number, has more than 15 digits, or is followed by another character than CR
    /// or `;`.
    #[error("malformed chunk size")]
    Size,
    /// A line has a bare LF, or a chunk extension has a control character.
    #[error("malformed chunk line")]
    Line,
    /// The chunk data is not followed by CR LF.
    #[error("chunk data does not end where its size says")]
    Data,
    /// A trailer field has no colon, a name that is not a token, or a control character in its value.
    #[error("malformed trailer")]
    Trailer,
    /// The chunk extensions exceed 256 bytes in one line or 16 KiB in all, or the trailer section exceeds 8 KiB or 32
    /// fields.
    #[error("chunk extensions or trailers too large")]
    TooLarge,
}

/// The part of the chunked coding that is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    /// The line with the size of a chunk.
    Size,
    /// This number of bytes of the chunk.
    Data(u64),
    /// The line end after a chunk.
    DataEnd,
    /// A line of the trailer section, or the empty line after it.
    Trailer,
    /// Nothing: the content is complete.
    End,
}

/// The result of one decoding step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkedProgress {
    /// The number of framing bytes at the beginning of the buffer. The caller must consume them.
    pub framing: usize,
    /// The number of data bytes that follow them. The caller must report how many it consumed by
    /// [`ChunkedDecoder::consume`], and may consume fewer.
    pub data: usize,
    /// True if the content and its trailers are complete: the message ends behind the framing bytes.
    pub ended: bool,
}

/// An incremental decoder for chunked content. It does not copy data.
///
/// ```
/// use edge_http::h1::ChunkedDecoder;
///
/// let wire = b"3\r\nabc\r\n0\r\n\r\n";
/// let mut chunks = ChunkedDecoder::new();
/// let step = chunks.decode(wire)?;
/// assert_eq!((step.framing, step.data), (3, 3));
/// chunks.consume(3);
/// assert!(chunks.decode(&wire[6..])?.ended);
/// # Ok::<(), edge_http::h1::ChunkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    /// The part that is expected next.
    state: ChunkState,
    /// The number of bytes in chunk extensions so far.
    extensions: usize,
    /// The number of bytes in the trailer section so far.
    trailer_bytes: usize,
    /// The trailers so far.
    trailers: Fields,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// Creates a decoder at the beginning of the content.
    pub const fn new() -> Self {
        Self { state: ChunkState::Size, extensions: 0, trailer_bytes: 0, trailers: Fields::new() }
    }

    /// Decodes the framing at the beginning of `buf`, which contains the bytes that are not consumed yet. Data, framing
    /// that is incomplete, and the end of the content end a step.
    ///
    /// # Errors
    /// [`ChunkError`] as soon as the bytes cannot become valid content. The decoder must not be used afterwards.
    pub fn decode(&mut self, buf: &[u8]) -> Result<ChunkedProgress, ChunkError> {
        let mut at = 0;
        loop {
            let rest = &buf[at..];
            match self.state {
                ChunkState::Size => match self.size_line(rest)? {
                    Some((used, 0)) => {
                        at += used;
                        self.state = ChunkState::Trailer;
                    }
                    Some((used, size)) => {
                        at += used;
                        self.state = ChunkState::Data(size);
                    }
                    None => return Ok(ChunkedProgress { framing: at, data: 0, ended: false }),
                },
                ChunkState::Data(left) => {
                    let data = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    return Ok(ChunkedProgress { framing: at, data, ended: false });
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => return Ok(ChunkedProgress { framing: at, data: 0, ended: false }),
                    _ => return Err(ChunkError::Data),
                },
                ChunkState::Trailer => match self.trailer_line(rest)? {
                    Some(used) => at += used,
                    None => return Ok(ChunkedProgress { framing: at, data: 0, ended: false }),
                },
                ChunkState::End => return Ok(ChunkedProgress { framing: at, data: 0, ended: true }),
            }
        }
    }

    /// Reports that `n` bytes of data were consumed, at most [`ChunkedProgress::data`]. No effect unless data is
    /// expected.
    pub fn consume(&mut self, n: usize) {
        if let ChunkState::Data(left) = self.state {
            let left = left.saturating_sub(n as u64);
            self.state = if left == 0 { ChunkState::DataEnd } else { ChunkState::Data(left) };
        }
    }

    /// Returns the trailers so far, without fields that are not allowed in trailers. Complete once
    /// [`ChunkedProgress::ended`] is true.
    pub const fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Parses a chunk-size line. Returns its length in bytes, and the chunk size. `None` if it is incomplete.
    ///
    /// # Errors
    /// [`ChunkError`] if it is malformed, or extensions exceed a limit.
    fn size_line(&mut self, buf: &[u8]) -> Result<Option<(usize, u64)>, ChunkError> {
        match plain_size_line(buf) {
            Some(found) => Ok(Some(found)),
            None => self.any_size_line(buf),
        }
    }

    /// Parses any chunk-size line as [`ChunkedDecoder::size_line`], which calls it for lines with extensions,
    /// incomplete and malformed ones.
    ///
    /// # Errors
    /// [`ChunkError`] if it is malformed, or extensions exceed a limit.
    fn any_size_line(&mut self, buf: &[u8]) -> Result<Option<(usize, u64)>, ChunkError> {
        let digits = buf.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if digits > 15 || (digits == 0 && !buf.is_empty()) {
            return Err(ChunkError::Size);
        }
        let after = &buf[digits..];
        match after.first() {
            None => return Ok(None),
            // Whitespace between size and extension is tolerated by some and not by others (RFC 9112 §7.1.1).
            Some(b'\r' | b';') => {}
            Some(_) => return Err(ChunkError::Size),
        }
        let Some(end) = memchr(b'\n', after) else {
            let extension = after.strip_suffix(b"\r").unwrap_or(after);
            return if !is_field_value(extension) {
                Err(ChunkError::Line)
            } else if after.len() > MAX_SIZE_LINE {
                Err(ChunkError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let Some(extension) = after[..end].strip_suffix(b"\r") else { return Err(ChunkError::Line) };
        if !is_field_value(extension) {
            return Err(ChunkError::Line);
        }
        self.extensions += extension.len();
        if end > MAX_SIZE_LINE || self.extensions > MAX_EXTENSION_BYTES {
            return Err(ChunkError::TooLarge);
        }
        let size = buf[..digits]
            .iter()
            .fold(0u64, |sum, b| sum << 4 | u64::from((*b as char).to_digit(16).unwrap_or(0)));
        Ok(Some((digits + end + 1, size)))
    }

    /// Parses one line of the trailer section, or the empty line that ends it. Returns its length in bytes. `None` if
    /// it is incomplete.
    ///
    /// # Errors
    /// [`ChunkError`] if it is malformed, or the trailers exceed a limit.
    fn trailer_line(&mut self, buf: &[u8]) -> Result<Option<usize>, ChunkError> {
        let Some(end) = memchr(b'\n', buf) else {
            return if self.trailer_bytes + buf.len() > MAX_TRAILER_BYTES {
                Err(ChunkError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let Some(text) = buf[..end].strip_suffix(b"\r") else { return Err(ChunkError::Line) };
        if text.is_empty() {
            self.state = ChunkState::End;
            return Ok(Some(end + 1));
        }
        self.trailer_bytes += end + 1;
        if self.trailer_bytes > MAX_TRAILER_BYTES || self.trailers.len() >= MAX_TRAILER_FIELDS {
            return Err(ChunkError::TooLarge);
        }
        let colon = memchr(b':', text).ok_or(ChunkError::Trailer)?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if !is_token(name) || !is_field_value(value) {
            return Err(ChunkError::Trailer);
        }
        let id = Name::of(name);
        if may_be_trailer(id, name) {
            self.trailers.push_known(id, NameClass::of(name), name, trim(value));
        }
        Ok(Some(end + 1))
    }
}

/// The value of each hexadecimal digit, by its byte value. 16 for any other byte.
static HEX: [u8; 256] = {
    let mut table = [16; 256];
    let mut i = 0usize;
    while i < 256 {
        if let Some(value) = (i as u8 as char).to_digit(16) {
            table[i] = value as u8;
        }
        i += 1;
    }
    table
};

/// Parses a complete chunk-size line without extensions in one pass. Returns its length in bytes, and the chunk size.
/// `None` for any other line.
fn plain_size_line(buf: &[u8]) -> Option<(usize, u64)> {
    let mut size = 0;
    // At most 15 digits, and the CR.
    for (at, byte) in buf.iter().take(16).enumerate() {
        let digit = HEX[usize::from(*byte)];
        if digit == 16 {
            let ends = at > 0 && buf[at..].starts_with(b"\r\n");
            return ends.then_some((at + 2, size));
        }
        size = size << 4 | u64::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// A line that is parsed in one pass is parsed alike by the general parser, and a line without extensions
        /// always is.
        #[test]
        fn both_parse_sizes_alike(line in "[0-9a-fA-Fg;= ]{0,17}(\r\n|\n|\r|\r\r\n|;x\r\n|)[0-9a-f\r\n]{0,3}") {
            let general = ChunkedDecoder::new().any_size_line(line.as_bytes());
            match plain_size_line(line.as_bytes()) {
                Some(found) => prop_assert_eq!(general, Ok(Some(found))),
                None => prop_assert!(!matches!(general, Ok(Some(_))) || line.contains(';'), "{:?}", general),
            }
        }
    }

    #[test]
    fn the_largest_size_has_fifteen_digits() {
        assert_eq!(plain_size_line(b"fffffffffffffff\r\n"), Some((17, (1 << 60) - 1)));
        assert_eq!(plain_size_line(b"0000000000000000\r\n"), None);
        assert_eq!(ChunkedDecoder::new().any_size_line(b"0000000000000000\r\n"), Err(ChunkError::Size));
    }
}
