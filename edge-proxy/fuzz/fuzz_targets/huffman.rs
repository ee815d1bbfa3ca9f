//! Huffman codes are decoded by tables as they are bit by bit, or rejected by both.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::sync::LazyLock;

// The module is private to the crate, and depends on nothing in it.
#[allow(dead_code)]
#[path = "../../http/src/prefixed/huffman.rs"]
mod huffman;

/// The symbols by their code words: the length in bits, and the bits.
static SYMBOLS: LazyLock<HashMap<(usize, u32), u8>> = LazyLock::new(|| {
    let word = |symbol: u8| {
        let mut code = Vec::new();
        huffman::encode(&[symbol; 8], &mut code);
        // The length in bytes of eight code words is the length in bits of one.
        let first: [u8; 4] = code[..4].try_into().unwrap_or_default();
        (code.len(), u32::from_be_bytes(first) >> (32 - code.len()))
    };
    (0..=u8::MAX).map(|symbol| (word(symbol), symbol)).collect()
});

/// Decodes bit by bit (RFC 7541 §5.2). `None` if the code is invalid.
fn bit_by_bit(code: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut len, mut word) = (Vec::new(), 0, 0);
    for at in 0..code.len() * 8 {
        word = word << 1 | u32::from(code[at / 8] >> (7 - at % 8) & 1);
        len += 1;
        if let Some(symbol) = SYMBOLS.get(&(len, word)) {
            text.push(*symbol);
            (len, word) = (0, 0);
        } else if len >= 30 {
            return None;
        }
    }
    (len < 8 && word == (1 << len) - 1).then_some(text)
}

fuzz_target!(|code: &[u8]| {
    let mut room = vec![0; huffman::decode_room(code.len())];
    let decoded = huffman::decode_into(code, &mut room);
    let text = decoded.map(|decoded| &room[..decoded.len]);
    assert_eq!(text, bit_by_bit(code).as_deref());
    if let (Some(text), Some(true)) = (text, decoded.map(|decoded| decoded.is_plain)) {
        assert!(text.iter().all(|byte| (b' '..0x7f).contains(byte)), "{}", text.escape_ascii());
    }
});
