//! Properties of the HTTP/1 codec.

use edge_http::h1::{
    ChunkedDecoder, HeadError, HeadLimits, Persistence, ResponseFraming, request, response, write_chunk_head,
    write_last_chunk, write_request, write_response,
};
use edge_http::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead, Version};
use proptest::prelude::*;

fn field() -> impl Strategy<Value = (String, String)> {
    ("[a-zA-Z][a-zA-Z0-9-]{0,20}", "[!-~]([ -~]{0,30}[!-~])?").prop_filter(
        "not one that frames",
        |(name, _)| {
            !matches!(
                Name::of(name.as_bytes()),
                Name::Host
                    | Name::ContentLength
                    | Name::TransferEncoding
                    | Name::Connection
                    | Name::Upgrade
                    | Name::Te
                    | Name::Expect
            )
        },
    )
}

fn body() -> impl Strategy<Value = BodyLength> {
    prop_oneof![Just(BodyLength::None), (1..u64::MAX).prop_map(BodyLength::Exact), Just(BodyLength::Unknown)]
}

prop_compose! {
    fn head()(
        method in prop_oneof![Just("GET"), Just("POST"), Just("PROPFIND"), Just("DELETE")],
        target in "/[!-\"$-~]{0,40}",
        host in "[a-z][a-z0-9]{0,10}(\\.[a-z]{2,5})?(:[0-9]{1,4})?",
        fields in proptest::collection::vec(field(), 0..20),
        body in body(),
    ) -> RequestHead {
        let mut head = RequestHead::new(Version::Http11);
        head.method = Method::parse(method.as_bytes()).unwrap();
        head.target = target;
        head.authority = host;
        for (name, value) in fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head.body = body;
        head
    }
}

/// Content split into chunks as they are sent.
fn chunked(parts: &[Vec<u8>], trailers: &Fields) -> Vec<u8> {
    let mut wire = Vec::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        write_chunk_head(&mut wire, part.len());
        wire.extend_from_slice(part);
        wire.extend_from_slice(b"\r\n");
    }
    write_last_chunk(&mut wire, Some(trailers));
    wire
}

/// Parses input that arrives in pieces. Returns the content, or nothing if it is rejected or never ends.
fn walk(wire: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, usize)> {
    let mut chunks = ChunkedDecoder::new();
    let (mut held, mut content, mut used) = (Vec::new(), Vec::new(), 0);
    let mut rest = wire;
    let mut cuts = cuts.iter().cycle();
    loop {
        let step = chunks.decode(&held).ok()?;
        content.extend_from_slice(&held[step.framing..step.framing + step.data]);
        chunks.consume(step.data);
        let done = step.framing + step.data;
        used += done;
        held.drain(..done);
        if step.ended {
            return Some((content, used));
        }
        if done == 0 {
            if rest.is_empty() {
                return None;
            }
            let n = (*cuts.next().unwrap()).clamp(1, rest.len());
            held.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
        }
    }
}

