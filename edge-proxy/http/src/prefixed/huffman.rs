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

/// The symbols, two at most, whose code words are complete within twelve bits, by the complement of those bits. Each
/// entry has four parts of eight bits, from the lowest: the first symbol; the second symbol; the number of symbols; the
/// length of their code words. 0 if the first code word is longer than twelve bits.
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
            pairs[value ^ MASK] = first as u32 | (second as u32) << 8 | count << 16 | (len + more) << 24;
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

/// The number of bytes that [`decode_into`] needs for the result of `len` bytes of code: the shortest word has five
/// bits.
pub(super) const fn decode_room(len: usize) -> usize {
    len * 8 / 5 + DECODE_MARGIN
}

/// Decodes `input` and appends the result to `out`.
///
/// # Errors
/// [`InvalidHuffman`]. Nothing is appended then.
pub fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidHuffman> {
    let begin = out.len();
    out.resize(begin + decode_room(input.len()), 0);
    let length = decode_into(input, &mut out[begin..]);
    out.truncate(begin + length.unwrap_or(0));
    length.map(drop).ok_or(InvalidHuffman)
}

/// The bits that were taken from the input and are not decoded yet.
///
/// They are stored as their complement: zeros shifted in behind the end of the input then stand for ones, with which a
/// code is padded.
struct BitBuffer {
    /// The complement of the bits, from the top downwards. Bits of the next byte may follow the counted ones; they are
    /// written again with that byte, in the same place.
    bits: u64,
    /// The number of bits, below 64.
    have: u32,
}

impl BitBuffer {
    /// Appends as many whole bytes as fit from a word that begins with `len` bytes of the input; all its other bits
    /// are ones. Returns the number of bytes.
    #[inline]
    fn fill(&mut self, word: u64, len: usize) -> usize {
        self.bits |= !word >> self.have;
        // 63 less the number of bits, of which only the lowest six can be set.
        let taken = (!self.have as usize % 64 / 8).min(len);
        self.have += 8 * taken as u32;
        taken
    }

    /// Removes `count` bits, below 64, from the front.
    #[inline]
    const fn skip(&mut self, count: u32) {
        self.bits <<= count;
        self.have -= count;
    }

    /// Returns the entry of [`PAIRS`] for the bits at the front.
    #[inline]
    fn pair(&self) -> u32 {
        PAIRS[(self.bits >> (64 - PAIR_BITS)) as usize]
    }
}

/// Writes both symbols of an entry of [`PAIRS`] at the offset `n`, modulo 16. The second is overwritten later if the
/// entry has only one.
#[inline]
fn write(room: &mut [u8; DECODE_MARGIN], n: u32, pair: u32) {
    // One store. 64 bits hold twelve words at most, so that `n` is as it was.
    let n = n as usize % (DECODE_MARGIN - 1);
    room[n..n + 2].copy_from_slice(&(pair as u16).to_le_bytes());
}

