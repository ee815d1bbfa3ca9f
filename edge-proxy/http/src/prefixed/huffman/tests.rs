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

/// Decodes behind text that is there already, and checks that the text is kept. `None` if the code is not valid.
fn table(input: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let result = decode(input, &mut out);
    assert!(out.starts_with(b"before"));
    let decoded = out.split_off(6);
    assert!(result.is_ok() || decoded.is_empty());
    let mut room = vec![0; decode_room(input.len())];
    let is_plain = decode_into(input, &mut room).is_some_and(|decoded| decoded.is_plain);
    assert!(!is_plain || decoded.iter().all(|byte| (b' '..0x7f).contains(byte)));
    result.ok().map(|()| decoded)
}

/// Appends the lowest `len` bits of `word`.
fn push_bits(bits: &mut Vec<bool>, word: u64, len: usize) {
    bits.extend((0..len).rev().map(|at| word >> at & 1 != 0));
}

/// Returns the bits as bytes. The last byte is filled with `padding`.
fn bytes(bits: &[bool], padding: bool) -> Vec<u8> {
    let byte =
        |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(*bits.get(at).unwrap_or(&padding)));
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
