//! A parsed header is the same when it is formatted and parsed again, with what it says of the connection, and no prefix of it is
//! accepted.
#![no_main]

use edge_http::proxy_protocol::{parse, v1, v2};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((header, used))) = parse(bytes) else { return };
    assert!(used <= bytes.len());
    for end in 0..used {
        assert_eq!(parse(&bytes[..end]), Ok(None));
    }
    for write in [v1::write, v2::write] {
        let mut written = Vec::new();
        write(&header, &mut written);
        assert_eq!(parse(&written), Ok(Some((header, written.len()))));
    }
    if bytes[0] != b'P' {
        let said = v2::extensions(&bytes[..used]);
        let mut written = Vec::new();
        v2::write_with(&header, &said, &mut written);
        assert_eq!(parse(&written), Ok(Some((header, written.len()))));
        assert_eq!(v2::extensions(&written), said);
    }
});
