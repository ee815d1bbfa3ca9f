//! Heads and chunks from untrusted peers: never a panic, and accepted input is the same when it is parsed again.
#![no_main]

use edge_http::h1::{ChunkedDecoder, HeadLimits, request, response};
use edge_http::{Method, RequestHead, ResponseHead, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = HeadLimits::default();
    let mut head = RequestHead::new(Version::Http11);
    if let Ok(Some(found)) = request(bytes, &limits, &mut head) {
        let mut again = RequestHead::new(Version::Http11);
        assert_eq!(request(&bytes[..found.used], &limits, &mut again), Ok(Some(found)));
        assert_eq!(head, again);
    }
    let _ = response(bytes, &limits, &Method::Get, &mut ResponseHead::default());
    let mut chunks = ChunkedDecoder::new();
    let mut at = 0;
    while let Ok(step) = chunks.decode(&bytes[at..]) {
        let done = step.framing + step.data;
        chunks.consume(step.data);
        at += done;
        if step.ended || done == 0 {
            break;
        }
    }
});
