//! A decodable section is the same after encoding and decoding again; instructions parse the same however they are
//! split; Huffman codes are inverted.
#![no_main]

use edge_http::h3::ProtocolError;
use edge_http::h3::qpack::{
    DecoderStream, EncoderStream, QpackDecoder, huffman, write_field, write_field_huffman, write_prefix,
};
use libfuzzer_sys::fuzz_target;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(section: &[u8]) -> Result<Pairs, ProtocolError> {
    let mut fields = Vec::new();
    QpackDecoder::new().decode(section, |name, value| {
        fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(fields)
}

fuzz_target!(|data: &[u8]| {
    if let Ok(mut fields) = decode(data) {
        fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        for write in [write_field, write_field_huffman] {
            let mut section = Vec::new();
            write_prefix(&mut section);
            fields.iter().for_each(|(name, value)| write(&mut section, name, value));
            assert_eq!(decode(&section).as_ref(), Ok(&fields));
        }
    }
    let mut text = Vec::new();
    if huffman::decode(data, &mut text).is_ok() {
        let mut code = Vec::new();
        huffman::encode(&text, &mut code);
        assert_eq!(code, data, "there is one code for a text");
    }
    let at = data.first().map_or(0, |b| usize::from(*b) % data.len());
    let (mut whole, mut cut) = (EncoderStream::new(), EncoderStream::new());
    assert_eq!(whole.feed(data), cut.feed(&data[..at]).and_then(|()| cut.feed(&data[at..])));
    let (mut whole, mut cut) = (DecoderStream::new(), DecoderStream::new());
    assert_eq!(whole.feed(data), cut.feed(&data[..at]).and_then(|()| cut.feed(&data[at..])));
});
