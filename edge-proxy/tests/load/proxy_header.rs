//! D9: malformed and excessive PROXY headers.

use crate::{Target, seen};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Returns a request behind a header.
fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").into()
}

/// Returns a version 2 header that declares this length and has these bytes.
fn v2(command: u8, family: u8, announced: u16, bytes: &[u8]) -> Vec<u8> {
    let mut header = [SIGNATURE, &[command, family]].concat();
    header.extend_from_slice(&announced.to_be_bytes());
    header.extend_from_slice(bytes);
    header
}

/// Returns the response to a connection that begins with these bytes, and how long it was open.
fn begin(address: SocketAddr, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let began = Instant::now();
    // It may be closed before everything is written.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said);
    let kind = ended.err().map(|why| why.kind());
    assert!(kind.is_none_or(|kind| kind == std::io::ErrorKind::ConnectionReset), "it stays open: {kind:?}");
    (said, began.elapsed())
}

/// Asserts that each is closed without a response, and without waiting for more.
fn closed_at_once(target: &Target, beginnings: &[Vec<u8>], times: usize) -> bool {
    // The deadline is two seconds; for all of these together far longer.
    let quick = (0..times).flat_map(|_| beginnings).filter(|bytes| {
        let (said, open) = begin(target.proxied, bytes);
        assert!(said.is_empty(), "{}", said.escape_ascii());
        open < Duration::from_millis(1500)
    });
    // Other tests use the machine too.
    quick.count() * 10 >= times * beginnings.len() * 9
}

#[test]
fn d9_headers_that_are_too_long() {
    let target = Target::start("proxy_header::d9_headers_that_are_too_long");
    target.withstands(|target| {
        let address = [127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 1];
        let beginnings = [
            // None of the declared bytes needs to arrive for that.
            v2(0x21, 0x11, u16::MAX, &address),
            v2(0x20, 0x00, 4096, b""),
            v2(0x21, 0x11, 60_000, &vec![0; 60_000]),
            [b"PROXY TCP4 ", &[b'1'; 200][..], b"\r\n"].concat(),
        ];
        closed_at_once(target, &beginnings, 100)
    });
}

#[test]
fn d9_headers_that_are_missing_or_none() {
    let target = Target::start("proxy_header::d9_headers_that_are_missing_or_none");
    target.withstands(|target| {
        let address = [127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 1];
        let behind = |header: Vec<u8>| [header, request("/seen/none")].concat();
        let beginnings = [
            request("/seen/none"),
            // The beginning of a ClientHello.
            vec![22, 3, 1, 2, 0, 1, 0, 1, 252],
            behind(v2(0x22, 0x11, 12, &address)),
            behind(v2(0x11, 0x11, 12, &address)),
            behind(v2(0x21, 0x77, 12, &address)),
            // Addresses of a family that does not fit, and an extension longer than its space.
            behind(v2(0x21, 0x21, 12, &address)),
            behind(v2(0x21, 0x11, 16, &[&address[..], &[4, 1, 0, 0]].concat())),
            b"PROXY UNKNOWN-AND-MORE\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n".to_vec(),
        ];
        closed_at_once(target, &beginnings, 50) && seen("/seen/none").is_empty()
    });
}

#[test]
fn d9_local_headers() {
    let target = Target::start("proxy_header::d9_local_headers");
    target.withstands(|target| {
        // Whatever it contains, the connection's own address counts (§2.2).
        let lies = [6, 6, 6, 6, 6, 6, 6, 6, 0, 1, 0, 1];
        for _ in 0..200 {
            for header in
                [v2(0x20, 0x11, 12, &lies), v2(0x20, 0x00, 0, b""), v2(0x20, 0x00, 4080, &vec![7; 4080])]
            {
                let (said, _) = begin(target.proxied, &[header, request("/seen/local")].concat());
                assert!(said.starts_with(b"HTTP/1.1 200"), "{}", said.escape_ascii());
            }
        }
        let heads = seen("/seen/local");
        assert!(
            heads.len() == 600 && heads.iter().all(|head| head.contains("x-forwarded-for: 127.0.0.1\r\n")),
            "{heads:?}"
        );
        // Three hundred that send no more than that, or half of it: each is closed by its deadline.
        let held: Vec<_> = (0..300)
            .map(|number| {
                let mut stream = TcpStream::connect(target.proxied).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let header = v2(0x20, 0x00, 4080, &vec![7; 4080]);
                stream.write_all(&header[..if number % 2 == 0 { header.len() } else { 2000 }]).unwrap();
                stream
            })
            .collect();
        held.into_iter().all(|mut stream| {
            let ended = stream.read(&mut [0; 16]);
            matches!(&ended, Ok(0))
                || ended.is_err_and(|why| why.kind() == std::io::ErrorKind::ConnectionReset)
        })
    });
}
