//! Streaming content: without delay, in both directions, of any length, with only a few buffers in memory.

mod common;

use common::wire2::{End, Field, Http2};
use common::wire3::{self, Http3};
use common::{Edge, http1, read_until, tls};
use rustls::ClientConnection;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Origin, Process, answer, role, say, serve_until_parent_ends};

fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

fn plain(edge: &Edge) -> TcpStream {
    let stream = TcpStream::connect(edge.plain()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// An origin that responds to the head, and then echoes each chunk as it arrives.
fn echo() -> Origin {
    Origin::scripted(|bytes| {
        if bytes.starts_with(b"POST") {
            let head = head_end(bytes)?;
            return Some((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), head));
        }
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        let end = line + 2 + size + 2;
        bytes.get(..end).map(|chunk| (chunk.to_vec(), end))
    })
}

#[test]
fn full_duplex_http1() {
    let edge = Edge::before(echo().address(), 1);
    let mut stream = plain(&edge);
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for word in ["hello", "again", "still"] {
        stream.write_all(format!("5\r\n{word}\r\n").as_bytes()).unwrap();
        assert_eq!(read_until(&mut stream, &format!("{word}\r\n")), format!("5\r\n{word}\r\n"));
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_until(&mut stream, "0\r\n\r\n"), "0\r\n\r\n");
}

#[test]
fn full_duplex_http2() {
    let edge = Edge::before(echo().address(), 1);
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    let stream = client.request("POST", "a.test", "/", &[], false);
    for word in ["hello", "again", "still"] {
        client.data(stream, word.as_bytes(), false);
        assert_eq!(client.content(stream, 5).1, word.as_bytes());
    }
    client.data(stream, b"", true);
    assert_eq!(client.answer(stream).end, End::Stream);
}

#[test]
fn full_duplex_http3() {
    let edge = Edge::before(echo().address(), 1);
    wire3::run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        let (mut send, mut reader) = client.open(&wire3::request("POST", "a.test", "/", &[])).await;
        reader.frame().await.unwrap();
        for word in ["hello", "again", "still"] {
            send.write_all(&wire3::data(word.as_bytes())).await.unwrap();
            assert_eq!(reader.frame().await.unwrap().1, word.as_bytes());
        }
        send.finish().unwrap();
        assert_eq!(reader.frame().await, Err(wire3::End::Stream));
    });
}

/// A client with Nagle's algorithm enabled, as many have: its request waits until its Finished is acknowledged.
#[test]
fn a_client_that_gathers_what_it_writes_is_not_held_up() {
    let edge = Edge::before(Origin::simple().address(), 1);
    let config = Arc::new(testkit::tls_client(edge.root(), &[b"http/1.1"]));
    let ask = || {
        let mut tcp = TcpStream::connect(edge.tls()).unwrap();
        assert!(!tcp.nodelay().unwrap());
        let mut tls = ClientConnection::new(config.clone(), "a.test".try_into().unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).unwrap();
        }
        let began = Instant::now();
        tls.writer().write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
        let mut part = [0; 12];
        rustls::Stream::new(&mut tls, &mut tcp).read_exact(&mut part).unwrap();
        assert_eq!(&part, b"HTTP/1.1 200");
        began.elapsed()
    };
    // The machine may be slow sometimes, but not always.
    let took = (0..20).map(|_| ask()).min().unwrap();
    assert!(
        took < Duration::from_millis(25),
        "{took:?}: the least time of an acknowledgement that waits is 40 ms"
    );
}

/// An origin that responds without content.
fn bodiless() -> Origin {
    Origin::scripted(|bytes| {
        let end = head_end(bytes)?;
        let said: &[u8] = match &bytes[..5] {
            b"HEAD " => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            b"GET /" if bytes.starts_with(b"GET /204") => b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
            b"GET /" if bytes.starts_with(b"GET /304") => {
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n"
            }
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        };
        Some((said.to_vec(), end))
    })
}

