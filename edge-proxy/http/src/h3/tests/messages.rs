use crate::h3::qpack::{QpackDecoder, write_field, write_prefix};
use crate::h3::request::{RequestDecoder, RequestItem};
use crate::h3::response::{write_head, write_trailers};
use crate::h3::{Code, ProtocolError, SectionLimits, frame, varint};
use crate::section::StreamState;
use crate::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead, Version};
use proptest::prelude::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

const GET: Pairs = &[(":method", "GET"), (":scheme", "https"), (":authority", "example.org"), (":path", "/")];

fn section(fields: Pairs) -> Vec<u8> {
    let mut out = Vec::new();
    write_prefix(&mut out);
    for (name, value) in fields {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            assert!(name.len() < 7 && value.len() < 127, "a literal of one byte each");
            out.push(0x20 | name.len() as u8);
            out.extend_from_slice(name.as_bytes());
            out.push(value.len() as u8);
            out.extend_from_slice(value.as_bytes());
        } else {
            write_field(&mut out, name.as_bytes(), value.as_bytes());
        }
    }
    out
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_header(&mut out, kind, payload.len() as u64);
    out.extend_from_slice(payload);
    out
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    head: RequestHead,
    content: Vec<u8>,
    trailers: Option<Fields>,
}

/// Decodes a whole stream, in pieces of this size.
fn read(stream: &[u8], step: usize) -> Result<Request, ProtocolError> {
    let mut decoder = RequestDecoder::new(SectionLimits::default());
    let mut qpack = QpackDecoder::new();
    let (mut head, mut content, mut trailers) = (None, Vec::new(), None);
    let mut done = 0;
    for mut part in stream.chunks(step) {
        while !part.is_empty() {
            let (used, item) = decoder.step(part)?;
            let input = part;
            done += used;
            part = &part[used..];
            match item {
                RequestItem::More => {}
                RequestItem::HeadReady => {
                    let state = if done == stream.len() { StreamState::Ended } else { StreamState::Open };
                    let mut decoded = RequestHead::new(Version::Http11);
                    decoder.head(input, &mut qpack, state, &mut decoded)?;
                    head = Some(decoded);
                }
                RequestItem::Data(len) => {
                    content.extend_from_slice(&part[..len]);
                    part = &part[len..];
                    done += len;
                }
                RequestItem::Trailers(fields) => trailers = Some(fields),
            }
        }
    }
    decoder.finish()?;
    Ok(Request { head: head.expect("no end without a head"), content, trailers })
}

fn head(fields: Pairs) -> Result<RequestHead, ProtocolError> {
    read(&frame(frame::HEADERS, &section(fields)), 7).map(|request| request.head)
}

fn with<'a>(base: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [base, more].concat()
}

#[test]
fn a_request() {
    let fields =
        with(GET, &[("accept", "*/*"), ("cookie", "a=1"), ("x", ""), ("cookie", "b=2"), ("te", "trailers")]);
    let head = head(&fields).unwrap();
    assert_eq!(head.method, Method::Get);
    assert_eq!((head.authority.as_str(), head.target.as_str()), ("example.org", "/"));
    assert_eq!(head.body, BodyLength::None);
    let seen: Vec<_> = head.fields.iter().map(|field| (field.name, field.value)).collect();
    let expected: [(&[u8], &[u8]); 4] =
        [(b"accept", b"*/*"), (b"cookie", b"a=1; b=2"), (b"x", b""), (b"te", b"trailers")];
    assert_eq!(seen, expected);
}

#[test]
fn the_authority() {
    let no_authority = [(":method", "GET"), (":scheme", "https"), (":path", "/")];
    fn only<'a>(base: &[(&'a str, &'a str)], host: &'a str) -> Vec<(&'a str, &'a str)> {
        with(base, &[("host", host)])
    }
    let host = |host: &'static str| only(&no_authority, host);
    assert_eq!(head(&host("example.org:8443")).unwrap().authority, "example.org:8443");
    assert_eq!(head(&host("example.org:")).unwrap().authority, "example.org");
    assert_eq!(head(&with(GET, &[("host", "Example.org:")])).unwrap().authority, "example.org");
    let both = head(&with(GET, &[("host", "EXAMPLE.org")])).unwrap();
    assert_eq!(both.authority, "example.org");
    assert!(!both.fields.contains(Name::Host));
    for wrong in [
        no_authority.to_vec(),
        host(""),
        host("user@example.org"),
        host("a b"),
        host(":"),
        host("example.org::"),
        with(GET, &[("host", "other.example:")]),
        with(GET, &[("host", "other.example")]),
        with(GET, &[("host", "example.org"), ("host", "example.org")]),
        with(&host("example.org"), &[("host", "example.org")]),
        with(&no_authority, &[(":authority", "")]),
        with(&no_authority, &[(":authority", "https://example.org")]),
    ] {
        assert_eq!(head(&wrong), Err(ProtocolError::MESSAGE), "{wrong:?}");
    }
}

