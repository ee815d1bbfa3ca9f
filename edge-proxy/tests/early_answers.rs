//! Answers that come before the request was read, and the content of the proxy's own errors: they arrive with every client.

#![cfg(feature = "server")]

mod common;

use common::wire2::{End, Http2};
use common::{Edge, http1, read_until, tls};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use testkit::{Origin, answer};

const MIB: usize = 1024 * 1024;

fn limited() -> Edge {
    let mut edge = Edge::before(Origin::simple().address(), 1);
    edge.config.sites[0].body_limit = Some(MIB as u64);
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// Writes all of an upload before it reads anything, as Node and npm do, and gives what came.
fn upload(stream: &mut (impl Read + Write), length: usize) -> String {
    let head = format!("PUT /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let part = vec![b'x'; MIB];
    for _ in 0..length / MIB {
        stream.write_all(&part).expect("the upload is read until its end");
    }
    read_until(stream, "\r\n\r\n")
}

#[test]
fn a_client_that_writes_before_it_reads_gets_its_413() {
    let edge = limited();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(edge.plain()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = upload(&mut stream, 40 * MIB);
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert!(head.contains("Connection: close"), "{head}");
        let head = upload(&mut tls(edge.tls(), &http1(edge.root())).unwrap(), 40 * MIB);
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    }
}

#[test]
fn the_answer_to_a_long_upload_over_http2_comes_whole_and_the_connection_goes_on() {
    let edge = limited();
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    let length = (3 * MIB).to_string();
    let stream = client.request("PUT", "a.test", "/", &[(b"content-length", length.as_bytes())], false);
    client.data(stream, &[b'x'; 1000], false);
    let first = client.answer(stream);
    assert_eq!((first.status(), first.end), (Some("413"), End::Stream), "no reset comes with the answer");
    assert_eq!(first.content, b"413 Content Too Large\n");
    // More than is thrown away is reset without an error.
    let mut sent = 1000;
    let end = loop {
        let ends = client.ends(&[stream], Duration::from_millis(50));
        match ends[&stream] {
            End::Silence if sent < 3 * MIB => {}
            end => break end,
        }
        for _ in 0..4 {
            client.data(stream, &[b'x'; 16_000], false);
            sent += 16_000;
        }
    };
    assert_eq!(end, End::Reset(0));
    assert!(sent >= MIB, "reset after {sent} bytes");
    assert_eq!(client.get("a.test", "/").status(), Some("200"));
}

#[test]
fn a_rest_that_is_short_ends_without_a_reset() {
    let edge = Edge::before(
        Origin::scripted(|bytes| {
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            Some((answer("early"), head))
        })
        .address(),
        1,
    );
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    for _ in 0..50 {
        let stream = client.request("POST", "a.test", "/", &[], false);
        assert_eq!(client.answer(stream).content, b"early");
        client.data(stream, &[b'x'; 100], false);
        client.data(stream, b"", true);
    }
    assert_eq!(client.ends(&[99], Duration::from_millis(100))[&99], End::Silence);
}

#[test]
fn errors_have_a_line_in_the_form_that_is_asked_for() {
    let edge = limited();
    let ask = |method: &str, accept: &str| {
        let mut stream = TcpStream::connect(edge.plain()).unwrap();
        let head = format!("{method} /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9999999\r\n{accept}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert!(!all.to_lowercase().contains("edge-proxy") && !all.contains("Server:"), "{all}");
        all
    };
    let text = ask("PUT", "");
    assert!(
        text.contains("Content-Type: text/plain") && text.ends_with("\r\n\r\n413 Content Too Large\n"),
        "{text}"
    );
    let page = ask("PUT", "Accept: text/html,*/*;q=0.8\r\n");
    assert!(
        page.contains("Content-Type: text/html") && page.contains("<h1>413 Content Too Large</h1>"),
        "{page}"
    );
    let json = ask("PUT", "Accept: application/json\r\n");
    assert!(json.ends_with("{\"status\":413,\"title\":\"Content Too Large\"}\n"), "{json}");
    let head = ask("HEAD", "");
    assert!(head.starts_with("HTTP/1.1 413 ") && head.ends_with("\r\n\r\n"), "{head}");
}
