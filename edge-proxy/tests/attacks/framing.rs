//! S1 to S9: messages that two implementations could frame differently.

use crate::edge::Edge;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::Origin;

/// Asserts that each request gets 400 on its own connection, with nothing forwarded.
fn refused(requests: &[&[u8]]) {
    let edge = Edge::before(Origin::simple());
    for request in requests {
        edge.assert_refused(request, 400);
    }
}

#[test]
fn s1_content_length_with_transfer_encoding() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length:\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn s2_transfer_encoding_that_is_not_exactly_chunked() {
    refused(&[
        b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ]);
}

#[test]
fn s3_content_length_that_is_no_plain_number() {
    refused(&[
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: -5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5,5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ]);
}

#[test]
fn s4_malformed_chunks_are_never_completed_upstream() {
    let cases: &[&[u8]] = &[
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5;a\0b\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        b"5\r\nhello\r\n0\r\na: b\nc: d\r\n\r\n",
    ];
    for chunks in cases {
        let edge = Edge::before(Origin::simple());
        let mut request = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        request.extend_from_slice(chunks);
        let answer = edge.send(&request);
        let shown = chunks.escape_ascii();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{shown} was answered {answer:?}");
        std::thread::sleep(Duration::from_millis(30));
        let forwarded = edge.origin.text();
        assert!(!forwarded.ends_with("0\r\n\r\n"), "{shown} was completed upstream: {forwarded:?}");
    }
}

#[test]
fn s4_extensions_are_bounded_and_never_forwarded() {
    let edge = Edge::before(Origin::simple());
    let answer = edge.send(
        b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5;secret=\"1\"\r\nhello\r\n0;x\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(edge.origin.wait(|text| text.ends_with("5\r\nhello\r\n0\r\n\r\n")), "{}", edge.origin.text());
    assert!(!edge.origin.text().contains("secret"));

    let mut request = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;".to_vec();
    request.extend(std::iter::repeat_n(b'a', 17 * 1024));
    let answer = edge.send(&request);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer:?}");
}

#[test]
fn s5_malformed_field_lines() {
    refused(&[
        b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a.test\n\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX\xff: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a.test\r\n\r\n",
        b"GET / http/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /a\x7f HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ]);
}

#[test]
fn s5_heads_that_are_too_large() {
    let edge = Edge::before(Origin::simple());
    let mut long = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ".to_vec();
    long.extend(std::iter::repeat_n(b'a', 20 * 1024));
    edge.assert_refused(&long, 431);
    let mut many = b"GET / HTTP/1.1\r\nHost: a.test\r\n".to_vec();
    many.extend(b"a: b\r\n".repeat(101));
    many.extend_from_slice(b"\r\n");
    edge.assert_refused(&many, 431);
    let mut target = b"GET /".to_vec();
    target.extend(std::iter::repeat_n(b'a', 33 * 1024));
    target.extend_from_slice(b" HTTP/1.1\r\nHost: a.test\r\n\r\n");
    edge.assert_refused(&target, 414);
    edge.assert_refused(b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505);
}

#[test]
fn s6_bytes_behind_an_upgrade_wait_for_101() {
    // The origin refuses the upgrade: bytes behind it must never reach it as another request.
    let edge = Edge::before(Origin::simple());
    let mut stream = TcpStream::connect(edge.plain).unwrap();
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: other\r\n\r\n",
        )
        .unwrap();
    let answer = crate::edge::read(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    // They are the client's next request, for a name that is not served.
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer:?}");
    assert!(!edge.origin.text().contains("smuggled"), "{}", edge.origin.text());
}

#[test]
fn s6_connect_and_h2c_get_nowhere() {
    let edge = Edge::before(Origin::simple());
    let answer = edge.send(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer:?}");
    edge.assert_nothing_forwarded();
    let answer = edge.send(
        b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    let forwarded = edge.origin.text().to_lowercase();
    assert!(!forwarded.contains("upgrade") && !forwarded.contains("http2-settings"), "{forwarded}");
}

#[test]
fn s7_an_early_answer_does_not_turn_content_into_a_request() {
    // The origin responds to the head and never reads the content.
    let edge = Edge::before(Origin::scripted(|bytes| {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        Some((
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
            head,
        ))
    }));
    let mut stream = TcpStream::connect(edge.plain).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let rest = crate::edge::read(&mut stream);
    assert!(!rest.contains("HTTP/1.1"), "content was taken for a request: {rest:?}");
    assert!(!edge.origin.text().contains("GET /smuggled"), "{}", edge.origin.text());
}
