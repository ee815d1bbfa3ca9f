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

/// The symbols, two at most, whose code words are complete within twelve bits, by those bits. Each entry has four parts
/// of eight bits, from the lowest: the first symbol; the second symbol; the length of their code words; the number of
/// symbols. 0 if the first code word is longer than twelve bits.
static PAIRS: [u32; 1 << PAIR_BITS] = pairs();

/// Computes the table [`PAIRS`] at compile time.
const fn pairs() -> [u32; 1 << PAIR_BITS] {
    const MASK: usize = (1 << PAIR_BITS) - 1;
    let mut pairs = [0; 1 << PAIR_BITS];
    let mut value = 0usize;
    while value < pairs.len() {
        // Without the first word the second is looked up in the bits that are left; zeros behind them are not counted.
        let (first, len) = word(value as u32, PAIR_BITS);
        if len > 0 {
            let rest = (value << len) & MASK;
            let (second, more) = word(rest as u32, PAIR_BITS - len);
            let count = if more > 0 { 2 } else { 1 };
            pairs[value] = first as u32 | (second as u32) << 8 | (len + more) << 16 | count << 24;
        }
        value += 1;
    }
    pairs
}

// No code word consists of ones only, so that none is found in the padding.
const _: () = assert!(PAIRS[PAIRS.len() - 1] == 0);

// Symbols with short code words are visible ASCII characters and the space.
const _: () = {
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        assert!(LENGTHS[symbol] as u32 > PAIR_BITS || symbol >= 0x20 && symbol < 0x7f);
        symbol += 1;
    }
};

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

/// The number of bytes that must be free behind the result, so that the place of a symbol in them, a number of eight
/// bits, needs no check: that number and the second symbol of a pair.
const DECODE_MARGIN: usize = 0x100 + 1;

/// The number of bytes that [`decode_into`] needs for the result of `len` bytes of code: the shortest word has five
/// bits.
pub(crate) const fn decode_room(len: usize) -> usize {
    len * 8 / 5 + DECODE_MARGIN
}

/// Decodes `input` and appends the result to `out`.
///
/// # Errors
/// [`InvalidHuffman`]. Nothing is appended then.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidHuffman> {
    let begin = out.len();
    out.resize(begin + decode_room(input.len()), 0);
    let decoded = decode_into(input, &mut out[begin..]);
    out.truncate(begin + decoded.map_or(0, |decoded| decoded.len));
    decoded.map(drop).ok_or(InvalidHuffman)
}

/// The result of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// The length of the text in bytes.
    pub(crate) len: usize,
    /// True if every code word has twelve bits at most, so that the text consists of visible ASCII characters and
    /// spaces. False if it may contain anything.
    pub(crate) is_plain: bool,
}

/// The number of entries of [`PAIRS`] that are taken from a word. Seven bits of it can be those of a byte that was
/// decoded in part, which leaves 57.
const PAIRS_OF_WORD: usize = 4;
const _: () = assert!(PAIRS_OF_WORD * PAIR_BITS as usize <= 57);

/// Decodes `input` into `text`, which must have [`decode_room`] bytes. `None` if the code is invalid.
pub(crate) fn decode_into(input: &[u8], text: &mut [u8]) -> Option<Decoded> {
    let Some(last) = input.len().checked_sub(8) else {
        return decode_end(!partial(input), input.len() * 8, text, Decoded { len: 0, is_plain: true });
    };
    let most = text.len().checked_sub(DECODE_MARGIN)?;
    // The numbers of bits that are decoded, and of bytes that are written.
    let (mut at, mut len, mut is_plain) = (0usize, 0usize, true);
    // While eight bytes follow.
    while at / 8 <= last {
        if len > most {
            return None;
        }
        let mut bits = word_at(input, at)?;
        let room = text[len..len + DECODE_MARGIN].first_chunk_mut()?;
        let (mut sum, mut entry) = (0, 0);
        for _ in 0..PAIRS_OF_WORD {
            entry = PAIRS[(bits >> (64 - PAIR_BITS)) as usize];
            write(room, sum, entry);
            bits = bits.wrapping_shl(entry >> 16);
            sum += entry >> 16;
        }
        at += (sum & 0xff) as usize;
        len += (sum >> 8) as usize;
        if entry == 0
            && let Some(bits) = word_at(input, at)
        {
            entry = find_long_code(bits)?;
            write(text.get_mut(len..)?.first_chunk_mut()?, 0, entry);
            at += (entry >> 16 & 0xff) as usize;
            len += 1;
            is_plain = false;
        }
    }
    let left = (input.len() * 8).checked_sub(at)?;
    let bits = !u64::from_be_bytes(*input.last_chunk()?);
    decode_end(bits.checked_shl(64 - left as u32).unwrap_or(0), left, text, Decoded { len, is_plain })
}

