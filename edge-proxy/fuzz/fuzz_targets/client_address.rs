//! Whatever a header contains, only verified addresses are returned.
#![no_main]

use edge_http::Fields;
use edge_policy::tailnet::TailnetIdentity;
use edge_policy::client_address::{MAX_HOPS, restore};
use edge_policy::config::{Trust, TrustedHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let peer = "100.64.0.2:1".parse().unwrap();
    for header in [TrustedHeader::XForwardedFor, TrustedHeader::Forwarded, TrustedHeader::XRealIp, TrustedHeader::Custom("CF-Connecting-IP".into())] {
        let trust = Trust { ranges: vec!["100.64.0.0/10".parse().unwrap()], header, ..Trust::default() };
        // One line per field, all with the same name.
        let fields: Fields = bytes.split(|b| *b == b'\n').map(|line| (trust.header.name().as_bytes(), line)).collect();
        let client = restore(&trust, peer, None, TailnetIdentity::Unasked, &fields);
        assert!(client.via.len() <= MAX_HOPS);
        assert!(client.via.iter().all(|hop| trust.ranges[0].contains(hop)));
        assert_eq!(client.chain().last(), Some(peer.ip()));
    }
});
