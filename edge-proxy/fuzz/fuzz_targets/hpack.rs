//! The field sections of one connection, split at zero bytes: any decodable section is the same after encoding and
//! decoding again.
#![no_main]

use edge_http::h2::hpack::{HpackDecoder, InvalidBlock, write_field, write_no_table};
use libfuzzer_sys::fuzz_target;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(decoder: &mut HpackDecoder, section: &[u8]) -> Result<Pairs, InvalidBlock> {
    let mut fields = Vec::new();
    // A section of indexes alone can reference an entry of the table as often as it has bytes.
    let mut left = 1 << 20;
    decoder.decode(section, |name, value| {
        if let Some(rest) = usize::checked_sub(left, name.len() + value.len() + 32) {
            left = rest;
            fields.push((name.to_vec(), value.to_vec()));
        }
    })?;
    Ok(fields)
}

fuzz_target!(|data: &[u8]| {
    let mut decoder = HpackDecoder::new();
    for section in data.split(|byte| *byte == 0) {
        let Ok(mut fields) = decode(&mut decoder, section) else { return };
        fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        let mut again = Vec::new();
        write_no_table(&mut again);
        fields.iter().for_each(|(name, value)| write_field(&mut again, name, value));
        assert_eq!(decode(&mut HpackDecoder::new(), &again).as_ref(), Ok(&fields));
    }
});
