//! D8: slow clients.

use crate::Target;
use crate::common::wire2::{End, Http2};
use crate::common::{http1, tls};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Writes a byte now and then until the peer closes, for at most this long. Returns whether it closed.
fn drip(stream: &mut TcpStream, bytes: &[u8], most: Duration) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let until = Instant::now() + most;
    for byte in bytes.iter().cycle() {
        if Instant::now() > until {
            return false;
        }
        if stream.write_all(&[*byte]).is_err() {
            return true;
        }
        match stream.read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn d8_a_head_that_never_ends() {
    let target = Target::start("slow::d8_a_head_that_never_ends");
    target.withstands(|target| {
        let mut stream = TcpStream::connect(target.plain).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n").unwrap();
        drip(&mut stream, b"X-Slow: 1\r\n", Duration::from_secs(10))
    });
}

#[test]
fn d8_a_client_hello_that_never_ends() {
    let target = Target::start("slow::d8_a_client_hello_that_never_ends");
    target.withstands(|target| {
        let mut stream = TcpStream::connect(target.tls).unwrap();
        // A handshake record that declares 512 bytes.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).unwrap();
        drip(&mut stream, &[3], Duration::from_secs(10))
    });
}

#[test]
fn d8_a_connection_without_a_byte() {
    let target = Target::start("slow::d8_a_connection_without_a_byte");
    target.withstands(|target| {
        [target.plain, target.tls].iter().all(|address| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
            let began = Instant::now();
            matches!(stream.read(&mut [0; 16]), Ok(0)) && began.elapsed() < Duration::from_secs(12)
        })
    });
}

#[test]
fn d8_content_that_stops() {
    let target = Target::start("slow::d8_content_that_stops");
    target.withstands(|target| {
        let mut stream = TcpStream::connect(target.plain).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 408")
    });
}

#[test]
fn d8_many_who_read_nothing() {
    // Forty clients request 64 MiB each and never read. Memory for each is bounded, and each is closed.
    let target = Target::start("slow::d8_many_who_read_nothing");
    target.withstands(|target| {
        let ask = b"GET /long HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let mut held: Vec<_> = (0..40)
            .map(|_| {
                let mut stream = tls(target.tls, &http1(&target.root)).unwrap();
                stream.write_all(ask).unwrap();
                stream
            })
            .collect();
        std::thread::sleep(Duration::from_secs(5));
        held.iter_mut().all(|stream| {
            let mut left = Vec::new();
            // The content of the kernels' buffers, and then the end: not all of it.
            let _ = stream.read_to_end(&mut left);
            left.len() < 64 << 20
        })
    });
}

#[test]
fn d8_windows_that_stay_closed() {
    let target = Target::start("slow::d8_windows_that_stay_closed");
    target.withstands(|target| {
        let mut client = Http2::connect(target.tls, &target.root, "a.test");
        let streams: Vec<u32> =
            (0..50).map(|_| client.request("GET", "a.test", "/long", &[], true)).collect();
        let ends = client.ends(&streams, Duration::from_secs(12));
        streams
            .iter()
            .all(|stream| ends.get(stream).is_some_and(|end| !matches!(end, End::Stream | End::Silence)))
    });
}