/// Decodes the last `left` bits of a code, 56 at most, and writes the symbols behind those that are decoded. `bits` is
/// the complement of the bits, from the top downwards; behind them are zeros, which stand for ones. `None` if the code
/// is invalid.
#[inline]
fn decode_end(mut bits: u64, left: usize, text: &mut [u8], decoded: Decoded) -> Option<Decoded> {
    let Decoded { len, mut is_plain } = decoded;
    let room = text.get_mut(len..)?.first_chunk_mut()?;
    let mut sum = 0;
    loop {
        let mut entry = PAIRS[(!bits >> (64 - PAIR_BITS)) as usize];
        if entry == 0 {
            if bits == 0 {
                // All that is left is padding: the beginning of the end-of-string symbol, which is all ones (RFC 7541
                // §5.2). No code word went beyond the end.
                let padding = left.checked_sub((sum & 0xff) as usize)?;
                return (padding < 8).then_some(Decoded { len: len + (sum >> 8) as usize, is_plain });
            }
            entry = find_long_code(!bits)?;
            is_plain = false;
        }
        write(room, sum, entry);
        bits = bits.wrapping_shl(entry >> 16);
        sum += entry >> 16;
    }
}

/// Writes both symbols of an entry behind those that were written before. The second is overwritten later if the entry
/// has only one. `sum` has the number of symbols before above the lowest eight bits, as the sum of the upper halves of
/// their entries.
#[inline]
fn write(room: &mut [u8; DECODE_MARGIN], sum: u32, entry: u32) {
    // One store.
    let n = usize::from((sum >> 8) as u8);
    room[n..n + 2].copy_from_slice(&(entry as u16).to_le_bytes());
}

/// Returns the bits from `at` on, 57 at least, from the top downwards. `None` if fewer than eight bytes follow.
#[inline]
fn word_at(input: &[u8], at: usize) -> Option<u64> {
    let word = input.get(at / 8..at / 8 + 8)?.first_chunk()?;
    Some(u64::from_be_bytes(*word) << (at % 8))
}

/// Returns fewer than eight bytes as the upper bits of a word; the lower bits are ones.
fn partial(bytes: &[u8]) -> u64 {
    let end = 64 - 8 * bytes.len() as u32;
    // Where the first and the last bytes overlap they are the same.
    let word = match (bytes.first_chunk(), bytes.last_chunk(), bytes.first_chunk(), bytes.last_chunk(), bytes)
    {
        (Some(first), Some(last), ..) => {
            u64::from(u32::from_be_bytes(*first)) << 32 | u64::from(u32::from_be_bytes(*last)) << end
        }
        (_, _, Some(first), Some(last), _) => {
            u64::from(u16::from_be_bytes(*first)) << 48 | u64::from(u16::from_be_bytes(*last)) << end
        }
        (.., [one]) => u64::from(*one) << 56,
        _ => return u64::MAX,
    };
    word | ((1 << end) - 1)
}

/// Returns the symbol whose code word `bits` begins with, if that has more than twelve bits, as an entry of [`PAIRS`].
/// `None` if there is no such code word.
#[cold]
fn find_long_code(bits: u64) -> Option<u32> {
    for len in PAIR_BITS as usize + 1..=MAX_CODE_BITS {
        let word = (bits >> (64 - len)) as u32;
        let nth = word.wrapping_sub(TABLES.first[len]);
        if nth < TABLES.count[len] {
            let symbol = TABLES.sorted[(TABLES.offset[len] + nth) as usize];
            return Some(u32::from(symbol) | (len as u32) << 16 | 1 << 24);
        }
    }
    None
}

/// The most bytes of a code of [`encode_name`].
pub(crate) const NAME_CODE: usize = 24;

/// Encodes a name at compile time. Returns the code and its length in bytes, [`NAME_CODE`] at most.
pub(crate) const fn encode_name(name: &[u8]) -> ([u8; NAME_CODE], usize) {
    let (mut code, mut bits, mut i) = ([0xff; NAME_CODE], 0, 0);
    while i < name.len() {
        let (word, len) = (TABLES.words[name[i] as usize], LENGTHS[name[i] as usize] as usize);
        let mut bit = 0;
        while bit < len {
            if word >> (len - 1 - bit) & 1 == 0 {
                code[bits / 8] &= !(0x80 >> (bits % 8));
            }
            bits += 1;
            bit += 1;
        }
        i += 1;
    }
    (code, bits.div_ceil(8))
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

#[cfg(test)]
mod tests;
