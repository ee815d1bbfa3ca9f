//! What edge-proxy does for every request, without the system calls.

use edge_proxy::config::{Config, Route, Site, Target, Upstream};
use edge_proxy::decide::{Facts, Transport, decide, request_fields, response_fields};
use edge_proxy::flood::Meter;
use edge_proxy::h1::{self, HeadLimits};
use edge_proxy::h2::{self, hpack};
use edge_proxy::h3::qpack;
use edge_proxy::h3::request::{Item, RequestDecoder};
use edge_proxy::{BodyLength, Method, RequestHead, ResponseHead, Snapshot, Version, h3};
use std::hint::black_box;

pub(crate) const PATHS: &[super::Path] = &[
    ("h1-request", h1_request),
    ("h1-response", h1_response),
    ("decide", decided),
    ("forward", forward),
    ("h2-request", h2_request),
    ("h2-response", h2_response),
    ("h2-frames", h2_frames),
    ("h3-request", h3_request),
    ("h3-response", h3_response),
];

/// As a browser asks.
const REQUEST: &[u8] = b"GET /explore/repos?page=2 HTTP/1.1\r\nHost: git.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
Connection: keep-alive\r\nCookie: session=4f2a9c0de1b7; lang=en\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nPriority: u=0, i\r\n\r\n";

/// As a service answers.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Fri, 27 Nov 2026 12:00:00 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\
Last-Modified: Thu, 26 Nov 2026 09:00:00 GMT\r\nConnection: keep-alive\r\nETag: \"68a1-400\"\r\nCache-Control: max-age=300\r\nAccept-Ranges: bytes\r\n\r\n";

fn snapshot() -> Snapshot {
    let mut config = Config::default();
    for name in ["git", "vault", "headscale"] {
        let host = format!("{name}.example.org").parse().expect("a name");
        config.sites.push(Site::new(name, vec![host]).route(Route::forward("node")));
    }
    config.upstreams.push(Upstream::new("node", Target::Tcp { host: "100.64.0.2".into(), port: 80 }));
    Snapshot::new(config).expect("a configuration that works")
}

fn facts() -> Facts<'static> {
    Facts {
        transport: Transport::Tls,
        peer: ([203, 0, 113, 7], 40_000).into(),
        proxied: None,
        interface: None,
        identities: edge_proxy::tailnet::Identities::default(),
        sni: Some("git.example.org"),
        early: false,
    }
}

fn request() -> RequestHead {
    let mut head = RequestHead::new(Version::Http11);
    h1::request(REQUEST, &HeadLimits::default(), &mut head).expect("a good request").expect("a whole one");
    head
}

fn response() -> ResponseHead {
    let mut head = ResponseHead::new(0);
    h1::response(RESPONSE, &HeadLimits::default(), &Method::Get, &mut head)
        .expect("a good response")
        .expect("a whole one");
    head
}

fn h1_request(count: u32) {
    let limits = HeadLimits::default();
    for _ in 0..count {
        let mut head = RequestHead::new(Version::Http11);
        black_box(h1::request(black_box(REQUEST), &limits, &mut head).is_ok());
    }
}

fn h1_response(count: u32) {
    let (limits, mut out) = (HeadLimits::default(), Vec::with_capacity(4096));
    for _ in 0..count {
        let mut head = ResponseHead::new(0);
        black_box(h1::response(black_box(RESPONSE), &limits, &Method::Get, &mut head).is_ok());
        out.clear();
        h1::write_response(&mut out, &head, &Method::Get, h1::ResponseFraming::Length, false);
        black_box(&out);
    }
}

fn decided(count: u32) {
    let (snapshot, facts, head) = (snapshot(), facts(), request());
    for _ in 0..count {
        black_box(decide(&snapshot, black_box(&facts), &head));
    }
}