#[test]
fn answers_without_content() {
    let edge = Edge::before(bodiless().address(), 1);
    // One connection: if one byte too many or too few were read as content, the next response would be unreadable.
    let mut stream = plain(&edge);
    for (asked, status) in [("HEAD /", "200"), ("GET /204", "204"), ("HEAD /", "200"), ("GET /304", "304")] {
        stream.write_all(format!("{asked} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes()).unwrap();
        let head = read_until(&mut stream, "\r\n\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{asked}: {head:?}");
        assert_eq!(head.contains("Content-Length"), status != "204", "{asked}: {head:?}");
        assert!(!head.contains("Transfer-Encoding"), "{asked}: {head:?}");
    }
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert!(read_until(&mut stream, "ok").starts_with("HTTP/1.1 200 "));

    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    for (method, path, status) in [("HEAD", "/", "200"), ("GET", "/204", "204"), ("GET", "/304", "304")] {
        let stream = client.request(method, "a.test", path, &[], true);
        let got = client.answer(stream);
        assert_eq!((got.status(), got.content.len(), got.end), (Some(status), 0, End::Stream), "{got:?}");
    }
    wire3::run(async {
        let client = Http3::connect(edge.tls(), edge.root(), "a.test").await;
        for (method, path, status) in [("HEAD", "/", "200"), ("GET", "/204", "204"), ("GET", "/304", "304")] {
            let got = client.ask(&wire3::request(method, "a.test", path, &[])).await;
            assert_eq!((got.status(), got.content.len()), (Some(status), 0), "{got:?}");
            assert_eq!(got.end, wire3::End::Stream);
        }
    });
}

/// An origin that sends 100 when expected, and 103 before its response to other requests.
fn interim() -> Origin {
    Origin::scripted(|bytes| {
        if bytes.starts_with(b"hello") {
            return Some((answer("thanks"), 5));
        }
        let end = head_end(bytes)?;
        let mut said = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".to_vec();
        if bytes.starts_with(b"POST") {
            said = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
        } else {
            said.extend(answer("ok"));
        }
        Some((said, end))
    })
}

#[test]
fn interim_answers_pass() {
    let edge = Edge::before(interim().address(), 1);
    let mut stream = plain(&edge);
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert_eq!(head, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    assert!(read_until(&mut stream, "thanks").starts_with("HTTP/1.1 200 "));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let hints = read_until(&mut stream, "\r\n\r\n");
    assert!(
        hints.starts_with("HTTP/1.1 103 ") && hints.contains("Link: </a.css>; rel=preload\r\n"),
        "{hints}"
    );
    assert!(read_until(&mut stream, "ok").starts_with("HTTP/1.1 200 "));

    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    let got = client.get("a.test", "/");
    assert_eq!(got.sections.len(), 2, "{got:?}");
    assert_eq!(got.sections[0][0], (":status".into(), "103".into()));
    assert_eq!((got.field("link"), got.status()), (Some("</a.css>; rel=preload"), Some("200")));
    let got = wire3::run(async {
        Http3::connect(edge.tls(), edge.root(), "a.test").await.get("a.test", "/").await
    });
    assert_eq!(got.sections.len(), 2, "{got:?}");
    assert_eq!((got.field("link"), got.status()), (Some("</a.css>; rel=preload"), Some("200")));
}

#[test]
fn chunks_and_trailers_both_ways() {
    let origin = Origin::scripted(|bytes| {
        let end = bytes.windows(15).position(|window| window == b"0\r\nX-Sum: 9\r\n\r\n")? + 15;
        let said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Back\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Back: 8\r\n\r\n";
        Some((said.to_vec(), end))
    });
    let edge = Edge::before(origin.address(), 1);
    let mut stream = plain(&edge);
    for _ in 0..2 {
        stream
            .write_all(
                b"POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n1\r\ne\r\n0\r\nX-Sum: 9\r\n\r\n",
            )
            .unwrap();
        let got = read_until(&mut stream, "0\r\nX-Back: 8\r\n\r\n");
        assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("abc") && !got.contains("x=y"), "{got:?}");
    }
    let mut client = Http2::connect(edge.tls(), edge.root(), "a.test");
    let stream = client.request("POST", "a.test", "/", &[], false);
    client.data(stream, b"abc", false);
    let trailers: [Field<'_>; 1] = [(b"x-sum", b"9")];
    let block = common::wire2::block(&trailers);
    let flags = common::wire2::END_HEADERS | common::wire2::END_STREAM;
    client.frame(common::wire2::HEADERS, flags, stream, &block);
    // Names are passed on as they arrived; this origin expects another case, so it is asked what it received.
    assert!(origin.wait(|text| text.ends_with("0\r\nx-sum: 9\r\n\r\n")), "{}", origin.text());
}

/// Content is a sequence of these bytes, so that lost, duplicated or misplaced bytes are detected.
const PERIOD: usize = 251;
const PART: usize = 64 * 1024;

struct Pattern {
    bytes: Vec<u8>,
    at: u64,
}

impl Pattern {
    fn new() -> Self {
        Self { bytes: (0..PART + PERIOD).map(|at| (at % PERIOD) as u8).collect(), at: 0 }
    }

    fn peek(&self, n: usize) -> &[u8] {
        let from = (self.at % PERIOD as u64) as usize;
        &self.bytes[from..from + n.min(PART)]
    }

    fn check(&mut self, part: &[u8]) {
        for part in part.chunks(PART) {
            assert!(part == self.peek(part.len()), "content is not what was sent, near byte {}", self.at);
            self.at += part.len() as u64;
        }
    }
}

/// An origin that sends as many bytes as the path says, or counts received bytes.
fn bulk_origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut write = stream.try_clone().unwrap();
                let mut read = BufReader::with_capacity(4 * PART, stream);
                let (mut path, mut length) = (String::new(), 0u64);
                loop {
                    let mut line = String::new();
                    if read.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                    let lower = line.to_lowercase();
                    if let Some((_, rest)) = line.split_once(" /") {
                        path = rest.split(' ').next().unwrap().to_owned();
                    } else if let Some(value) = lower.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    } else if line == "\r\n" {
                        let mut pattern = Pattern::new();
                        while pattern.at < length {
                            let part = read.fill_buf().unwrap();
                            assert!(!part.is_empty(), "the content ended at {}", pattern.at);
                            pattern.check(part);
                            let n = part.len();
                            read.consume(n);
                        }
                        let more: u64 = path.parse().unwrap_or(0);
                        let said = if more > 0 { String::new() } else { length.to_string() };
                        let announced = more.max(said.len() as u64);
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n\r\n{said}");
                        write.write_all(head.as_bytes()).unwrap();
                        pattern.at = 0;
                        while pattern.at < more {
                            let n = (more - pattern.at).min(PART as u64) as usize;
                            if write.write_all(pattern.peek(n)).is_err() {
                                return;
                            }
                            pattern.at += n as u64;
                        }
                        length = 0;
                    }
                }
            });
        }
    });
    address
}

