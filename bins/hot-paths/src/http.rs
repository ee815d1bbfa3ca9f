//! Codecs: heads, field sections and frames of each version of HTTP, as browsers and services send them.

use crate::Path;
use edge_http::flood::FloodMeter;
use edge_http::h1::{self, ChunkedDecoder, HeadLimits, Persistence, ResponseFraming};
use edge_http::h2::frame::{self as h2_frame, FrameHeader};
use edge_http::h2::{hpack, response as h2};
use edge_http::h3::qpack;
use edge_http::h3::request::{RequestDecoder, RequestItem};
use edge_http::h3::{SectionLimits, frame, response as h3};
use edge_http::section::StreamState;
use edge_http::{Method, RequestHead, ResponseHead, Version};
use std::hint::black_box;

/// Paths of this module, each a name and a function that runs the path the given number of times.
pub(crate) const PATHS: &[Path] = &[
    ("h1-request-read", h1_request_read),
    ("h1-request-write", h1_request_write),
    ("h1-response-read", h1_response_read),
    ("h1-response-write", h1_response_write),
    ("h1-chunked", h1_chunked),
    ("h2-frames", h2_frames),
    ("h2-section-read", h2_section_read),
    ("h2-section-known", h2_section_known),
    ("h2-response-write", h2_response_write),
    ("h3-request-read", h3_request_read),
    ("h3-response-write", h3_response_write),
];

/// A page request of a browser, in HTTP/1.1.
pub(crate) const REQUEST: &[u8] = b"GET /repository/src/branch/main?raw=1 HTTP/1.1\r\n\
    Host: git.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: none\r\n\r\n";

/// A response of a service, in HTTP/1.1.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx\r\n\
    Date: Fri, 27 Nov 2026 12:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0, private, must-revalidate, no-transform\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\
    ETag: \"67489a00-400\"\r\n\r\n";

/// Returns the head that results from parsing [`REQUEST`].
pub(crate) fn request() -> RequestHead {
    let mut head = RequestHead::new(Version::Http11);
    let found = h1::request(REQUEST, &HeadLimits::default(), &mut head).expect("a good head");
    assert!(found.is_some_and(|found| found.used == REQUEST.len()));
    head
}

/// Returns the head that results from parsing [`RESPONSE`].
pub(crate) fn response() -> ResponseHead {
    let mut head = ResponseHead::default();
    let found = h1::response(RESPONSE, &HeadLimits::default(), &Method::Get, &mut head).expect("a good head");
    assert!(found.is_some_and(|found| found.used == RESPONSE.len()));
    head
}

/// Parses the head of a request in HTTP/1.1, `count` times.
fn h1_request_read(count: u32) {
    let (limits, mut head) = (HeadLimits::default(), RequestHead::new(Version::Http11));
    for _ in 0..count {
        let found = h1::request(black_box(REQUEST), &limits, &mut head).expect("a good head");
        assert!(black_box(found).is_some());
    }
}

/// Writes the head of a request in HTTP/1.1, `count` times.
fn h1_request_write(count: u32) {
    let (head, mut out) = (request(), Vec::new());
    for _ in 0..count {
        out.clear();
        h1::write_request(&mut out, black_box(&head), &Method::Get, "git.example.org", None);
        black_box(&out);
    }
}

/// Parses the head of a response in HTTP/1.1, `count` times.
fn h1_response_read(count: u32) {
    let (limits, mut head) = (HeadLimits::default(), ResponseHead::default());
    for _ in 0..count {
        let found = h1::response(black_box(RESPONSE), &limits, &Method::Get, &mut head).expect("a good head");
        assert!(black_box(found).is_some());
    }
}

/// Writes the head of a response in HTTP/1.1, `count` times.
fn h1_response_write(count: u32) {
    let (head, mut out) = (response(), Vec::new());
    for _ in 0..count {
        out.clear();
        h1::write_response(
            &mut out,
            black_box(&head),
            &Method::Get,
            ResponseFraming::Length,
            Persistence::KeepAlive,
        );
        black_box(&out);
    }
}

/// Decodes a body of 16 chunks of 256 bytes in HTTP/1.1, `count` times.
fn h1_chunked(count: u32) {
    let mut wire: Vec<u8> =
        std::iter::repeat_n([&b"100\r\n"[..], &[b'x'; 256], b"\r\n"].concat(), 16).flatten().collect();
    wire.extend_from_slice(b"0\r\n\r\n");
    for _ in 0..count {
        let (mut chunks, mut at) = (ChunkedDecoder::new(), 0);
        loop {
            let step = chunks.decode(black_box(&wire[at..])).expect("good chunks");
            at += step.framing + step.data;
            chunks.consume(step.data);
            if step.ended {
                break;
            }
        }
        assert_eq!(at, wire.len());
    }
}