proptest! {
    /// Written messages are read back unchanged, however they are split.
    #[test]
    fn requests_round_trip(head in head(), cut in 0usize..1000) {
        let mut wire = Vec::new();
        write_request(&mut wire, &head, &head.method, &head.authority, None);
        let mut read = RequestHead::new(Version::Http11);
        let limits = HeadLimits::default();
        let found = request(&wire, &limits, &mut read).unwrap().unwrap();
        prop_assert_eq!(found.used, wire.len());
        prop_assert_eq!(&read, &head);
        let cut = cut % wire.len();
        prop_assert_eq!(request(&wire[..cut], &limits, &mut read).unwrap(), None);
    }

    /// An accepted head means the same to the strictest parser: at most one length, no stray line ends.
    #[test]
    fn what_is_accepted_is_unambiguous(noise in proptest::collection::vec(any::<u8>(), 0..40), at in 0usize..200) {
        let mut wire = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nX: y\r\n\r\n".to_vec();
        let at = at % wire.len();
        wire.splice(at..at, noise);
        let mut head = RequestHead::new(Version::Http11);
        if let Ok(Some(found)) = request(&wire, &HeadLimits::default(), &mut head) {
            let text = &wire[..found.used];
            prop_assert!(text.ends_with(b"\r\n\r\n"));
            prop_assert!(!text.contains(&0));
            for (at, byte) in text.iter().enumerate() {
                prop_assert!(*byte != b'\n' || text[at - 1] == b'\r');
                prop_assert!(*byte != b'\r' || text[at + 1] == b'\n');
            }
            let lower = text.to_ascii_lowercase();
            let count = |name: &[u8]| lower.windows(name.len()).filter(|window| *window == name).count();
            prop_assert!(count(b"\r\ncontent-length:") + count(b"\r\ntransfer-encoding:") <= 1);
            prop_assert_eq!(count(b"\r\nhost:"), 1);
        }
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let limits = HeadLimits { bytes: 200, fields: 5, target: 50 };
        let _ = request(&bytes, &limits, &mut RequestHead::new(Version::Http11));
        let _ = response(&bytes, &limits, &Method::Get, &mut ResponseHead::default());
        let _ = ChunkedDecoder::new().decode(&bytes);
    }

    #[test]
    fn responses_round_trip(
        status in 200u16..600,
        fields in proptest::collection::vec(field(), 0..20),
        body in body(),
    ) {
        let mut head = ResponseHead::new(status);
        for (name, value) in &fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head.body = if head.is_bodiless(&Method::Get) { BodyLength::None } else { body };
        let framing = ResponseFraming::choose(&head, &Method::Get, Version::Http11);
        let mut wire = Vec::new();
        write_response(&mut wire, &head, &Method::Get, framing, Persistence::KeepAlive);
        let mut read = ResponseHead::default();
        let found = response(&wire, &HeadLimits::default(), &Method::Get, &mut read).unwrap().unwrap();
        prop_assert_eq!(found.used, wire.len());
        prop_assert!(found.keep_alive);
        prop_assert_eq!(read.status, head.status);
        prop_assert_eq!(&read.fields, &head.fields);
        // Absent and empty content are the same on the wire.
        let same = read.body == head.body || (head.body == BodyLength::None && read.body == BodyLength::Exact(0));
        prop_assert!(same, "{:?} came back as {:?}", head.body, read.body);
    }

    /// Content survives chunking, however it arrives, and the bytes behind it are left alone.
    #[test]
    fn chunks_round_trip(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..8),
        cuts in proptest::collection::vec(1usize..20, 1..8),
        behind in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let trailers: Fields = [(&b"x-check"[..], &b"1"[..])].into_iter().collect();
        let mut wire = chunked(&parts, &trailers);
        let length = wire.len();
        wire.extend_from_slice(&behind);
        let (content, used) = walk(&wire, &cuts).unwrap();
        prop_assert_eq!(content, parts.concat());
        prop_assert_eq!(used, length);
    }

    /// Content without its last chunk is never considered complete.
    #[test]
    fn a_cut_wire_never_ends(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..4), cut in 0usize..100) {
        let wire = chunked(&parts, &Fields::new());
        let cut = cut % wire.len();
        prop_assert_eq!(walk(&wire[..cut], &[7]), None);
    }
}

/// A later minor version is that of HTTP/1.1, a later major one is not (RFC 9110 §2.5).
#[test]
fn a_later_minor_version_is_read_as_the_latest_known() {
    let limits = HeadLimits::default();
    for version in ["1.2", "1.9"] {
        let mut head = RequestHead::new(Version::Http11);
        let wire = format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n");
        let found = request(wire.as_bytes(), &limits, &mut head).unwrap().unwrap();
        assert!(found.keep_alive && head.version == Version::Http11, "{version}: {found:?}");
        let wire = format!("HTTP/{version} 200 OK\r\nContent-Length: 0\r\n\r\n");
        let found = response(wire.as_bytes(), &limits, &Method::Get, &mut ResponseHead::default());
        assert!(found.unwrap().unwrap().keep_alive, "{version}");
        // HTTP/1.1 and later require Host.
        let wire = format!("GET / HTTP/{version}\r\n\r\n");
        assert_eq!(request(wire.as_bytes(), &limits, &mut head), Err(HeadError::Host));
    }
    for (version, error) in [
        ("2.0", HeadError::Version),
        ("0.9", HeadError::Version),
        ("1.10", HeadError::FirstLine),
        ("1.", HeadError::FirstLine),
    ] {
        let wire = format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n");
        let found = request(wire.as_bytes(), &limits, &mut RequestHead::new(Version::Http11));
        assert_eq!(found, Err(error), "{version}");
    }
}

/// An empty port means the same as none (RFC 3986 §3.2.3).
#[test]
fn an_empty_port_is_none() {
    let limits = HeadLimits::default();
    let read = |target: &str, host: &str| {
        let mut head = RequestHead::new(Version::Http11);
        let wire = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        request(wire.as_bytes(), &limits, &mut head).map(|found| found.map(|_| head.authority))
    };
    for (target, host, authority) in [
        ("/", "a.test:", "a.test"),
        ("/", "[::1]:", "[::1]"),
        ("http://a.test:/", "a.test:", "a.test"),
        ("http://a.test/", "a.test:", "a.test"),
        ("http://a.test:/", "A.test", "a.test"),
    ] {
        assert_eq!(read(target, host), Ok(Some(authority.to_owned())), "{target} {host}");
    }
    for (target, host) in
        [("/", ":"), ("/", "a.test::"), ("/", "::"), ("http://:/", ""), ("http://b.test:/", "a.test:")]
    {
        assert_eq!(read(target, host), Err(HeadError::Host), "{target} {host}");
    }
}
