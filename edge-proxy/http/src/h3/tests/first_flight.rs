use crate::h3::client_hello::{ClientHello, MalformedHello, names as names_in, parse};
use crate::h3::initial::{CryptoBuffer, LongPacketType, long_header};
use crate::h3::varint;
use proptest::prelude::*;

fn vector16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    vector16(&[&[0][..], &vector16(name)].concat())
}

fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    let mut all = Vec::new();
    for (kind, content) in extensions {
        all.extend(kind.to_be_bytes());
        all.extend(vector16(content));
    }
    body.extend(vector16(&all));
    [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
}

#[test]
fn names() {
    let message = hello(&[(43, vec![2, 3, 4]), (0, server_name(b"example.org")), (16, vec![0, 0])]);
    assert_eq!(parse(&message).map(|hello| hello.map(|hello| hello.sni)), Ok(Some(Some("example.org"))));
    assert_eq!(parse(&hello(&[])), Ok(Some(ClientHello::default())));
    for cut in 0..message.len() {
        assert_eq!(parse(&message[..cut]), Ok(None));
    }
    let two = vector16(&[&[0, 0, 1, b'a'][..], &[0, 0, 1, b'b']].concat());
    for wrong in [
        hello(&[(0, server_name(b""))]),
        hello(&[(0, server_name(b"a b"))]),
        hello(&[(0, server_name(b"a\0"))]),
        hello(&[(0, server_name("\u{e4}".as_bytes()))]),
        hello(&[(0, two)]),
        hello(&[(0, vec![])]),
        hello(&[(0, vector16(&[1, 0, 1, b'a']))]),
        hello(&[(0, server_name(b"a")), (0, server_name(b"b"))]),
        vec![2, 0, 0, 0],
        vec![1, 0, 0, 3, 3, 3, 0],
    ] {
        assert_eq!(parse(&wrong), Err(MalformedHello), "{wrong:?}");
    }
}

fn crypto(offset: u64, data: &[u8]) -> Vec<u8> {
    let mut out = vec![6];
    varint::write(&mut out, offset);
    varint::write(&mut out, data.len() as u64);
    out.extend_from_slice(data);
    out
}

#[test]
fn frames_of_an_initial() {
    let mut buffer = CryptoBuffer::new();
    buffer
        .take_frames(&[&crypto(3, b"lo")[..], &[1, 0, 0, 2, 0, 0, 0, 0], &crypto(0, b"he")].concat())
        .unwrap();
    assert_eq!(buffer.contiguous(), b"he");
    buffer.take_frames(&crypto(1, b"el")).unwrap();
    assert_eq!(buffer.contiguous(), b"hello");
    for (what, wrong) in [
        ("another version of a byte", crypto(4, b"p!")),
        ("far away", crypto(20_000, b"x")),
        ("very far away", crypto(varint::MAX, b"x")),
        ("cut", crypto(5, b"xyz")[..5].to_vec()),
        ("CONNECTION_CLOSE", vec![0x1c, 0, 0, 0]),
        ("STREAM", vec![0x08, 0]),
        ("HANDSHAKE_DONE", vec![0x1e]),
        ("endless ACK", vec![2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]),
    ] {
        assert_eq!(buffer.clone().take_frames(&wrong), Err(MalformedHello), "{what}");
    }
    let holes: Vec<u8> = (0..200).flat_map(|i| crypto(2 * i, b"x")).collect();
    assert_eq!(CryptoBuffer::new().take_frames(&holes), Err(MalformedHello), "too many holes");
}

#[test]
fn the_long_header_of_rfc_9001() {
    let mut packet = b"\xc3\0\0\0\x01\x08\x83\x94\xc8\xf0\x3e\x51\x57\x08\0\0\x44\x9e".to_vec();
    assert_eq!(long_header(&packet).unwrap().extent(&packet), None, "not whole");
    packet.resize(1200, 0);
    let header = long_header(&packet).unwrap();
    assert_eq!((header.version, header.kind), (1, LongPacketType::Initial));
    assert_eq!((header.destination, header.source), (&packet[6..14], &[][..]));
    assert_eq!(header.extent(&packet), Some((18, 1200)));
    packet[0] = 0x43;
    assert_eq!(long_header(&packet), None);
}

proptest! {
    /// Wherever a ClientHello is cut: the name is found in the part that has it whole, and in no other.
    #[test]
    fn a_name_is_found_in_a_part(name in "[a-z0-9.-]{1,40}", first in 0usize..400, second in 0usize..400, key in 0usize..300) {
        let message = hello(&[(51, vec![9; key]), (0, server_name(name.as_bytes())), (16, vec![7; key / 2])]);
        let (first, second) = (first.min(message.len()), second.min(message.len()));
        let (from, to) = (first.min(second), first.max(second));
        let extension = [&[0, 0][..], &vector16(&server_name(name.as_bytes()))].concat();
        let at = message.windows(extension.len()).position(|window| window == extension).unwrap();
        let whole = from <= at && at + extension.len() <= to;
        let found: Vec<_> = names_in(&message[from..to]).collect();
        prop_assert_eq!(found, if whole { vec![name.as_str()] } else { vec![] });
    }

    #[test]
    fn a_name_is_found(name in "[a-z0-9.-]{1,60}", before in proptest::collection::vec((1u16.., proptest::collection::vec(any::<u8>(), 0..30)), 0..5)) {
        let mut extensions = before;
        extensions.push((0, server_name(name.as_bytes())));
        let message = hello(&extensions);
        prop_assert_eq!(parse(&message).map(|hello| hello.map(|hello| hello.sni)), Ok(Some(Some(name.as_str()))));
    }

    #[test]
    fn pieces_in_any_order(
        (message, cuts) in proptest::collection::vec(any::<u8>(), 1..500).prop_flat_map(|message| {
            let len = message.len();
            let pieces = proptest::collection::vec((0..len, 1usize..80), 0..30);
            (Just(message), pieces)
        }),
    ) {
        let mut buffer = CryptoBuffer::new();
        let mut have = vec![false; message.len()];
        for (start, len) in cuts {
            let end = (start + len).min(message.len());
            have[start..end].fill(true);
            buffer.take_frames(&crypto(start as u64, &message[start..end])).unwrap();
        }
        let whole = have.iter().take_while(|b| **b).count();
        prop_assert_eq!(buffer.contiguous(), &message[..whole]);
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        let _ = parse(&[&[1, 0][..], &bytes].concat());
        let _ = CryptoBuffer::new().take_frames(&bytes);
        if let Some(header) = long_header(&bytes) {
            let _ = header.extent(&bytes);
        }
    }
}
