//! HTTP/1 clients that close their side of the connection before the response: those that have left, and those that only send
//! no more.
#![cfg(feature = "server")]

mod common;

use common::{Edge, http1, tls};
use edge_proxy::Reason;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A service whose connections the test serves itself.
fn service() -> (TcpListener, Edge) {
    let service = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let edge = Edge::before(service.local_addr().unwrap(), 1);
    (service, edge)
}

/// Accepts a connection of the proxy, and reads a request from it.
fn accept(service: &TcpListener) -> TcpStream {
    let (mut stream, _) = service.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    common::read_until(&mut stream, "\r\n\r\n");
    stream
}

#[test]
fn a_client_that_left_ends_its_request_soon() {
    let (service, edge) = service();
    let mut plain = TcpStream::connect(edge.plain()).unwrap();
    plain.write_all(REQUEST).unwrap();
    let mut first = accept(&service);
    let mut over_tls = tls(edge.tls(), &http1(edge.root())).unwrap();
    over_tls.write_all(REQUEST).unwrap();
    let mut second = accept(&service);
    let began = Instant::now();
    drop(plain);
    over_tls.conn.send_close_notify();
    over_tls.flush().unwrap();
    drop(over_tls);
    // The service learns it, and the request counts no longer against any limit of concurrent requests.
    for stream in [&mut first, &mut second] {
        assert_eq!(stream.read(&mut [0; 100]).unwrap(), 0);
    }
    let taken = began.elapsed();
    assert!(taken > Duration::from_secs(4) && taken < Duration::from_secs(15), "{taken:?}");
    edge.assert_refused(Reason::ClientLost, 2);
    assert_eq!(edge.proxy.targets()[0].in_flight, 0);
}

#[test]
fn a_client_that_only_sends_no_more_gets_its_response() {
    let (service, edge) = service();
    let client = || {
        let mut client = TcpStream::connect(edge.plain()).unwrap();
        client.write_all(REQUEST).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    };
    let mut late = client();
    let mut answering = accept(&service);
    let mut slow = client();
    let mut beginning = accept(&service);
    beginning.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    answering.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").unwrap();
    let mut got = String::new();
    late.read_to_string(&mut got).unwrap();
    assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && got.ends_with("\r\n\r\nlate"), "{got}");
    // A response that has begun has the time that it needs.
    std::thread::sleep(Duration::from_secs(6));
    beginning.write_all(b"ow").unwrap();
    got.clear();
    slow.read_to_string(&mut got).unwrap();
    assert!(got.ends_with("\r\n\r\nslow"), "{got}");
}