/// Decodes `input` into `text`, which must have [`decode_room`] bytes. Returns the length of the result. `None` if the
/// code is invalid.
pub(super) fn decode_into(mut input: &[u8], text: &mut [u8]) -> Option<usize> {
    let (mut buffer, mut at) = (BitBuffer { bits: 0, have: 0 }, 0usize);
    while let Some(chunk) = input.first_chunk() {
        input = &input[buffer.fill(u64::from_be_bytes(*chunk), 8)..];
        let room = text.get_mut(at..)?.first_chunk_mut::<DECODE_MARGIN>()?;
        // There are 56 bits at least, enough for four entries.
        let mut n = 0;
        let mut pair = 0;
        for _ in 0..4 {
            pair = buffer.pair();
            write(room, n, pair);
            n += pair >> 16 & 0xff;
            buffer.skip(pair >> 24);
        }
        if pair == 0 && buffer.have >= MAX_CODE_BITS as u32 {
            let (symbol, len) = find_long_code(!buffer.bits)?;
            write(room, n, symbol.into());
            n += 1;
            buffer.skip(len);
        }
        at += n as usize;
    }
    loop {
        let taken = buffer.fill(partial(input), input.len());
        input = &input[taken..];
        let room = text.get_mut(at..)?.first_chunk_mut::<DECODE_MARGIN>()?;
        let mut n = 0;
        let mut pair = buffer.pair();
        // The length of an entry that is 0 becomes the largest number.
        while (pair >> 24).wrapping_sub(1) < buffer.have {
            write(room, n, pair);
            n += pair >> 16 & 0xff;
            buffer.skip(pair >> 24);
            pair = buffer.pair();
        }
        if input.is_empty() && buffer.bits == 0 && buffer.have < 8 {
            // Padding: the beginning of the end-of-string symbol, which is all ones (RFC 7541 §5.2).
            return Some(at + n as usize);
        }
        if input.is_empty() || buffer.have >= MAX_CODE_BITS as u32 {
            // A long code word, or a single one.
            let (symbol, len) = match pair {
                0 => find_long_code(!buffer.bits)?,
                _ => (pair as u8, u32::from(LENGTHS[usize::from(pair as u8)])),
            };
            if len > buffer.have {
                return None;
            }
            write(room, n, symbol.into());
            n += 1;
            buffer.skip(len);
        }
        at += n as usize;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes bit by bit, by comparison with every code word (RFC 7541 §5.2). `None` if the code is invalid.
    fn plain(input: &[u8]) -> Option<Vec<u8>> {
        let (mut text, mut word, mut len) = (Vec::new(), 0u32, 0usize);
        for at in 0..input.len() * 8 {
            word = word << 1 | u32::from(input[at / 8] >> (7 - at % 8) & 1);
            len += 1;
            let symbol =
                (0..256).find(|symbol| usize::from(LENGTHS[*symbol]) == len && TABLES.words[*symbol] == word);
            if let Some(symbol) = symbol {
                text.push(symbol as u8);
                (word, len) = (0, 0);
            } else if len >= MAX_CODE_BITS {
                // The end-of-string symbol.
                return None;
            }
        }
        (len < 8 && word == (1 << len) - 1).then_some(text)
    }

    /// Decodes behind text that is there already, and checks that the text is kept.
    fn table(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let result = decode(input, &mut out);
        assert!(out.starts_with(b"before"));
        let decoded = out.split_off(6);
        assert!(result.is_ok() || decoded.is_empty());
        result.ok().map(|()| decoded)
    }

    /// Appends the lowest `len` bits of `word`.
    fn push_bits(bits: &mut Vec<bool>, word: u64, len: usize) {
        bits.extend((0..len).rev().map(|at| word >> at & 1 != 0));
    }

    /// Returns the bits as bytes. The last byte is filled with `padding`.
    fn bytes(bits: &[bool], padding: bool) -> Vec<u8> {
        let byte = |bits: &[bool]| {
            (0..8).fold(0, |byte, at| byte << 1 | u8::from(*bits.get(at).unwrap_or(&padding)))
        };
        bits.chunks(8).map(byte).collect()
    }

    #[test]
    fn every_code_of_two_bytes() {
        for code in 0..=u16::MAX {
            let code = code.to_be_bytes();
            assert_eq!(table(&code), plain(&code), "{code:x?}");
        }
        for code in 0..=u8::MAX {
            assert_eq!(table(&[code]), plain(&[code]), "{code:x}");
        }
    }

    #[test]
    fn every_symbol_behind_every_number_of_others() {
        for symbol in 0..=u8::MAX {
            for before in 0..20 {
                for after in [0, 1, 9] {
                    let text = [vec![b'0'; before], vec![symbol], vec![b'e'; after]].concat();
                    let mut code = Vec::new();
                    encode(&text, &mut code);
                    assert_eq!(table(&code), Some(text.clone()), "{text:?}");
                    code.push(0xff);
                    assert_eq!(table(&code), None, "a byte of padding behind {text:?}");
                }
            }
        }
    }

    proptest! {
        /// Any bytes are decoded as bit by bit, or refused as bit by bit.
        #[test]
        fn bytes_as_bit_by_bit(code in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0xff)], 0..40)) {
            prop_assert_eq!(table(&code), plain(&code));
        }

        /// Code words of any symbols, cut at any bit or followed by any bits, are decoded or refused as bit by bit:
        /// the end-of-string symbol, padding of eight bits or more, and padding other than ones.
        #[test]
        fn words_as_bit_by_bit(
            text in prop_oneof![prop::collection::vec(any::<u8>(), 0..12), "[ -~]{0,60}".prop_map(String::into_bytes)],
            (tail, len) in (any::<u64>(), 0usize..40),
            ones: bool,
            cut in 0usize..12,
            padding: bool,
        ) {
            let mut bits = Vec::new();
            for symbol in &text {
                push_bits(&mut bits, TABLES.words[usize::from(*symbol)].into(), LENGTHS[usize::from(*symbol)].into());
            }
            push_bits(&mut bits, if ones { u64::MAX } else { tail }, len);
            bits.truncate(bits.len().saturating_sub(cut));
            let code = bytes(&bits, padding);
            prop_assert_eq!(table(&code), plain(&code));
        }
    }
}
