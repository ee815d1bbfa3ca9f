//! QPACK (RFC 9204) with the static table only.
//!
//! This side offers a dynamic table of capacity 0. A peer that refers to dynamic entries, inserts entries or blocks
//! streams therefore violates the protocol. This side encodes with the static table and literals.

mod instructions;
mod table;

pub use crate::prefixed::huffman;
pub use instructions::{DecoderStream, EncoderStream};

use super::{Code, ProtocolError};
use crate::field_line::{EncodedText, FieldLine, FieldLineBuffer, FieldLineDecoder, LineUse};
use crate::known_names::KnownName;
use crate::prefixed::{self, write_integer, write_name, write_string};
use crate::section::RequestHeadBuilder;
use table::TableMatch;

/// The connection error QPACK_DECOMPRESSION_FAILED (RFC 9204 §6).
const FAILED: ProtocolError = ProtocolError::Connection(Code::QPACK_DECOMPRESSION_FAILED);

/// A decoder for field sections. It has no state between sections except reused memory.
#[derive(Debug, Default)]
pub struct QpackDecoder {
    /// Reused memory for a decoded line.
    line: FieldLineBuffer,
}

impl QpackDecoder {
    /// Creates a decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes a field section and passes every field line to `field`, in order.
    ///
    /// # Errors
    /// QPACK_DECOMPRESSION_FAILED if the section cannot be decoded; else the first error of `field`, which ends the
    /// decoding.
    pub fn decode(
        &mut self,
        mut section: &[u8],
        mut field: impl FnMut(&[u8], &[u8]) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        take_prefix(&mut section)?;
        let mut lines = self.line.begin();
        while !section.is_empty() {
            lines.begin_line(section.len());
            let line = take_line(&mut section, &mut lines)?;
            field(line.name(), line.value())?;
        }
        Ok(())
    }

    /// Decodes a field section as [`decode`](Self::decode), and adds its lines to a request. Returns those that it keeps,
    /// one behind the other.
    ///
    /// # Errors
    /// QPACK_DECOMPRESSION_FAILED if the section cannot be decoded; else the error of the first line that is not valid.
    pub(super) fn decode_request(
        &mut self,
        mut section: &[u8],
        request: &mut RequestHeadBuilder<'_>,
    ) -> Result<&[u8], ProtocolError> {
        take_prefix(&mut section)?;
        let mut lines = self.line.begin();
        while !section.is_empty() {
            lines.begin_line(section.len());
            let line = take_line(&mut section, &mut lines)?;
            let len = line.line.len();
            if request.line(line)? == LineUse::Keep {
                lines.keep(len);
            }
        }
        Ok(lines.finish())
    }
}

/// Parses the prefix of a section and advances past it.
///
/// # Errors
/// QPACK_DECOMPRESSION_FAILED if it is incomplete, or refers to a dynamic table.
#[inline]
fn take_prefix(section: &mut &[u8]) -> Result<(), ProtocolError> {
    // §4.5.1: without insertions the required insert count is 0, and a base below that is impossible.
    if take_integer(section, 8)? != 0 {
        return Err(FAILED);
    }
    let negative = section.first().is_some_and(|b| b & 0x80 != 0);
    take_integer(section, 7)?;
    if negative { Err(FAILED) } else { Ok(()) }
}

/// Decodes the line at the beginning of a section, which is not empty, and advances past it.
///
/// # Errors
/// QPACK_DECOMPRESSION_FAILED if it cannot be decoded.
#[inline(always)]
fn take_line<'l>(
    section: &mut &[u8],
    lines: &'l mut FieldLineDecoder<'_>,
) -> Result<FieldLine<'l>, ProtocolError> {
    let value = match section.first().ok_or(FAILED)? {
        // §4.5.2: an indexed field of the static table.
        0xc0.. => {
            let index = take_integer(section, 6)?;
            lines.set_known_name(name(index)?);
            EncodedText::plain(value(index)?)
        }
        // §4.5.4: a literal with a name from the static table.
        0x50..=0x5f | 0x70..=0x7f => {
            lines.set_known_name(name(take_integer(section, 4)?)?);
            EncodedText::take(section, 7).ok_or(FAILED)?
        }
        // §4.5.6: a literal with a literal name.
        0x20..=0x3f => {
            let name = EncodedText::take(section, 3).ok_or(FAILED)?;
            lines.set_name(name).ok_or(FAILED)?;
            EncodedText::take(section, 7).ok_or(FAILED)?
        }
        // References to the dynamic table, before or after the base.
        0x00..=0x1f | 0x40..=0x4f | 0x60..=0x6f | 0x80..=0xbf => return Err(FAILED),
    };
    lines.complete(value).ok_or(FAILED)
}

/// Returns the name of an entry of the static table.
///
/// # Errors
/// QPACK_DECOMPRESSION_FAILED if there is no such entry.
fn name(index: u64) -> Result<&'static KnownName, ProtocolError> {
    usize::try_from(index).ok().and_then(|i| table::NAMES.get(i)).copied().ok_or(FAILED)
}

/// Returns the value of an entry of the static table.
///
/// # Errors
/// QPACK_DECOMPRESSION_FAILED if there is no such entry.
fn value(index: u64) -> Result<&'static [u8], ProtocolError> {
    usize::try_from(index).ok().and_then(|i| table::STATIC.get(i)).map(|entry| entry.1).ok_or(FAILED)
}

/// Parses an integer with a prefix of `bits` bits and advances past it.
///
/// # Errors
/// QPACK_DECOMPRESSION_FAILED if it is incomplete or too large.
fn take_integer(section: &mut &[u8], bits: u32) -> Result<u64, ProtocolError> {
    prefixed::take_integer(section, bits).ok_or(FAILED)
}

/// Appends the prefix of an encoded section: a Required Insert Count and a Base of 0 (RFC 9204 §4.5.1).
pub fn write_prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends a field line as an index of the static table or as a literal without Huffman code. The name is converted to
/// lower case.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    match table::find(name, value) {
        TableMatch::Both(index) => return write_integer(out, 0xc0, 6, usize::from(index)),
        TableMatch::Name(index) => write_integer(out, 0x50, 4, usize::from(index)),
        TableMatch::Nothing => write_name(out, 0x20, 3, name),
    }
    write_string(out, value);
}

/// Appends a field line whose name and value are literals in the Huffman code. The name is converted to lower case.
pub fn write_field_huffman(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write_integer(out, 0x28, 3, huffman::encoded_len(&name.to_ascii_lowercase()));
    huffman::encode(&name.to_ascii_lowercase(), out);
    write_integer(out, 0x80, 7, huffman::encoded_len(value));
    huffman::encode(value, out);
}