/// The proxy in a separate process.
struct ProxyProcess {
    process: Process,
    tls: SocketAddr,
    root: String,
}

impl ProxyProcess {
    fn start(test: &str) -> Self {
        let mut process = Process::start(test, "proxy", &[("ORIGIN", bulk_origin().to_string())]);
        let tls = process.hear().parse().unwrap();
        let root = std::fs::read_to_string(process.hear()).unwrap();
        Self { process, tls, root }
    }

    /// Runs the proxy in that process.
    fn serve() -> ! {
        let edge = Edge::before(std::env::var("ORIGIN").unwrap().parse().unwrap(), 1);
        let root = edge.folder.path().join("root.pem");
        std::fs::write(&root, edge.root()).unwrap();
        say(&edge.tls().to_string());
        say(root.to_str().unwrap());
        serve_until_parent_ends()
    }

    /// Prints the figures, and asserts that memory stayed below 100 MB.
    fn report(&self, what: &str, bytes: u64, began: Instant) {
        let took = began.elapsed().as_secs_f64();
        let peak = self.process.memory().peak;
        println!(
            "{what}: {} MiB in {took:.1} s, {:.0} MB/s, the proxy's resident memory was at most {:.1} MB",
            bytes >> 20,
            bytes as f64 / 1e6 / took,
            peak as f64 / 1e6
        );
        assert!(peak < 100_000_000, "{peak} bytes were resident");
    }
}

/// The bytes sent in each direction: `EDGE_STREAM_BYTES`, or this default.
fn amount(default: u64) -> u64 {
    std::env::var("EDGE_STREAM_BYTES").map_or(default, |bytes| bytes.parse().expect("a number of bytes"))
}

