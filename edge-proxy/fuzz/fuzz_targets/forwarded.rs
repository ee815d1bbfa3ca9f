//! A parsed line has only what the grammar allows, and never more elements than commas allow.
#![no_main]

use edge_http::forwarded::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(elements) = parse(bytes) {
        assert!(!elements.is_empty());
        assert!(elements.len() <= 1 + bytes.iter().filter(|b| **b == b',').count());
    }
});