#[test]
fn malformed_heads() {
    let post = |more: &[(&'static str, &'static str)]| with(GET, more);
    let mut cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("unknown pseudo-header", post(&[(":x", "y")])),
        (":status", post(&[(":status", "200")])),
        ("a method twice", post(&[(":method", "GET")])),
        ("a path twice", post(&[(":path", "/")])),
        ("a scheme twice", post(&[(":scheme", "https")])),
        ("an authority twice", post(&[(":authority", "example.org")])),
        (
            "late pseudo-header",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                ("a", "b"),
                (":path", "/"),
                (":authority", "example.org"),
            ],
        ),
        ("upper case", post(&[("X-A", "b")])),
        ("no name", post(&[("", "b")])),
        ("a space in a name", post(&[("a b", "c")])),
        ("a colon in a name", post(&[("a:", "c")])),
        ("line feed", post(&[("a", "b\nc: d")])),
        ("carriage return", post(&[("a", "b\rc")])),
        ("NUL", post(&[("a", "b\0c")])),
        ("blank before a value", post(&[("a", " b")])),
        ("tab after a value", post(&[("a", "b\t")])),
        ("te", post(&[("te", "gzip")])),
        ("te of two", post(&[("te", "trailers, gzip")])),
        ("a length with a sign", post(&[("content-length", "+5")])),
        ("a length with a blank", post(&[("content-length", "5 5")])),
        ("a list of lengths", post(&[("content-length", "0,0")])),
        ("an empty length", post(&[("content-length", "")])),
        ("a length too long", post(&[("content-length", "99999999999999999999")])),
        ("two lengths", post(&[("content-length", "0"), ("content-length", "0")])),
        ("a length and no content", post(&[("content-length", "1")])),
        ("a protocol without CONNECT", post(&[(":protocol", "websocket")])),
    ];
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        cases.push((name, with(GET, &[(name, "x")])));
    }
    for i in 0..GET.len() {
        let mut fields = GET.to_vec();
        fields.remove(i);
        cases.push(("a pseudo-header missing", fields));
    }
    for (i, value) in [
        (0, ""),
        (0, "G T"),
        (1, ""),
        (1, "http"),
        (1, "ftp"),
        (3, ""),
        (3, "*"),
        (3, "a"),
        (3, "/a b"),
        (3, "/#x"),
        (3, "/\u{e4}"),
    ] {
        let mut fields = GET.to_vec();
        fields[i].1 = value;
        cases.push(("a pseudo-header's value", fields));
    }
    for (what, fields) in cases {
        assert_eq!(head(&fields), Err(ProtocolError::MESSAGE), "{what}: {fields:?}");
    }
    let options =
        [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "example.org"), (":path", "*")];
    assert_eq!(head(&options).unwrap().target, "*");
}

#[test]
fn connect() {
    let websocket = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "example.org"),
        (":path", "/chat"),
    ];
    let request = read(&[frame(1, &section(&websocket)), frame(0, b"abc")].concat(), 5).unwrap();
    assert_eq!(request.head.method, Method::Connect);
    assert_eq!(request.head.upgrade.as_deref(), Some("websocket"));
    assert_eq!(request.head.body, BodyLength::Unknown);
    assert_eq!(request.content, b"abc");
    assert_eq!(
        read(&[frame(1, &section(&websocket)), frame(1, &section(&[]))].concat(), 5),
        Err(ProtocolError::Connection(Code::H3_FRAME_UNEXPECTED)),
        "nothing but DATA is in a tunnel",
    );
    let plain = [(":method", "CONNECT"), (":authority", "example.org:443")];
    assert_eq!(head(&plain), Err(ProtocolError::Stream(Code::H3_REQUEST_REJECTED)));
    for i in 1..websocket.len() {
        let mut fields = websocket.to_vec();
        fields.remove(i);
        assert_eq!(head(&fields), Err(ProtocolError::MESSAGE), "{fields:?}");
    }
    assert_eq!(head(&with(&websocket, &[("content-length", "0")])), Err(ProtocolError::MESSAGE));
}

