//! Faulty origins: the client must be able to detect missing content, and no request may be sent twice.

use crate::edge::Edge;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::{Origin, answer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

/// An origin that responds to every request with these bytes and then closes.
fn says(bytes: &'static [u8]) -> Origin {
    Origin::scripted(move |got| {
        head_end(got)?;
        Some((bytes.to_vec(), 0))
    })
}

#[test]
fn garbage_is_answered_502() {
    for bytes in [
        &b"hello\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"",
    ] {
        let got = Edge::before(says(bytes)).send(GET);
        assert!(got.starts_with("HTTP/1.1 502"), "{}: {got:?}", bytes.escape_ascii());
    }
}

#[test]
fn heads_of_small_devices_are_repaired() {
    for bytes in [
        &b"HTTP/1.1 200 OK\nServer : cam\nContent-Length: 2\n\nok"[..],
        b"HTTP/1.1 200 OK\r\nServer\t: cam\r\n\r\nok",
    ] {
        let edge = Edge::before(says(bytes));
        for _ in 0..2 {
            let got = edge.send(GET);
            assert!(
                got.starts_with("HTTP/1.1 200 OK\r\nServer: cam\r\n"),
                "{}: {got:?}",
                bytes.escape_ascii()
            );
            assert!(got.ends_with("\r\n\r\nok") || got.contains("2\r\nok"), "{got:?}");
        }
        // Nobody knows how such a device reads a second request.
        assert_eq!(edge.origin.connections(), 2);
    }
}

#[test]
fn a_response_cut_short_is_not_completed() {
    // Declares 10, sends 4.
    let got = Edge::before(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour")).send(GET);
    assert!(!got.contains("Content-Length: 4"), "{got:?}");
    // Chunked without the last chunk: the client must not receive one.
    let got =
        Edge::before(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n")).send(GET);
    assert!(!got.ends_with("0\r\n\r\n"), "{got:?}");
}

#[test]
fn a_kept_connection_that_ended_is_not_a_502() {
    // The origin closes after each response without announcing it.
    let edge = Edge::before(Origin::scripted(|bytes| {
        let head = head_end(bytes)?;
        let _ = head;
        Some((answer("ok"), 0))
    }));
    for _ in 0..20 {
        let got = edge.send(GET);
        assert!(got.starts_with("HTTP/1.1 200"), "{got:?}");
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    // The origin responds to the first request on a connection and closes at the second.
    let posts = Arc::new(AtomicUsize::new(0));
    let count = posts.clone();
    let edge = Edge::before(Origin::scripted(move |bytes| {
        let head = head_end(bytes)?;
        if bytes.starts_with(b"POST") {
            count.fetch_add(1, Ordering::SeqCst);
            return Some((Vec::new(), head));
        }
        Some((answer("ok"), head))
    }));
    assert!(edge.send(GET).starts_with("HTTP/1.1 200"));
    let got = edge.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 502"), "{got:?}");
    assert_eq!(posts.load(Ordering::SeqCst), 1);
}

#[test]
fn an_unreachable_origin_is_a_502_without_a_name() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let target = edge_proxy::config::Target::Tcp { host: "127.0.0.1".into(), port: gone.port() };
    let proxy = edge_proxy::Proxy::builder()
        .workers(1)
        .listener(edge_proxy::config::Listener::plain(([127, 0, 0, 1], 0).into()))
        .site(crate::edge::site("a.test"))
        .upstream(edge_proxy::config::Upstream::new("origin", target))
        .start()
        .unwrap();
    let mut stream = TcpStream::connect(proxy.addresses()[0]).unwrap();
    stream.write_all(GET).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (date, rest): (Vec<&str>, Vec<&str>) =
        text.split("\r\n").partition(|line| line.starts_with("Date: "));
    let expected = [
        "HTTP/1.1 502 Bad Gateway",
        "Content-Type: text/plain; charset=utf-8",
        "Vary: Accept",
        "Content-Length: 16",
        "Connection: close",
        "",
        "502 Bad Gateway\n",
    ];
    assert_eq!(rest, expected);
    assert!(date.len() == 1 && date[0].ends_with(" GMT"), "{date:?}");
}
