//! The first flight of an untrusted client: headers, frames, and the ClientHello.
#![no_main]

use edge_http::h3::client_hello;
use edge_http::h3::initial::{CryptoBuffer, long_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(header) = long_header(data)
        && let Some((number_at, end)) = header.extent(data)
    {
        assert!(number_at <= end && end <= data.len());
    }
    let mut crypto = CryptoBuffer::new();
    assert!(client_hello::names(data).all(|name| !name.is_empty() && name.len() <= data.len()));
    if crypto.take_frames(data).is_ok() {
        assert!(crypto.parts().all(|part| !part.is_empty()));
        let _ = client_hello::parse(crypto.contiguous());
        // A repetition changes nothing.
        let before = crypto.contiguous().to_vec();
        assert!(crypto.take_frames(data).is_ok());
        assert_eq!(crypto.contiguous(), before);
    }
    if let Ok(Some(hello)) = client_hello::parse(data) {
        // Bytes after a complete one do not matter.
        let more = [data, b"x"].concat();
        assert_eq!(client_hello::parse(&more), Ok(Some(hello)));
    }
});