#[test]
fn large_content_in_constant_memory_http1() {
    if role().is_some() {
        ProxyProcess::serve();
    }
    let apart = ProxyProcess::start("large_content_in_constant_memory_http1");
    let bytes = amount(1 << 30);
    let mut stream = tls(apart.tls, &http1(&apart.root)).unwrap();
    let began = Instant::now();
    write!(stream, "GET /{bytes} HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("Content-Length: {bytes}")),
        "{head}"
    );
    let mut pattern = Pattern::new();
    let mut part = vec![0; PART];
    while pattern.at < bytes {
        let n = stream.read(&mut part).unwrap();
        assert_ne!(n, 0, "the content ended at {}", pattern.at);
        pattern.check(&part[..n]);
    }
    apart.report("HTTP/1.1 down", bytes, began);

    let began = Instant::now();
    write!(stream, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {bytes}\r\n\r\n").unwrap();
    let mut pattern = Pattern::new();
    while pattern.at < bytes {
        let n = (bytes - pattern.at).min(PART as u64) as usize;
        stream.write_all(pattern.peek(n)).unwrap();
        pattern.at += n as u64;
    }
    let got = read_until(&mut stream, &format!("\r\n\r\n{bytes}"));
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    apart.report("HTTP/1.1 up", bytes, began);
}

#[test]
fn large_content_in_constant_memory_http2() {
    if role().is_some() {
        ProxyProcess::serve();
    }
    let apart = ProxyProcess::start("large_content_in_constant_memory_http2");
    let bytes = amount(1 << 30);
    let mut client = Http2::connect(apart.tls, &apart.root, "a.test");
    let began = Instant::now();
    let stream = client.request("GET", "a.test", &format!("/{bytes}"), &[], true);
    let mut pattern = Pattern::new();
    let got = client.read(stream, |part| {
        pattern.check(part);
        true
    });
    assert_eq!((got.status(), got.end, pattern.at), (Some("200"), End::Stream, bytes));
    apart.report("HTTP/2 down", bytes, began);

    let began = Instant::now();
    let length = bytes.to_string();
    let stream = client.request("POST", "a.test", "/", &[(b"content-length", length.as_bytes())], false);
    let mut pattern = Pattern::new();
    while pattern.at < bytes {
        let n = ((bytes - pattern.at).min(PART as u64) as usize).min(client.room(stream));
        client.data(stream, pattern.peek(n), pattern.at + n as u64 == bytes);
        pattern.at += n as u64;
    }
    let got = client.answer(stream);
    assert_eq!((got.status(), &got.content[..]), (Some("200"), length.as_bytes()));
    apart.report("HTTP/2 up", bytes, began);
}

#[test]
fn large_content_in_constant_memory_http3() {
    if role().is_some() {
        ProxyProcess::serve();
    }
    let apart = ProxyProcess::start("large_content_in_constant_memory_http3");
    let bytes = amount(256 << 20);
    wire3::run(async {
        let client = Http3::connect(apart.tls, &apart.root, "a.test").await;
        let began = Instant::now();
        let asked = wire3::request("GET", "a.test", &format!("/{bytes}"), &[]);
        let (mut send, mut reader) = client.open(&asked).await;
        send.finish().unwrap();
        // One frame has all of the content, since its length is known: it is read as it arrives.
        let (_, length) = reader.head_of_content().await;
        assert_eq!(length, bytes);
        let mut pattern = Pattern::new();
        while pattern.at < bytes {
            let part = reader.part(PART).await.unwrap();
            assert!(!part.is_empty(), "the content ended at {}", pattern.at);
            pattern.check(&part);
        }
        apart.report("HTTP/3 down", bytes, began);

        let began = Instant::now();
        let length = bytes.to_string();
        let asked = wire3::request("POST", "a.test", "/", &[(b"content-length", length.as_bytes())]);
        let (mut send, mut reader) = client.open(&asked).await;
        let mut pattern = Pattern::new();
        while pattern.at < bytes {
            let n = (bytes - pattern.at).min(PART as u64) as usize;
            send.write_all(&wire3::data(pattern.peek(n))).await.unwrap();
            pattern.at += n as u64;
        }
        send.finish().unwrap();
        let got = reader.answer().await;
        assert_eq!((got.status(), &got.content[..]), (Some("200"), length.as_bytes()));
        apart.report("HTTP/3 up", bytes, began);
    });
}