/// Returns names and values of the fields of a request as HTTP/2 and HTTP/3 represent them: the pseudo-fields first,
/// names in lower case, and without Connection.
fn pairs(head: &RequestHead) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", head.authority.as_str()),
        (":path", head.target.as_str()),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    pairs.extend(
        head.fields
            .iter()
            .filter(|field| field.name != b"Connection")
            .map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())),
    );
    pairs
}

/// Reads a HEADERS frame of HTTP/2 and decodes its field section, `count` times.
fn h2_section_read(count: u32) {
    let (pairs, mut block) = (pairs(&request()), Vec::new());
    hpack::write_no_table(&mut block);
    pairs.iter().for_each(|(name, value)| hpack::write_field(&mut block, name, value));
    let mut frame = Vec::new();
    h2_frame::write(&mut frame, h2_frame::HEADERS, 0x5, 1, &block);
    let mut decoder = hpack::HpackDecoder::default();
    for _ in 0..count {
        let header = FrameHeader::read(black_box(&frame)).expect("a header");
        let (mut lines, mut bytes) = (0, 0);
        let section = &frame[FrameHeader::LEN..FrameHeader::LEN + header.length as usize];
        let taken = decoder.decode(section, |name, value| {
            lines += 1;
            bytes += name.len() + value.len();
        });
        assert!(taken.is_ok() && lines == pairs.len() && black_box(bytes) > 0);
    }
}

/// Decodes the second request of a connection in HTTP/2, all of whose fields are in the static or dynamic table,
/// `count` times.
fn h2_section_known(count: u32) {
    let pairs = pairs(&request());
    let (mut first, mut again) = (vec![0x82, 0x87], vec![0x82, 0x87]);
    let lines: Vec<_> = pairs.iter().filter(|(name, _)| name != b":method" && name != b":scheme").collect();
    for (name, value) in &lines {
        first.push(0x40);
        for text in [name, value] {
            first.push(u8::try_from(text.len()).expect("a short text"));
            first.extend_from_slice(text);
        }
    }
    // The newest entry follows the 61 of the static table.
    again.extend((0..lines.len() as u8).rev().map(|nth| 0x80 | (62 + nth)));
    let mut decoder = hpack::HpackDecoder::default();
    decoder.decode(&first, |_, _| {}).expect("a good section");
    for _ in 0..count {
        let mut known = 0;
        decoder.decode(black_box(&again), |_, value| known += value.len()).expect("a good section");
        assert_eq!(known, pairs.iter().map(|(_, value)| value.len()).sum::<usize>());
    }
}

/// Parses the headers of 32 HEADERS frames of HTTP/2 and counts the frames for flood protection, `count` times.
fn h2_frames(count: u32) {
    let mut wire = Vec::new();
    for id in 0..32 {
        h2_frame::write(&mut wire, h2_frame::HEADERS, 5, 2 * id + 1, &[0x82; 40]);
    }
    let mut meter = FloodMeter::new(1_000, 0);
    meter.received(h2_frame::PREFACE, 0);
    for _ in 0..count {
        meter.received(black_box(&wire), 0);
        let (mut rest, mut frames) = (wire.as_slice(), 0);
        while let Some(header) = FrameHeader::read(rest) {
            rest = &rest[FrameHeader::LEN + header.length as usize..];
            frames += 1;
        }
        assert_eq!(black_box(frames), 32);
    }
}

/// Writes the head of a response in HTTP/2, `count` times.
fn h2_response_write(count: u32) {
    let (head, mut out) = (response(), Vec::new());
    let place = h2::SectionPosition { stream: 1, end: false, first: false };
    for _ in 0..count {
        out.clear();
        h2::write_head(&mut out, place, black_box(&head));
        black_box(&out);
    }
}

/// Decodes a Huffman-coded request in HTTP/3, as browsers send it, from the first byte of the stream to the head,
/// `count` times.
fn h3_request_read(count: u32) {
    let (mut section, mut wire) = (Vec::new(), Vec::new());
    qpack::write_prefix(&mut section);
    for (name, value) in pairs(&request()) {
        qpack::write_field_huffman(&mut section, &name, &value);
    }
    frame::write_header(&mut wire, frame::HEADERS, section.len() as u64);
    wire.append(&mut section);
    let (mut decoder, mut head) = (qpack::QpackDecoder::new(), RequestHead::new(Version::Http3));
    for _ in 0..count {
        let mut stream = RequestDecoder::new(SectionLimits::default());
        let (used, item) = stream.step(black_box(&wire)).expect("a good frame");
        assert!(used == wire.len() && item == RequestItem::HeadReady);
        stream.head(&wire, &mut decoder, StreamState::Ended, &mut head).expect("a good head");
        black_box(&head);
    }
}

/// Writes the head of a response in HTTP/3, `count` times.
fn h3_response_write(count: u32) {
    let (head, mut out) = (response(), Vec::new());
    for _ in 0..count {
        out.clear();
        h3::write_head(&mut out, black_box(&head));
        black_box(&out);
    }
}