/// What is put into the heads and taken out of them, both ways.
fn forward(count: u32) {
    let (snapshot, facts) = (snapshot(), facts());
    let (request, response) = (request(), response());
    let decision = decide(&snapshot, &facts, &request);
    for _ in 0..count {
        let mut head = request.clone();
        request_fields(&decision, black_box(&facts), false, &mut head);
        let mut answer = response.clone();
        response_fields(&decision, &facts, Some("h3=\":443\"; ma=86400"), &mut answer);
        black_box((head, answer));
    }
}

/// A section as clients send it for the second request of a connection: most of it is in the table.
fn h2_request(count: u32) {
    let mut decoder = hpack::Decoder::new();
    let mut first = vec![0x82, 0x87];
    for (name, value) in [(":authority", "git.example.org"), (":path", "/explore/repos?page=2")] {
        entering(&mut first, name, value);
    }
    let head = request();
    for field in head.fields.iter() {
        entering(
            &mut first,
            &String::from_utf8_lossy(field.name).to_lowercase(),
            &String::from_utf8_lossy(field.value),
        );
    }
    decoder.decode(&first, |_, _| {}).expect("a good section");
    let lines = head.fields.len() as u8 + 2;
    let again: Vec<u8> =
        [0x82, 0x87].into_iter().chain((62..62 + lines).rev().map(|index| 0x80 | index)).collect();
    for _ in 0..count {
        let mut bytes = 0;
        decoder
            .decode(black_box(&again), |name, value| bytes += name.len() + value.len())
            .expect("a good section");
        black_box(bytes);
    }
}

/// A literal that enters the table.
fn entering(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0x40);
    for text in [name, value] {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}

fn h2_response(count: u32) {
    let (head, mut out) = (response(), Vec::with_capacity(4096));
    let place = h2::response::Place { stream: 1, end: false, max_payload: 16_384, first: false };
    for _ in 0..count {
        out.clear();
        h2::response::write_head(&mut out, place, black_box(&head));
        black_box(&out);
    }
}

/// What is counted of a client's frames, and what is read of them.
fn h2_frames(count: u32) {
    let mut bytes = Vec::new();
    for id in 0..32 {
        h2::frame::write(&mut bytes, h2::frame::HEADERS, 5, 2 * id + 1, &[0x82; 40]);
    }
    let mut meter = Meter::new(1000, 0);
    meter.received(h2::frame::PREFACE, 0);
    for _ in 0..count {
        meter.received(black_box(&bytes), 0);
        let mut rest = bytes.as_slice();
        while let Some(header) = h2::frame::Header::read(rest) {
            rest = &rest[h2::frame::Header::LEN + header.length as usize..];
            black_box(header);
        }
    }
}

fn h3_request(count: u32) {
    let head = request();
    let mut section = Vec::new();
    qpack::write_prefix(&mut section);
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "git.example.org"),
        (":path", "/explore/repos?page=2"),
    ] {
        qpack::write_field_huffman(&mut section, name.as_bytes(), value.as_bytes());
    }
    for field in head.fields.iter().filter(|field| field.id == edge_proxy::Name::Other) {
        qpack::write_field_huffman(&mut section, field.name, field.value);
    }
    let mut frame = Vec::new();
    h3::frame::write_header(&mut frame, h3::frame::HEADERS, section.len() as u64);
    frame.append(&mut section);
    let mut qpack = qpack::Decoder::new();
    for _ in 0..count {
        let mut decoder = RequestDecoder::new(h3::Limits::default());
        assert!(matches!(decoder.step(black_box(&frame)), Ok((_, Item::HeadReady))));
        black_box(decoder.head(&mut qpack, true).expect("a good request"));
    }
}

fn h3_response(count: u32) {
    let (mut head, mut out) = (response(), Vec::with_capacity(4096));
    head.body = BodyLength::Exact(1024);
    for _ in 0..count {
        out.clear();
        h3::response::write_head(&mut out, black_box(&head));
        black_box(&out);
    }
}
