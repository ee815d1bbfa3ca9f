//! QPACK (RFC 9204) with the static table alone.
//!
//! This side offers a dynamic table of no capacity, so a peer can refer to none, insert nothing, and block nothing:
//! whatever does is an error. What this side sends uses the static table and literals.

pub mod huffman;
mod instructions;
mod table;

pub use instructions::{DecoderStream, EncoderStream};

use super::{Code, Fault};
use table::Found;

const FAILED: Fault = Fault::Connection(Code::QPACK_DECOMPRESSION_FAILED);

/// Reads an integer with a prefix of `bits` bits (RFC 7541 §5.1): the value and the bytes it took. `Ok(None)` if it is
/// not there whole, `Err` if it does not fit 62 bits.
pub(crate) fn integer(bytes: &[u8], bits: u32) -> Result<Option<(u64, usize)>, Overflow> {
    let mask = (1u64 << bits) - 1;
    let Some(first) = bytes.first() else { return Ok(None) };
    let mut value = u64::from(*first) & mask;
    if value < mask {
        return Ok(Some((value, 1)));
    }
    for (i, b) in bytes[1..].iter().enumerate() {
        // Nine groups of seven bits are 63; a tenth cannot add anything that fits.
        if i == 9 {
            return Err(Overflow);
        }
        value = value.checked_add(u64::from(b & 0x7f) << (7 * i)).ok_or(Overflow)?;
        if value >> 62 != 0 {
            return Err(Overflow);
        }
        if b & 0x80 == 0 {
            return Ok(Some((value, i + 2)));
        }
    }
    Ok(None)
}

/// An integer that no implementation has to understand (RFC 9204 §4.1.1: 62 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Appends an integer with a prefix of `bits` bits; `first` has the bits above the prefix.
pub(crate) fn write_integer(out: &mut Vec<u8>, first: u8, bits: u32, value: usize) {
    let mask = (1usize << bits) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Decodes field sections. It keeps only scratch space.
#[derive(Debug, Default)]
pub struct Decoder {
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// A decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands every field line of an encoded section to `field`, in their order. An error of `field` ends the decoding.
    pub fn decode(
        &mut self,
        mut section: &[u8],
        mut field: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        // §4.5.1: without insertions the required insert count is 0, and a base below that cannot be.
        if take_integer(&mut section, 8)? != 0 {
            return Err(FAILED);
        }
        let negative = section.first().is_some_and(|b| b & 0x80 != 0);
        take_integer(&mut section, 7)?;
        if negative {
            return Err(FAILED);
        }
        while let Some(first) = section.first() {
            match first {
                // §4.5.2: indexed, from the static table.
                0xc0.. => {
                    let (name, value) = entry(take_integer(&mut section, 6)?)?;
                    field(name, value)?;
                }
                // §4.5.4: a literal with a name from the static table.
                0x50..=0x5f | 0x70..=0x7f => {
                    let (name, _) = entry(take_integer(&mut section, 4)?)?;
                    let value = take_string(&mut section, 7, &mut self.value)?;
                    field(name, value)?;
                }
                // §4.5.6: a literal with a literal name.
                0x20..=0x3f => {
                    let name = take_string(&mut section, 3, &mut self.name)?;
                    let value = take_string(&mut section, 7, &mut self.value)?;
                    field(name, value)?;
                }
                // The dynamic table, before or after the base.
                0x00..=0x1f | 0x40..=0x4f | 0x60..=0x6f | 0x80..=0xbf => return Err(FAILED),
            }
        }
        Ok(())
    }
}

fn entry(index: u64) -> Result<(&'static [u8], &'static [u8]), Fault> {
    usize::try_from(index).ok().and_then(|i| table::STATIC.get(i)).copied().ok_or(FAILED)
}

fn take_integer(section: &mut &[u8], bits: u32) -> Result<u64, Fault> {
    let (value, used) = integer(section, bits).ok().flatten().ok_or(FAILED)?;
    *section = &section[used..];
    Ok(value)
}

/// A string whose length has a prefix of `bits` bits with the Huffman flag above it: a part of the section itself, or
/// decoded into `scratch`.
fn take_string<'s, 'a: 's>(
    section: &mut &'a [u8],
    bits: u32,
    scratch: &'s mut Vec<u8>,
) -> Result<&'s [u8], Fault> {
    let coded = section.first().is_some_and(|b| b & 1 << bits != 0);
    let len = usize::try_from(take_integer(section, bits)?).map_err(|_| FAILED)?;
    let (text, rest) = section.split_at_checked(len).ok_or(FAILED)?;
    *section = rest;
    if !coded {
        return Ok(text);
    }
    scratch.clear();
    huffman::decode(text, scratch).map_err(|_| FAILED)?;
    Ok(scratch)
}

/// Appends the two integers that every encoded section begins with.
pub fn write_prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Appends a field line. The name is written in lower case.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    // No name in the static table is longer than 32 bytes.
    let mut lower = [0u8; 32];
    let found = match lower.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            table::find(lower, value)
        }
        None => Found::Nothing,
    };
    match found {
        Found::Both(index) => return write_integer(out, 0xc0, 6, usize::from(index)),
        Found::Name(index) => write_integer(out, 0x50, 4, usize::from(index)),
        Found::Nothing => {
            write_integer(out, 0x20, 3, name.len());
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
    write_integer(out, 0, 7, value.len());
    out.extend_from_slice(value);
}

/// Appends a field line whose name and value are literals in the Huffman code.
pub fn write_field_huffman(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write_integer(out, 0x28, 3, huffman::encoded_len(&name.to_ascii_lowercase()));
    huffman::encode(&name.to_ascii_lowercase(), out);
    write_integer(out, 0x80, 7, huffman::encoded_len(value));
    huffman::encode(value, out);
}
