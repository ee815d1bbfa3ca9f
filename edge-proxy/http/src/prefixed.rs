//! Prefixed integers and strings, the primitives of HPACK and QPACK (RFC 7541 §5, RFC 9204 §4.1).

pub mod huffman;

/// Parses an integer with a prefix of `bits` bits at the beginning of `bytes` (RFC 7541 §5.1). Returns its value and
/// its length in bytes. `Ok(None)` if it is incomplete.
///
/// # Errors
/// [`Overflow`] if it exceeds 62 bits.
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

/// The error for an integer that exceeds the 62 bits that implementations must support (RFC 9204 §4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// Appends an integer with a prefix of `bits` bits. `first` contains the bits above the prefix of the first byte.
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

/// Parses an integer with a prefix of `bits` bits and advances past it. `None` if it is incomplete or exceeds 62 bits.
#[inline]
pub(crate) fn take_integer(section: &mut &[u8], bits: u32) -> Option<u64> {
    let mask = (1u8 << (bits - 1)) | ((1 << (bits - 1)) - 1);
    // Most integers fit into their prefix.
    let (first, rest) = section.split_first()?;
    if first & mask != mask {
        *section = rest;
        return Some(u64::from(first & mask));
    }
    // Nearly all others take one more byte.
    if let Some((second, rest)) = rest.split_first()
        && second & 0x80 == 0
    {
        *section = rest;
        return Some(u64::from(mask) + u64::from(*second));
    }
    let (value, used) = integer(section, bits).ok().flatten()?;
    *section = section.get(used..)?;
    Some(value)
}

/// Parses a string and advances past it. Its length has a prefix of `bits` bits, with the Huffman flag above it.
/// Returns a part of the section, or the text decoded into `scratch`, whose content is unspecified before and after.
/// `None` if the string is incomplete, or its Huffman code is invalid.
pub(crate) fn take_string<'s, 'a: 's>(
    section: &mut &'a [u8],
    bits: u32,
    scratch: &'s mut Vec<u8>,
) -> Option<&'s [u8]> {
    let coded = section.first().is_some_and(|byte| byte & 1 << bits != 0);
    let len = usize::try_from(take_integer(section, bits)?).ok()?;
    let (text, rest) = section.split_at_checked(len)?;
    *section = rest;
    if !coded {
        return Some(text);
    }
    // What is in it is overwritten. Its length is kept, so that it is not cleared for each string.
    let room = huffman::decode_room(text.len());
    if scratch.len() < room {
        scratch.resize(room, 0);
    }
    let decoded = huffman::decode_into(text, scratch)?;
    scratch.get(..decoded.len)
}

/// Appends a name in lower case as a literal without Huffman code, after its length with a prefix of `bits` bits.
/// `first` contains the bits above the prefix of the first byte.
pub(crate) fn write_name(out: &mut Vec<u8>, first: u8, bits: u32, name: &[u8]) {
    write_integer(out, first, bits, name.len());
    out.extend(name.iter().map(u8::to_ascii_lowercase));
}

/// Appends a value as a literal without Huffman code, after its length.
pub(crate) fn write_string(out: &mut Vec<u8>, value: &[u8]) {
    write_integer(out, 0, 7, value.len());
    out.extend_from_slice(value);
}
