//! The Huffman code of RFC 7541 Appendix B, which QPACK uses, too.
//!
//! The code is canonical: sorted by length and then by symbol, its code words are consecutive numbers. Only the lengths
//! are in the source; everything else is computed at compile time.

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

/// The length of the longest code word in bits.
const MAX_CODE_BITS: usize = 30;

/// The tables of the canonical Huffman code, derived from [`LENGTHS`].
struct Tables {
    /// The code word of each symbol.
    words: [u32; 256],
    /// The symbols, sorted by the length of their code words and then by value.
    sorted: [u8; 256],
    /// The first code word of each length.
    first: [u32; MAX_CODE_BITS + 1],
    /// The number of code words of each length.
    count: [u32; MAX_CODE_BITS + 1],
    /// The offset in `sorted` of the symbols of each length.
    offset: [u32; MAX_CODE_BITS + 1],
}

/// The decoding tables, computed at compile time.
static TABLES: Tables = build();

/// The number of bits that [`PAIRS`] is indexed by.
const PAIR_BITS: u32 = 12;

/// The symbols, two at most, whose code words are complete within twelve bits, by the value of those bits. Each entry
/// has four parts of eight bits, from the lowest: the first symbol; the second symbol; the length of the first code
/// word (lower four bits) and the number of symbols (upper four bits); the length of all code words. 0 if the first
/// code word is longer than twelve bits.
static PAIRS: [u32; 1 << PAIR_BITS] = pairs();

/// Computes the table [`PAIRS`] at compile time.
const fn pairs() -> [u32; 1 << PAIR_BITS] {
    let mut pairs = [0; 1 << PAIR_BITS];
    let mut value = 0usize;
    while value < pairs.len() {
        // Without the first word the second is looked up in the bits that are left; zeros behind them are not counted.
        let (first, len) = word(value as u32, PAIR_BITS);
        if len > 0 {
            let rest = (value << len) & ((1 << PAIR_BITS) - 1);
            let (second, more) = word(rest as u32, PAIR_BITS - len);
            let count = if more > 0 { 2 } else { 1 };
            pairs[value] =
                first as u32 | (second as u32) << 8 | (len | count << 4) << 16 | (len + more) << 24;
        }
        value += 1;
    }
    pairs
}

/// Returns the symbol whose code word begins `value`, a number of [`PAIR_BITS`] bits, and the length of the code word,
/// if that is at most `most`. The length is 0 if there is none.
const fn word(value: u32, most: u32) -> (u8, u32) {
    let mut len = 1;
    while len <= most {
        let at = (value >> (PAIR_BITS - len)).wrapping_sub(TABLES.first[len as usize]);
        if at < TABLES.count[len as usize] {
            return (TABLES.sorted[(TABLES.offset[len as usize] + at) as usize], len);
        }
        len += 1;
    }
    (0, 0)
}

