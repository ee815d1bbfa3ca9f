//! Searches for the byte that ends a part of a head, sixteen bytes at a time on x86-64 and eight elsewhere.
//!
//! In a word of eight bytes, arithmetic sets the top bit of each byte that is searched for. A carry can set the bit of
//! a byte above a match, but never below it, and only the lowest match is used.

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod blocks;
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
mod simd;

#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
pub(crate) use blocks::{name_end, target_end, value_end};
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
pub(crate) use portable::{name_end, target_end, value_end};

/// A word whose bytes are all 1.
const ONES: u64 = u64::from_ne_bytes([1; 8]);
/// A word in which the top bit of each byte is set.
const TOPS: u64 = ONES << 7;

/// Returns a word whose top bits mark the bytes below `limit`, which is at most 0x80. Bytes above a marked one may be
/// marked wrongly.
const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & TOPS
}

/// Returns a word whose top bits mark the bytes equal to `byte`. Bytes above a marked one may be marked wrongly.
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// Returns a word whose top bits mark the bytes of at least `limit`. All bytes of the word must be below 0x80.
const fn at_least(word: u64, limit: u8) -> u64 {
    (word + ONES * (0x80 - limit as u64)) & TOPS
}

/// Returns a word whose top bits mark the bytes from `from` to `to`, both inclusive. All bytes of the word must be
/// below 0x80, so that no carry crosses a byte and every mark is exact.
const fn within(word: u64, from: u8, to: u8) -> u64 {
    at_least(word, from) & !at_least(word, to + 1)
}

/// Returns the position of the first byte for which `wrong` returns true, or the length if there is none. `marks` must
/// set the top bit of each such byte in a word of eight, and the lowest bit that it sets must be exact.
#[inline]
fn first(bytes: &[u8], marks: impl Fn(u64) -> u64, wrong: impl Fn(u8) -> bool) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return at * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let tail = rest.iter().position(|byte| wrong(*byte));
    bytes.len() - rest.len() + tail.unwrap_or(rest.len())
}

/// The searches in words of eight bytes, for any processor.
pub(crate) mod portable {
    use super::{ONES, TOPS, below, equal, first, within};

    /// Returns the position of the first byte that cannot be part of a field value: a control character other than tab.
    /// Returns the length if there is none.
    #[inline]
    pub(crate) fn value_end(bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            at += first(
                &bytes[at..],
                |word| below(word, b' ') | equal(word, 0x7f),
                |byte| byte.is_ascii_control(),
            );
            if bytes.get(at) != Some(&b'\t') {
                return at;
            }
            at += 1;
        }
    }

    /// Returns the position of the first byte that cannot be part of a request target: any but visible ASCII
    /// characters, and `#`. Returns the length if there is none.
    #[inline]
    pub(crate) fn target_end(bytes: &[u8]) -> usize {
        first(
            bytes,
            |word| below(word, b'!') | equal(word, 0x7f) | equal(word, b'#') | (word & TOPS),
            |byte| !byte.is_ascii_graphic() || byte == b'#',
        )
    }

    /// Returns the position of the first byte that is not an ASCII letter, a digit or `-`. Returns the length if there
    /// is none.
    #[inline]
    pub(crate) fn name_end(bytes: &[u8]) -> usize {
        let marks = |word: u64| {
            let ascii = word & !TOPS;
            let letters = within(ascii | (ONES << 5), b'a', b'z');
            // Setting the sixth bit converts upper-case letters to lower case, and makes no other byte a letter.
            let plain = letters | within(ascii, b'0', b'9') | within(ascii, b'-', b'-');
            (!plain | word) & TOPS
        };
        first(bytes, marks, |byte| !(byte.is_ascii_alphanumeric() || byte == b'-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes near the limits, and any others.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            8 => b'a'..=b'z',
            4 => prop_oneof![b'A'..=b'Z', b'0'..=b'9', Just(b'-'), Just(b'@'), Just(b'['), Just(b'`'), Just(b'{')],
            4 => prop_oneof![Just(0x7f), Just(0x80), Just(0xff), Just(0x1f), Just(b' '), Just(b'!'), Just(b'#')],
            2 => prop_oneof![Just(b'\t'), Just(b'\r'), Just(b'\n'), Just(0)],
            1 => any::<u8>(),
        ]
    }

    /// The three searches, in blocks and in words, each with the definition of a byte that ends it.
    type Search = (fn(&[u8]) -> usize, fn(&[u8]) -> usize, fn(u8) -> bool);

    const SEARCHES: [Search; 3] = [
        (value_end, portable::value_end, |b| b.is_ascii_control() && b != b'\t'),
        (target_end, portable::target_end, |b| !b.is_ascii_graphic() || b == b'#'),
        (name_end, portable::name_end, |b| !b.is_ascii_alphanumeric() && b != b'-'),
    ];

    #[test]
    fn every_byte_at_every_place() {
        for byte in 0..=255 {
            // In each place of a block of sixteen, of a word of eight, and of the bytes behind both.
            for at in 0..27 {
                let mut bytes = [b'a'; 27];
                bytes[at] = byte;
                for (end, portable, wrong) in SEARCHES {
                    let expected = if wrong(byte) { at } else { bytes.len() };
                    assert_eq!((end(&bytes), portable(&bytes)), (expected, expected), "{byte} at {at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_same_as_byte_by_byte(bytes in proptest::collection::vec(byte(), 0..70)) {
            for (end, portable, wrong) in SEARCHES {
                let expected = bytes.iter().position(|b| wrong(*b)).unwrap_or(bytes.len());
                prop_assert_eq!((end(&bytes), portable(&bytes)), (expected, expected));
            }
        }
    }
}
