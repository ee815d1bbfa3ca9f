use crate::h3::qpack::{
    DecoderStream, EncoderStream, QpackDecoder, huffman, write_field, write_field_huffman, write_prefix,
};
use crate::h3::request::{RequestDecoder, RequestItem};
use crate::h3::{Code, ProtocolError, SectionLimits, frame};
use crate::prefixed::{write_integer, write_string};
use crate::section::{RequestHeadBuilder, StreamState};
use crate::{BodyLength, Method, RequestHead, Version};
use proptest::prelude::*;

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(section: &[u8]) -> Result<Pairs, ProtocolError> {
    let mut fields = Vec::new();
    QpackDecoder::new().decode(section, |name, value| {
        fields.push((name.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(fields)
}

#[test]
fn huffman_vectors_of_rfc_7541() {
    for (text, code) in [
        ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..]),
        ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
        ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
        ("302", &[0x64, 0x02]),
    ] {
        let mut out = Vec::new();
        huffman::encode(text.as_bytes(), &mut out);
        assert_eq!(out, code);
        assert_eq!(huffman::encoded_len(text.as_bytes()), code.len());
        let mut back = Vec::new();
        huffman::decode(code, &mut back).unwrap();
        assert_eq!(back, text.as_bytes());
    }
}

#[test]
fn huffman_refuses_bad_padding_and_end_of_string() {
    let decode = |code: &[u8]| huffman::decode(code, &mut Vec::new());
    assert_eq!(decode(&[]), Ok(()));
    assert_eq!(decode(&[0xff; 8]), Err(huffman::InvalidHuffman));
    // A whole byte of padding, zeros as padding, the end-of-string symbol.
    for code in [
        &[0xff][..],
        &[0x64, 0x02, 0xff],
        &[0x60],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x25, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(decode(code), Err(huffman::InvalidHuffman), "{code:x?}");
    }
}

#[test]
fn the_literal_of_rfc_9204_appendix_b_1() {
    let section = b"\x00\x00\x51\x0b/index.html";
    assert_eq!(decode(section).unwrap(), [(b":path".to_vec(), b"/index.html".to_vec())]);
    let mut out = Vec::new();
    write_prefix(&mut out);
    write_field(&mut out, b":path", b"/index.html");
    assert_eq!(out, section);
}

#[test]
fn static_entries_are_found() {
    let mut out = Vec::new();
    for (name, value, code) in [
        (&b":status"[..], &b"200"[..], &[0xd9][..]),
        (b":status", b"425", &[0xff, 0x07]),
        (b"Content-Type", b"application/json", &[0xee]),
        (b"x-frame-options", b"sameorigin", &[0xff, 0x23]),
        (b"server", b"x", &[0x5f, 0x4d, 0x01, b'x']),
        (b"x", b"y", &[0x21, b'x', 0x01, b'y']),
    ] {
        out.clear();
        write_field(&mut out, name, value);
        assert_eq!(out, code, "{}", name.escape_ascii());
    }
}

#[test]
fn sections_that_cannot_be_decoded() {
    let failed = Err(ProtocolError::Connection(Code::QPACK_DECOMPRESSION_FAILED));
    for (what, section) in [
        ("empty", &b""[..]),
        ("no base", b"\x00"),
        ("required insert count", b"\x01\x00"),
        ("negative base", b"\x00\x80"),
        ("dynamic index", b"\x00\x00\x80"),
        ("index after the base", b"\x00\x00\x10"),
        ("name of the dynamic table", b"\x00\x00\x40\x00"),
        ("name after the base", b"\x00\x00\x00\x00"),
        ("static index 99", b"\x00\x00\xff\x24"),
        ("static name 99", b"\x00\x00\x5f\x54\x00"),
        ("no value", b"\x00\x00\x51"),
        ("short value", b"\x00\x00\x51\x05/"),
        ("short name", b"\x00\x00\x23ab"),
        ("bad Huffman code", b"\x00\x00\x51\x81\x60"),
        ("endless integer", b"\x00\x00\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
        ("integer of 63 bits", b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("unfinished integer", b"\x00\x00\xff\x80"),
    ] {
        assert_eq!(decode(section).map(drop), failed, "{what}");
    }
}

#[test]
fn instructions_that_need_a_table_are_refused() {
    let wrong = Err(ProtocolError::Connection(Code::QPACK_ENCODER_STREAM_ERROR));
    for (what, input) in [
        ("capacity", &b"\x21"[..]),
        ("large capacity", b"\x3f\xe1\x1f"),
        ("insert with a name reference", b"\xc1\x01a"),
        ("insert with a literal name", b"\x41a\x01b"),
        ("duplicate", b"\x00"),
    ] {
        assert_eq!(EncoderStream::new().feed(input), wrong, "{what}");
    }
    assert_eq!(EncoderStream::new().feed(b"\x20\x20"), Ok(()));
    let mut stream = EncoderStream::new();
    assert_eq!(stream.feed(b"\x3f"), Ok(()));
    assert!(stream.is_truncated());
    assert_eq!(stream.feed(b"\x00"), wrong, "31 in two bytes is a capacity, too");

    let wrong = Err(ProtocolError::Connection(Code::QPACK_DECODER_STREAM_ERROR));
    for (what, input) in [
        ("acknowledgment", &b"\x84"[..]),
        ("increment", b"\x01"),
        ("increment of nothing", b"\x00"),
        ("endless cancellation", b"\x7f\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
    ] {
        assert_eq!(DecoderStream::new().feed(input), wrong, "{what}");
    }
    let mut stream = DecoderStream::new();
    assert_eq!(stream.feed(b"\x44\x7f"), Ok(()));
    assert!(stream.is_truncated());
    assert_eq!(stream.feed(b"\x01"), Ok(()));
    assert!(!stream.is_truncated());
}

proptest! {
    #[test]
    fn huffman_is_undone(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (mut code, mut back) = (Vec::new(), Vec::new());
        huffman::encode(&text, &mut code);
        huffman::decode(&code, &mut back).unwrap();
        prop_assert_eq!(back, text);
    }

    #[test]
    fn fields_are_undone(
        fields in proptest::collection::vec(("[a-z0-9:-]{1,60}", proptest::collection::vec(any::<u8>(), 0..200)), 0..20),
        huffman in any::<bool>(),
    ) {
        let mut section = Vec::new();
        write_prefix(&mut section);
        for (name, value) in &fields {
            let write = if huffman { write_field_huffman } else { write_field };
            write(&mut section, name.as_bytes(), value);
        }
        let expected: Vec<_> = fields.into_iter().map(|(n, v)| (n.into_bytes(), v)).collect();
        prop_assert_eq!(decode(&section).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(section in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&section);
        let _ = EncoderStream::new().feed(&section);
        let _ = DecoderStream::new().feed(&section);
    }

    #[test]
    fn instructions_do_not_depend_on_how_they_are_cut(
        input in proptest::collection::vec(prop_oneof![Just(0x20u8), Just(0x7f), Just(0x80), 0x40u8..0x50, any::<u8>()], 0..30),
        at in 0usize..30,
    ) {
        let at = at.min(input.len());
        let mut whole = DecoderStream::new();
        let mut cut = DecoderStream::new();
        let a = whole.feed(&input);
        let b = cut.feed(&input[..at]).and_then(|()| cut.feed(&input[at..]));
        prop_assert_eq!(a, b);
        prop_assert_eq!(whole.is_truncated(), cut.is_truncated());
    }
}

/// Names of fields, known and unknown, valid and not.
const NAMES: [&str; 17] = [
    ":method",
    ":path",
    ":authority",
    ":scheme",
    ":status",
    "accept",
    "cookie",
    "host",
    "content-length",
    "te",
    "sec-fetch-mode",
    "x-forwarded-for",
    "connection",
    "x-other",
    "Accept",
    "x_other",
    "x other",
];

/// Returns the head of another request, all of whose parts have a value.
fn used_head() -> RequestHead {
    let mut head = RequestHead {
        method: Method::Other("PURGE".into()),
        authority: "used.test:1".into(),
        target: "/used".into(),
        upgrade: Some("used".into()),
        body: BodyLength::Exact(7),
        ..RequestHead::new(Version::Http11)
    };
    head.fields.push(b"TE", b"trailers");
    head.fields.push(b"X_Used", b"1");
    head
}

proptest! {
    /// A head that is built of decoded lines is that of their names and values, whatever the encoding of each.
    #[test]
    fn heads_of_lines_and_of_fields(
        begin: bool,
        lines in prop::collection::vec(
            (
                prop::sample::select(NAMES.to_vec()),
                prop_oneof![
                    4 => "[ -~]{0,40}",
                    2 => prop::sample::select(vec!["GET", "/", "/a?b", "a.test", "https", "5", "trailers", "a=1"])
                        .prop_map(str::to_owned),
                    1 => "[ -~]{0,4}[\t\r\u{7f}\u{e9}\u{0}][ -~]{0,4}",
                ],
                0..4,
            ),
            0..8,
        ),
        ended: bool,
    ) {
        let usual = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
        let usual = usual.into_iter().filter(|_| begin).map(|(name, value)| (name, value.to_owned(), 0));
        let mut section = Vec::new();
        write_prefix(&mut section);
        let mut built = RequestHead::new(Version::Http3);
        let mut builder = RequestHeadBuilder::new(&mut built, Version::Http3, SectionLimits::default());
        let mut expected = Ok(());
        for (name, value, how) in usual.chain(lines) {
            let (name, value) = (name.as_bytes(), value.as_bytes());
            match how {
                0 => write_field(&mut section, name, value),
                1 => {
                    write_integer(&mut section, 0x20, 3, name.len());
                    section.extend_from_slice(name);
                    write_string(&mut section, value);
                }
                _ => write_field_huffman(&mut section, name, value),
            }
            // The writers convert names to lower case, except for the plain literal.
            let lower = name.to_ascii_lowercase();
            let name = if how == 1 { name } else { &lower };
            expected = expected.and_then(|()| builder.field(name, value));
        }
        let state = if ended { StreamState::Ended } else { StreamState::Open };
        let expected = expected.and_then(|()| builder.finish(state)).map_err(ProtocolError::from);
        let expected = expected.map(|()| built);
        let mut wire = Vec::new();
        frame::write_header(&mut wire, frame::HEADERS, section.len() as u64);
        wire.append(&mut section);
        // At once, and in two parts; into a new head, and into one that was used.
        let mut qpack = QpackDecoder::new();
        for (cut, mut head) in [(0, RequestHead::new(Version::Http3)), (wire.len() / 2, used_head())] {
            let mut stream = RequestDecoder::new(SectionLimits::default());
            prop_assert_eq!(stream.step(&wire[..cut]), Ok((cut, RequestItem::More)));
            prop_assert_eq!(stream.step(&wire[cut..]), Ok((wire.len() - cut, RequestItem::HeadReady)));
            let decoded = stream.head(&wire[cut..], &mut qpack, state, &mut head);
            prop_assert_eq!(decoded.map(|()| head), expected.clone());
        }
    }

    /// Several cookies are one field.
    #[test]
    fn cookies_are_joined(cookies in prop::collection::vec("[a-z]=[a-z0-9]{1,9}", 1..5)) {
        let mut head = used_head();
        let mut builder = RequestHeadBuilder::new(&mut head, Version::Http3, SectionLimits::default());
        for (name, value) in [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")] {
            builder.field(name.as_bytes(), value.as_bytes()).unwrap();
        }
        for (at, cookie) in cookies.iter().enumerate() {
            builder.field(format!("x-{at}").as_bytes(), b"1").unwrap();
            builder.field(b"cookie", cookie.as_bytes()).unwrap();
        }
        builder.finish(StreamState::Ended).unwrap();
        let fields = head.fields;
        prop_assert_eq!(fields.len(), cookies.len() + 1);
        let joined = cookies.join("; ");
        prop_assert_eq!(fields.get_named(b"cookie"), Some(joined.as_bytes()));
        for at in 0..cookies.len() {
            let name = format!("x-{at}");
            prop_assert!(fields.get_named(name.as_bytes()).is_some(), "{}", name);
        }
    }
}