/// Builds the tables from [`LENGTHS`].
const fn build() -> Tables {
    let lengths = &LENGTHS;
    let mut t = Tables {
        words: [0; 256],
        sorted: [0; 256],
        first: [0; MAX_CODE_BITS + 1],
        count: [0; MAX_CODE_BITS + 1],
        offset: [0; MAX_CODE_BITS + 1],
    };
    let (mut word, mut at, mut len) = (0u32, 0usize, 1usize);
    while len <= MAX_CODE_BITS {
        word <<= 1;
        t.first[len] = word;
        t.offset[len] = at as u32;
        let mut symbol = 0;
        while symbol < 256 {
            if lengths[symbol] as usize == len {
                t.words[symbol] = word;
                t.sorted[at] = symbol as u8;
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

/// The error for an invalid Huffman code: padding of a byte or more, padding other than ones, or the end-of-string
/// symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHuffman;

/// The number of bytes that must be free behind the result: the highest number of code words in 64 bits, and the unused
/// second byte of a pair.
const DECODE_MARGIN: usize = 17;

/// Decodes `input` and appends the result to `out`.
///
/// # Errors
/// [`InvalidHuffman`]. Nothing is appended then.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidHuffman> {
    let begin = out.len();
    // The shortest word has five bits.
    out.resize(begin + input.len() * 8 / 5 + DECODE_MARGIN, 0);
    let length = decode_into(input, &mut out[begin..]);
    out.truncate(begin + length.unwrap_or(0));
    length.map(drop).ok_or(InvalidHuffman)
}

/// Writes both symbols of an entry of [`PAIRS`] at the offset `n`, modulo 16. The second is overwritten later if the
/// entry has only one.
#[inline]
fn write(room: &mut [u8; DECODE_MARGIN], n: usize, pair: u32) {
    // One store. 64 bits hold twelve words at most, so that `n` is as it was.
    let n = n % (DECODE_MARGIN - 1);
    room[n..n + 2].copy_from_slice(&(pair as u16).to_le_bytes());
}

/// Decodes `input` into `text`, which must have [`DECODE_MARGIN`] bytes more than the result. Returns the length of the
/// result. `None` if the code is invalid.
fn decode_into(mut input: &[u8], text: &mut [u8]) -> Option<usize> {
    // The bits available, from the top of `bits` downwards. Bits of the next byte may follow them; they are written
    // again with that byte, in the same place.
    let (mut bits, mut have, mut at) = (0u64, 0u32, 0usize);
    while !input.is_empty() {
        let word = input.first_chunk().map_or_else(|| partial(input), |chunk| u64::from_be_bytes(*chunk));
        bits |= word >> have;
        let taken = ((64 - have as usize) / 8).min(input.len());
        input = &input[taken..];
        have += 8 * taken as u32;
        let room = text.get_mut(at..)?.first_chunk_mut::<DECODE_MARGIN>()?;
        let mut n = 0;
        while have >= PAIR_BITS {
            let pair = PAIRS[(bits >> (64 - PAIR_BITS)) as usize];
            let used = if pair != 0 {
                write(room, n, pair);
                n += (pair >> 20 & 0xf) as usize;
                pair >> 24
            } else if have >= MAX_CODE_BITS as u32 {
                let (symbol, len) = find_long_code(bits)?;
                room[n % (DECODE_MARGIN - 1)] = symbol;
                n += 1;
                len
            } else {
                break;
            };
            bits <<= used;
            have -= used;
        }
        at += n;
    }
    // What is left is less than a long word. Zeros follow it.
    let room = text.get_mut(at..)?.first_chunk_mut::<DECODE_MARGIN>()?;
    let mut n = 0;
    while have > 0 {
        let pair = PAIRS[(bits >> (64 - PAIR_BITS)) as usize];
        let (both, first) = (pair >> 24, pair >> 16 & 0xf);
        let (symbol, len) =
            if pair == 0 { find_long_code(bits).unwrap_or((0, u32::MAX)) } else { (pair as u8, first) };
        if len > have {
            // The rest is padding: the beginning of the end-of-string symbol, which is all ones (RFC 7541 §5.2).
            let padding = have < 8 && bits >> (64 - have) == (1 << have) - 1;
            return padding.then_some(at + n);
        }
        room[n % (DECODE_MARGIN - 1)] = symbol;
        let used = if both > first && both <= have {
            write(room, n, pair);
            n += 2;
            both
        } else {
            n += 1;
            len
        };
        bits <<= used;
        have -= used;
    }
    Some(at + n)
}

/// Returns fewer than eight bytes as the upper bits of a word; the lower bits are 0.
fn partial(bytes: &[u8]) -> u64 {
    let end = 64 - 8 * bytes.len() as u32;
    // Where the first and the last bytes overlap they are the same.
    match (bytes.first_chunk(), bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk(), bytes) {
        (Some(first), Some(last), ..) => {
            u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << end
        }
        (_, _, Some(first), Some(last), _) => {
            u64::from(u16::from_be_bytes(*first)) << 48 | u64::from(u16::from_be_bytes(*last)) << end
        }
        (.., [one]) => u64::from(*one) << 56,
        _ => 0,
    }
}

/// Returns the symbol and the length of the code word that `bits` begins with, if it has more than twelve bits. `None`
/// if there is no such code word.
fn find_long_code(bits: u64) -> Option<(u8, u32)> {
    for len in PAIR_BITS as usize + 1..=MAX_CODE_BITS {
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

/// Encodes `input` and appends the result to `out`, padded with ones to a whole byte.
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