#[test]
fn content_and_its_length() {
    let stream = |length: &str, frames: &[&[u8]]| {
        let fields = with(GET, &[("content-length", length)]);
        let mut out = frame(frame::HEADERS, &section(&fields));
        frames.iter().for_each(|data| out.extend(frame(frame::DATA, data)));
        read(&out, 3).map(|request| request.content)
    };
    assert_eq!(stream("5", &[b"hel", b"", b"lo"]).unwrap(), b"hello");
    assert_eq!(stream("0", &[]).unwrap(), b"");
    for (length, frames) in [
        ("5", &[&b"hell"[..]][..]),
        ("5", &[b"hello", b"!"]),
        ("5", &[b"hello!"]),
        ("0", &[b"x"]),
        ("5", &[]),
    ] {
        assert_eq!(stream(length, frames), Err(ProtocolError::MESSAGE), "{length} {frames:?}");
    }
}

#[test]
fn the_order_of_frames() {
    let get = frame(frame::HEADERS, &section(GET));
    let trailers = frame(
        frame::HEADERS,
        &section(&[("x-sum", "1"), ("content-length", "9"), ("x-forwarded-for", "::1")]),
    );
    let data = frame(frame::DATA, b"data");
    let grease = frame(0x21, b"grease");
    let request = read(&[&*grease, &get, &grease, &data, &grease, &trailers, &grease].concat(), 4).unwrap();
    let kept = request.trailers.unwrap();
    assert_eq!(kept.len(), 1, "only what may be a trailer: {kept:?}");
    assert_eq!(kept.get_named(b"x-sum"), Some(&b"1"[..]));

    let unexpected = ProtocolError::Connection(Code::H3_FRAME_UNEXPECTED);
    let incomplete = ProtocolError::Stream(Code::H3_REQUEST_INCOMPLETE);
    for (what, stream, fault) in [
        ("DATA first", data.clone(), unexpected),
        ("DATA after trailers", [&*get, &trailers, &data].concat(), unexpected),
        ("HEADERS after trailers", [&*get, &trailers, &trailers].concat(), unexpected),
        ("SETTINGS", [&*get, &frame(4, b"")].concat(), unexpected),
        ("GOAWAY", [&*get, &frame(7, b"\0")].concat(), unexpected),
        ("MAX_PUSH_ID", frame(0xd, b"\0"), unexpected),
        ("CANCEL_PUSH", frame(3, b"\0"), unexpected),
        ("PUSH_PROMISE", frame(5, b"\0"), unexpected),
        ("HTTP/2's PRIORITY", frame(2, b""), unexpected),
        ("nothing", vec![], incomplete),
        ("grease alone", grease.clone(), incomplete),
        ("half a frame", get[..get.len() - 1].to_vec(), ProtocolError::Connection(Code::H3_FRAME_ERROR)),
        ("half a header", [&*get, &[0][..]].concat(), ProtocolError::Connection(Code::H3_FRAME_ERROR)),
        ("half a DATA frame", [&*get, &data[..3]].concat(), ProtocolError::Connection(Code::H3_FRAME_ERROR)),
        (
            "pseudo-header in trailers",
            [&*get, &frame(1, &section(&[(":path", "/")]))].concat(),
            ProtocolError::MESSAGE,
        ),
        (
            "te in trailers",
            [&*get, &frame(1, &section(&[("connection", "x")]))].concat(),
            ProtocolError::MESSAGE,
        ),
        ("no section", frame(1, b""), ProtocolError::Connection(Code::QPACK_DECOMPRESSION_FAILED)),
        (
            "a flood of nothing",
            [get.clone(), frame(0, b"").repeat(300)].concat(),
            ProtocolError::Connection(Code::H3_EXCESSIVE_LOAD),
        ),
        ("a flood of grease", grease.repeat(300), ProtocolError::Connection(Code::H3_EXCESSIVE_LOAD)),
    ] {
        assert_eq!(read(&stream, 5), Err(fault), "{what}");
        assert_eq!(read(&stream, 1 << 20), Err(fault), "{what}, at once");
    }
}

