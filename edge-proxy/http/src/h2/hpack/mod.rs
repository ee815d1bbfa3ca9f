//! HPACK (RFC 7541).
//!
//! Requests are decoded with a dynamic table. Responses are encoded without one, with the static table and literals:
//! they can be encoded in any order, and idle connections have no state for them.

mod table;

use crate::prefixed::{self, write_integer, write_name, write_string};
use table::{Dynamic, TableMatch};

/// The default size of a dynamic table in bytes (RFC 9113 §6.5.2).
pub const TABLE_SIZE: usize = 4096;

/// The error for a field section that cannot be decoded, which is a connection error of type COMPRESSION_ERROR (RFC
/// 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field section that cannot be decoded")]
pub struct InvalidBlock;

/// A decoder for the field sections of one connection.
///
/// ```
/// use edge_http::h2::hpack::HpackDecoder;
///
/// let mut decoder = HpackDecoder::new();
/// let mut lines = Vec::new();
/// // RFC 7541, appendix C.2.4: an indexed field.
/// decoder.decode(&[0x82], |name, value| lines.push((name.to_vec(), value.to_vec()))).unwrap();
/// assert_eq!(lines, [(b":method".to_vec(), b"GET".to_vec())]);
/// ```
#[derive(Debug)]
pub struct HpackDecoder {
    /// The dynamic table.
    table: Dynamic,
    /// Reused memory for a decoded name.
    name: Vec<u8>,
    /// Reused memory for a decoded value.
    value: Vec<u8>,
}

impl Default for HpackDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl HpackDecoder {
    /// Creates a decoder with an empty dynamic table of at most [`TABLE_SIZE`] bytes.
    pub const fn new() -> Self {
        Self { table: Dynamic::new(TABLE_SIZE), name: Vec::new(), value: Vec::new() }
    }

    /// Decodes a field section and passes every field line to `field`, in order. Sections must be decoded in the order
    /// of the connection and to their end, since they change the dynamic table.
    ///
    /// # Errors
    /// [`InvalidBlock`]; lines before the error were passed to `field`.
    pub fn decode(
        &mut self,
        mut block: &[u8],
        mut field: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), InvalidBlock> {
        // A change of the table size comes before the first line (RFC 7541 §4.2).
        while let Some(0x20..=0x3f) = block.first() {
            let size = take_integer(&mut block, 5)?;
            if size > TABLE_SIZE {
                return Err(InvalidBlock);
            }
            self.table.resize(size);
        }
        while let Some(first) = block.first() {
            match first {
                // §6.1: an indexed field.
                0x80.. => {
                    let (name, value) = self.table.line(take_integer(&mut block, 7)?).ok_or(InvalidBlock)?;
                    field(name, value);
                }
                // §6.2.1: a literal that is added to the table.
                0x40..=0x7f => {
                    let index = take_integer(&mut block, 6)?;
                    if index == 0 {
                        let name = take_string(&mut block, &mut self.name)?;
                        let value = take_string(&mut block, &mut self.value)?;
                        field(name, value);
                        self.table.insert(name, value);
                    } else {
                        let value = take_string(&mut block, &mut self.value)?;
                        let (name, _) = self.table.line(index).ok_or(InvalidBlock)?;
                        field(name, value);
                        // The entry that holds the name may be evicted.
                        self.name.clear();
                        self.name.extend_from_slice(name);
                        self.table.insert(&self.name, value);
                    }
                }
                // §6.2.2, §6.2.3: a literal that is not added.
                0x00..=0x1f => {
                    let index = take_integer(&mut block, 4)?;
                    if index == 0 {
                        let name = take_string(&mut block, &mut self.name)?;
                        let value = take_string(&mut block, &mut self.value)?;
                        field(name, value);
                    } else {
                        let value = take_string(&mut block, &mut self.value)?;
                        let (name, _) = self.table.line(index).ok_or(InvalidBlock)?;
                        field(name, value);
                    }
                }
                0x20..=0x3f => return Err(InvalidBlock),
            }
        }
        Ok(())
    }
}

/// Parses an integer with a prefix of `bits` bits and advances past it.
///
/// # Errors
/// [`InvalidBlock`] if the integer is incomplete, or exceeds 62 bits or `usize`.
fn take_integer(block: &mut &[u8], bits: u32) -> Result<usize, InvalidBlock> {
    prefixed::take_integer(block, bits).and_then(|value| usize::try_from(value).ok()).ok_or(InvalidBlock)
}

/// Parses a string and advances past it. Its Huffman code is decoded into `scratch`.
///
/// # Errors
/// [`InvalidBlock`] if it is malformed or incomplete.
fn take_string<'s, 'a: 's>(block: &mut &'a [u8], scratch: &'s mut Vec<u8>) -> Result<&'s [u8], InvalidBlock> {
    prefixed::take_string(block, 7, scratch).ok_or(InvalidBlock)
}

/// Appends the instruction that sets the size of this side's dynamic table to 0 (RFC 7541 §6.3). It must precede the
/// first line of the first section.
pub fn write_no_table(out: &mut Vec<u8>) {
    out.push(0x20);
}

/// Appends a field line as an index of the static table or as a literal that is not added to a dynamic table. The name
/// is converted to lower case.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    match table::find(name, value) {
        TableMatch::Both(index) => return write_integer(out, 0x80, 7, usize::from(index) + 1),
        TableMatch::Name(index) => write_integer(out, 0, 4, usize::from(index) + 1),
        TableMatch::Nothing => {
            out.push(0);
            write_name(out, 0, 7, name);
        }
    }
    write_string(out, value);
}

#[cfg(test)]
mod tests;
