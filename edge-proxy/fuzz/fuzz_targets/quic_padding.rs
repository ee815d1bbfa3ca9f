//! Payloads of QUIC packets, whose padding is removed.
#![no_main]

use edge_http::h3::padding;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut payload = data.to_vec();
    let len = padding::remove(&mut payload);
    assert!(len <= data.len() && (len > 0 || data.is_empty()));
    // Only zeros disappear.
    let others = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>();
    assert_eq!(others(&payload[..len]), others(data));
});
