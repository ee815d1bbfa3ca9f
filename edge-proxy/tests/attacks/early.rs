//! Requests in TLS early data, which whoever recorded it can send again.

use crate::edge::{Edge, site};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Origin, tls_client};

/// A connection whose first flight has this early data; nothing more is sent until the caller does so.
fn first_flight(edge: &Edge, early: &[u8]) -> (rustls::ClientConnection, TcpStream) {
    let mut config = tls_client(&edge.root, &[b"http/1.1"]);
    config.enable_early_data = true;
    let config = Arc::new(config);
    let begin = || rustls::ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
    // A session to resume.
    let tcp = TcpStream::connect(edge.tls).unwrap();
    let mut stream = rustls::StreamOwned::new(begin(), tcp);
    stream.write_all(b"GET /before HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());

    let mut session = begin();
    session.early_data().expect("the session takes early data").write_all(early).unwrap();
    let mut tcp = TcpStream::connect(edge.tls).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    while session.wants_write() {
        session.write_tls(&mut tcp).unwrap();
    }
    (session, tcp)
}

#[test]
fn s20_a_second_request_in_early_data_is_as_early_as_the_first() {
    let mut early = site("a.test");
    early.early_data = true;
    for second in [
        "POST /second HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n",
        "GET /second HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "PUT /second HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let edge = Edge::with(Origin::simple(), vec![early.clone()]);
        let both = format!("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n{second}");
        let (mut session, mut tcp) = first_flight(&edge, both.as_bytes());
        assert!(edge.origin.wait(|text| text.contains("GET /first")), "{}", edge.origin.text());
        std::thread::sleep(Duration::from_millis(700));
        let text = edge.origin.text();
        assert!(text.contains("Early-Data: 1") && !text.contains("/second"), "{text}");
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        assert!(edge.origin.wait(|text| text.contains(" /second")), "{}", edge.origin.text());
    }
}

#[test]
fn s20_a_second_get_in_early_data_is_marked() {
    let mut early = site("a.test");
    early.early_data = true;
    let edge = Edge::with(Origin::simple(), vec![early]);
    let both = "GET /first HTTP/1.1\r\nHost: a.test\r\n\r\nGET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let _open = first_flight(&edge, both.as_bytes());
    assert!(edge.origin.wait(|text| text.contains("GET /second")), "{}", edge.origin.text());
    assert_eq!(edge.origin.text().matches("Early-Data: 1").count(), 2, "{}", edge.origin.text());
}
