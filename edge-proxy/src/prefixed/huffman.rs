//! The Huffman code of RFC 7541 Appendix B, which QPACK shares.
//!
//! The code is canonical: sorted by length and then by symbol, its words count upwards. Only the lengths are written
//! down; everything else is computed at compile time.

/// The length of each symbol's code word in bits.
#[rustfmt::skip]
static LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;

struct Tables {
    /// The code word of each symbol.
    words: [u32; 256],
    /// The symbols, sorted by length and then by value.
    sorted: [u8; 256],
    /// For each length: the first word, the number of words, and the offset of their symbols in `sorted`.
    first: [u32; LONGEST + 1],
    count: [u32; LONGEST + 1],
    offset: [u32; LONGEST + 1],
    /// For each value of the next eight bits: symbol and length of a word of at most eight bits; length 0 if the word
    /// is longer.
    short: [(u8, u8); 256],
}

static TABLES: Tables = build();

const fn build() -> Tables {
    let lengths = &LENGTHS;
    let mut t = Tables {
        words: [0; 256],
        sorted: [0; 256],
        first: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        short: [(0, 0); 256],
    };
    let (mut word, mut at, mut len) = (0u32, 0usize, 1usize);
    while len <= LONGEST {
        word <<= 1;
        t.first[len] = word;
        t.offset[len] = at as u32;
        let mut symbol = 0;
        while symbol < 256 {
            if lengths[symbol] as usize == len {
                t.words[symbol] = word;
                t.sorted[at] = symbol as u8;
                if len <= 8 {
                    let mut low = 0;
                    while low < 1 << (8 - len) {
                        t.short[((word as usize) << (8 - len)) | low] = (symbol as u8, len as u8);
                        low += 1;
                    }
                }
                word += 1;
                at += 1;
            }
            symbol += 1;
        }
        t.count[len] = word - t.first[len];
        len += 1;
    }
    t
}

/// An error for an invalid Huffman code: padding of a byte or more, padding other than ones, or the end-of-string
/// symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHuffman;

/// Decodes `input` and appends the result.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidHuffman> {
    // The bits available, from the top of `bits` downwards.
    let (mut bits, mut have) = (0u64, 0u32);
    let mut input = input;
    out.reserve(input.len() * 8 / 5);
    // While eight bytes are left, as many as fit are taken at once. The bits of the next byte that also fit are written
    // again with that byte, in the same place.
    while let Some(chunk) = input.first_chunk::<8>() {
        bits |= u64::from_be_bytes(*chunk) >> have;
        let taken = (64 - have) / 8;
        input = &input[taken as usize..];
        have += 8 * taken;
        while have >= LONGEST as u32 {
            let (symbol, len) = TABLES.short[(bits >> 56) as usize];
            let found = if len != 0 { Some((symbol, u32::from(len))) } else { long(bits) };
            let (symbol, len) = found.ok_or(InvalidHuffman)?;
            out.push(symbol);
            bits <<= len;
            have -= len;
        }
    }
    loop {
        while have <= 56
            && let Some((b, rest)) = input.split_first()
        {
            bits |= u64::from(*b) << (56 - have);
            have += 8;
            input = rest;
        }
        if have == 0 {
            return Ok(());
        }
        let (symbol, len) = TABLES.short[(bits >> 56) as usize];
        let found = if len != 0 { Some((symbol, u32::from(len))) } else { long(bits) };
        if let Some((symbol, len)) = found
            && len <= have
        {
            out.push(symbol);
            bits <<= len;
            have -= len;
            continue;
        }
        // The rest is padding: the beginning of the end-of-string symbol, which is all ones (RFC 7541 §5.2).
        return if have < 8 && bits >> (64 - have) == (1 << have) - 1 { Ok(()) } else { Err(InvalidHuffman) };
    }
}

/// Finds a word of more than eight bits.
fn long(bits: u64) -> Option<(u8, u32)> {
    for len in 9..=LONGEST {
        let word = (bits >> (64 - len)) as u32;
        let nth = word.wrapping_sub(TABLES.first[len]);
        if nth < TABLES.count[len] {
            return Some((TABLES.sorted[(TABLES.offset[len] + nth) as usize], len as u32));
        }
    }
    None
}

/// Returns the number of bytes that [`encode`] appends.
pub fn encoded_len(input: &[u8]) -> usize {
    input.iter().map(|b| usize::from(LENGTHS[usize::from(*b)])).sum::<usize>().div_ceil(8)
}

/// Encodes and appends `input`, padded with ones to a whole byte.
pub fn encode(input: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut have) = (0u64, 0u32);
    for b in input {
        let len = u32::from(LENGTHS[usize::from(*b)]);
        bits = bits << len | u64::from(TABLES.words[usize::from(*b)]);
        have += len;
        while have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    if have > 0 {
        out.push((bits << (8 - have)) as u8 | 0xff >> have);
    }
}