#[test]
fn limits() {
    let long = "x".repeat(16 * 1024 - 300);
    assert!(head(&with(GET, &[("a", &long)])).is_ok());
    let long = "x".repeat(16 * 1024);
    assert_eq!(head(&with(GET, &[("a", &long)])), Err(ProtocolError::TooLarge));
    let many: Vec<_> = std::iter::repeat_n(("a", "b"), 125).collect();
    assert_eq!(head(&with(GET, &many)), Err(ProtocolError::TooLarge));
    assert!(head(&with(GET, &many[1..])).is_ok());
    // Static references are small on the wire but not in memory.
    let bomb: Vec<_> = std::iter::repeat_n(("accept", "*/*"), 400).collect();
    assert_eq!(head(&with(GET, &bomb)), Err(ProtocolError::TooLarge));
}

fn response(bytes: &[u8]) -> Vec<(String, String)> {
    let (kind, a) = varint::read(bytes).unwrap();
    let (len, b) = varint::read(&bytes[a..]).unwrap();
    assert_eq!((kind, len as usize), (frame::HEADERS, bytes.len() - a - b));
    let mut fields = Vec::new();
    QpackDecoder::new()
        .decode(&bytes[a + b..], |name, value| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            fields.push((text(name), text(value)));
            Ok(())
        })
        .unwrap();
    fields
}

#[test]
fn responses() {
    let mut head = ResponseHead::new(200);
    for (name, value) in [
        ("Content-Type", "text/css"),
        ("Connection", "x"),
        ("Keep-Alive", "y"),
        ("X-Y", "z"),
        ("Upgrade", "h2c"),
        ("Transfer-Encoding", "chunked"),
    ] {
        head.fields.push(name.as_bytes(), value.as_bytes());
    }
    head.body = BodyLength::Exact(1_234_567);
    let mut out = Vec::new();
    write_head(&mut out, &head);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        response(&out),
        [
            pair(":status", "200"),
            pair("content-type", "text/css"),
            pair("x-y", "z"),
            pair("content-length", "1234567")
        ]
    );
    for status in [103, 204] {
        let mut out = Vec::new();
        write_head(&mut out, &ResponseHead { status, fields: Fields::new(), body: BodyLength::Exact(0) });
        assert_eq!(response(&out), [pair(":status", &status.to_string())]);
    }
    let mut head = ResponseHead::new(302);
    let long = "v".repeat(100_000);
    head.fields.push(b"location", long.as_bytes());
    out.clear();
    write_head(&mut out, &head);
    assert_eq!(response(&out)[1], pair("location", &long), "longer than a length of two bytes");

    out.clear();
    let trailers: Fields =
        [(&b"Grpc-Status"[..], &b"0"[..]), (b"content-length", b"3")].into_iter().collect();
    write_trailers(&mut out, &trailers);
    assert_eq!(response(&out), [pair("grpc-status", "0")]);
}

proptest! {
    #[test]
    fn no_stream_makes_the_decoder_panic(stream in proptest::collection::vec(any::<u8>(), 0..300), step in 1usize..50) {
        let _ = read(&stream, step);
        let _ = read(&[frame(frame::HEADERS, &section(GET)), stream].concat(), step);
    }

    #[test]
    fn requests_do_not_depend_on_how_they_are_cut(
        content in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..5),
        fields in proptest::collection::vec(("[a-z]{1,9}-[a-z]{1,9}", "[!-~]{0,20}"), 0..5),
        step in 1usize..60,
    ) {
        let more: Vec<_> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| Name::of(n.as_bytes()) == Name::Other).collect();
        let mut stream = frame(frame::HEADERS, &section(&with(GET, &more)));
        content.iter().for_each(|data| stream.extend(frame(frame::DATA, data)));
        let whole = read(&stream, usize::MAX).unwrap();
        prop_assert_eq!(&whole.content, &content.concat());
        prop_assert_eq!(whole.head.fields.len(), more.len());
        prop_assert_eq!(read(&stream, step).unwrap(), whole);
    }

    #[test]
    fn responses_are_undone(status in 100u16..1000, fields in proptest::collection::vec(("[a-z]{1,12}", "[!-~]{0,30}"), 0..12)) {
        let mut head = ResponseHead::new(status);
        let mut expected = vec![(":status".to_owned(), status.to_string())];
        for (name, value) in fields.into_iter().filter(|(name, _)| Name::of(name.as_bytes()) == Name::Other) {
            head.fields.push(name.as_bytes(), value.as_bytes());
            expected.push((name, value));
        }
        let mut out = Vec::new();
        write_head(&mut out, &head);
        prop_assert_eq!(response(&out), expected);
    }
}
