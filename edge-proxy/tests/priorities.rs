//! Of two responses on one connection the more urgent one is sent first: by the service's priority, the client's, or
//! the configuration's for the media type.

#![cfg(feature = "server")]

mod common;

use common::wire2::{self, Http2};
use common::wire3::{self, Http3};
use common::{Edge, link};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;
use testkit::Origin;

/// Bytes that a client takes of a connection at once, which the first response has ahead of the second.
const WINDOW: u32 = 65_535;
/// The time that a client needs for each part, in which both responses arrive at the proxy.
const PAUSE: Duration = Duration::from_millis(3);
/// Bytes of each response.
const LEN: usize = 1_000_000;
/// The type of PRIORITY_UPDATE frames in HTTP/2 (RFC 9218 §7.1), and of those for requests in HTTP/3 (§7.2).
const UPDATE2: u8 = 0x10;
const UPDATE3: u64 = 0xf0700;

/// Answers `/TYPE/SUBTYPE?PRIORITY` with [`LEN`] bytes of that media type, with this Priority field if it is not empty,
/// once both requests of a race have come.
fn typed() -> Origin {
    let pairs = Pairs::default();
    Origin::scripted(move |bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let target = std::str::from_utf8(bytes).ok()?.split(' ').nth(1)?;
        let (path, priority) = target.split_once('?').unwrap_or((target, ""));
        pairs.wait();
        let media = path.trim_start_matches('/');
        let field = if priority.is_empty() { String::new() } else { format!("Priority: {priority}\r\n") };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n{field}Content-Length: {LEN}\r\n\r\n");
        let mut answer = head.into_bytes();
        answer.resize(answer.len() + LEN, b'x');
        Some((answer, end))
    })
}

/// Requests that wait for each other, two by two.
#[derive(Default)]
struct Pairs {
    came: Mutex<usize>,
    more: Condvar,
}

impl Pairs {
    /// Waits until the other request of the pair has come.
    fn wait(&self) {
        let mut came = self.came.lock().unwrap();
        *came += 1;
        let both = came.next_multiple_of(2);
        self.more.notify_all();
        let (came, ended) =
            self.more.wait_timeout_while(came, Duration::from_secs(60), |came| *came < both).unwrap();
        assert!(!ended.timed_out(), "the other request does not come: {came}");
    }
}

/// Two requests, the first of which is sent first: the target, and the client's `priority` field if not empty. Then the
/// value of a PRIORITY_UPDATE for the second, if not empty.
struct Race {
    first: (&'static str, &'static str),
    second: (&'static str, &'static str),
    update: &'static str,
}

const fn race(first: &'static str, second: &'static str) -> Race {
    Race { first: (first, ""), second: (second, ""), update: "" }
}

/// The response that is complete first, while the other has less than half of its content.
#[derive(Debug, PartialEq)]
enum Winner {
    First,
    Second,
    /// Both have more than half.
    Neither,
}

fn winner(had: [usize; 2]) -> Winner {
    match had {
        [LEN, other] if other < LEN / 2 => Winner::First,
        [other, LEN] if other < LEN / 2 => Winner::Second,
        _ => Winner::Neither,
    }
}

type FieldList = Vec<(&'static [u8], &'static [u8])>;

impl Race {
    fn requests(&self) -> [(&'static str, FieldList); 2] {
        [self.first, self.second].map(|(target, priority)| {
            let fields =
                if priority.is_empty() { Vec::new() } else { vec![(&b"priority"[..], priority.as_bytes())] };
            (target, fields)
        })
    }

    /// The client has a window of 65,535 bytes for the connection, and windows of this size for streams.
    fn over_http2(&self, edge: &Edge, streams: u32) -> Winner {
        let mut client = Http2::with_windows(edge.tls(), edge.root(), "a.test", streams);
        self.with_client(&mut client, PAUSE)
    }

    /// Reads both responses, with this pause after each part until the first is complete.
    fn with_client(&self, client: &mut Http2, pause: Duration) -> Winner {
        let streams =
            self.requests().map(|(target, fields)| client.request("GET", "a.test", target, &fields, true));
        if !self.update.is_empty() {
            let payload = [&streams[1].to_be_bytes()[..], self.update.as_bytes()].concat();
            client.frame(UPDATE2, 0, 0, &payload);
        }
        let mut had = [0; 2];
        // Until both responses have begun, the client takes no more than what its first windows allow.
        let mut heads = 0;
        while heads < 2 {
            let (kind, flags, stream, payload) = client.next_without_window().expect("a frame");
            match kind {
                wire2::HEADERS => heads += 1,
                wire2::DATA => had[position(streams, stream)] += payload.len(),
                _ => {}
            }
            assert!(!(kind == wire2::DATA && flags & wire2::END_STREAM != 0), "a response before the other");
        }
        loop {
            let (at, end) = content(client, streams, &mut had, pause);
            if end {
                assert_eq!(had[at], LEN);
                break;
            }
        }
        let winner = winner(had);
        while !content(client, streams, &mut had, Duration::ZERO).1 {}
        assert_eq!(had, [LEN; 2]);
        winner
    }

    fn over_http3(&self, edge: &Edge) -> Winner {
        wire3::run(async {
            let mut client = Http3::with_window(edge.tls(), edge.root(), "a.test", Some(WINDOW)).await;
            let mut readers = Vec::new();
            for (target, fields) in self.requests() {
                let (mut send, reader) = client.open(&wire3::request("GET", "a.test", target, &fields)).await;
                let _ = send.finish();
                readers.push(reader);
            }
            let mut control = client.take_control();
            if !self.update.is_empty() {
                // The request arrives before.
                tokio::time::sleep(Duration::from_millis(50)).await;
                // The second request of a client has the stream 4.
                let payload = [&[4][..], self.update.as_bytes()].concat();
                control.write_all(&wire3::frame(UPDATE3, &payload)).await.unwrap();
            }
            let had = Rc::new(RefCell::new([0; 2]));
            let [first, second]: [wire3::Reader; 2] = readers.try_into().ok().unwrap();
            tokio::select! {
                () = all(first, 0, had.clone()) => {}
                () = all(second, 1, had.clone()) => {}
            }
            winner(*had.borrow())
        })
    }
}

/// Returns which of two responses has this stream.
fn position(streams: [u32; 2], stream: u32) -> usize {
    streams.iter().position(|known| *known == stream).expect("one of both")
}

/// Reads the next part of the content of one of two responses, and counts its bytes in `had`. Returns which one it is
/// of, and if that is complete.
fn content(client: &mut Http2, streams: [u32; 2], had: &mut [usize; 2], pause: Duration) -> (usize, bool) {
    loop {
        let (kind, flags, stream, payload) = client.next().expect("a frame");
        assert_ne!(kind, wire2::RST_STREAM, "stream {stream} was reset");
        assert_ne!(kind, wire2::GOAWAY, "the connection ends: {payload:?}");
        if kind == wire2::DATA {
            thread::sleep(pause);
            let at = position(streams, stream);
            had[at] += payload.len();
            return (at, flags & wire2::END_STREAM != 0);
        }
    }
}

/// Reads all content of a response, and counts its bytes in `had`.
async fn all(mut reader: wire3::Reader, at: usize, had: Rc<RefCell<[usize; 2]>>) {
    assert_eq!(reader.head_of_content().await.1, LEN as u64);
    while had.borrow()[at] < LEN {
        let part = reader.part(8192).await.expect("content");
        tokio::time::sleep(PAUSE).await;
        assert!(!part.is_empty(), "the stream ended");
        had.borrow_mut()[at] += part.len();
    }
}

/// The races with the winner of each, while images have urgency 5 and style sheets 2.
fn races() -> [(Race, Winner); 7] {
    [
        (race("/image/png", "/text/css"), Winner::Second),
        // A type that the configuration does not name has urgency 3.
        (race("/text/html", "/image/png"), Winner::First),
        // The client precedes the configuration, also with the default that it does not write.
        (Race { first: ("/image/png", "u=1"), ..race("", "/text/css") }, Winner::First),
        (Race { second: ("/text/css", "i"), ..race("/image/png?u=2", "") }, Winner::First),
        (Race { update: "u=7", ..race("/image/png", "/text/css") }, Winner::First),
        // The service precedes both.
        (Race { first: ("/image/png?u=0", "u=7"), ..race("", "/text/css") }, Winner::First),
        (race("/image/png", "/text/css?u=7"), Winner::First),
    ]
}

fn edge(origin: &Origin) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    reload(&mut edge, &[("image/*", 5), ("text/css", 2)]);
    edge
}

fn reload(edge: &mut Edge, rules: &[(&str, u8)]) {
    edge.config.priority = rules.iter().map(|(range, urgency)| (range.parse().unwrap(), *urgency)).collect();
    edge.proxy.reload(edge.config.clone()).unwrap();
    // The worker takes the new configuration over soon.
    thread::sleep(Duration::from_millis(300));
}

/// All races of clients whose streams have this window, and one of equally urgent responses.
fn races_over_http2(streams: u32) {
    let origin = typed();
    let mut edge = edge(&origin);
    for (at, (race, expected)) in races().into_iter().enumerate() {
        assert_eq!(race.over_http2(&edge, streams), expected, "race {at}");
    }
    reload(&mut edge, &[("text/*", 6), ("*/*", 4)]);
    assert_eq!(race("/image/png", "/text/css").over_http2(&edge, streams), Winner::First);
    reload(&mut edge, &[]);
    assert_eq!(race("/image/png", "/text/css").over_http2(&edge, streams), Winner::Neither);
}

#[test]
fn the_more_urgent_response_is_first_over_http2() {
    races_over_http2(1 << 20);
}

#[test]
fn the_more_urgent_response_is_first_though_the_windows_of_streams_are_exhausted() {
    races_over_http2(65_535);
}

#[test]
fn the_more_urgent_response_is_first_on_a_slow_link() {
    let origin = typed();
    let edge = edge(&origin);
    for _ in 0..2 {
        let mut client = Http2::connect(link::tcp(edge.tls(), 4_000_000), edge.root(), "a.test");
        client.widen(8 << 20);
        // Less than half is in the buffers of the sockets and of the link before the second response begins, also if the
        // connection was used before.
        for _ in 0..2 {
            let winner = race("/image/png", "/text/css").with_client(&mut client, Duration::ZERO);
            assert_eq!(winner, Winner::Second);
        }
    }
}

/// Answers as [`typed`] without priorities; but of style sheets sends the first bytes and then `trickle` bytes every
/// 10 ms, and the rest once `rest` is set.
fn slow_sheets(trickle: usize, rest: &Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let rest = rest.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let rest = rest.clone();
            thread::spawn(move || serve_slow_sheets(stream.unwrap(), trickle, &rest));
        }
    });
    address
}

fn serve_slow_sheets(mut stream: TcpStream, trickle: usize, rest: &AtomicBool) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let sheet = request.starts_with(b"GET /text/css");
    let media = if sheet { "text/css" } else { "image/png" };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nContent-Length: {LEN}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let content = vec![b'x'; LEN];
    let mut at = 0;
    if sheet {
        at = 100_000;
        stream.write_all(&content[..at]).unwrap();
        while !rest.load(Ordering::Relaxed) && at + trickle < LEN {
            stream.write_all(&content[..trickle]).unwrap();
            at += trickle;
            thread::sleep(Duration::from_millis(10));
        }
    }
    let _ = stream.write_all(&content[at..]);
}

#[test]
fn an_urgent_response_that_waits_for_its_service_holds_no_other_back() {
    for trickle in [0, 1000] {
        let rest = Arc::new(AtomicBool::new(false));
        let mut edge = Edge::before(slow_sheets(trickle, &rest), 1);
        reload(&mut edge, &[("image/*", 5), ("text/css", 2)]);
        for window in [65_535, 1 << 20] {
            rest.store(false, Ordering::Relaxed);
            let mut client = Http2::with_windows(edge.tls(), edge.root(), "a.test", window);
            let streams =
                ["/text/css", "/image/png"].map(|target| client.request("GET", "a.test", target, &[], true));
            let (mut had, mut ends) = ([0; 2], Vec::new());
            while ends.len() < 2 {
                let (at, end) = content(&mut client, streams, &mut had, Duration::from_millis(1));
                if end {
                    assert_eq!(had[at], LEN);
                    ends.push(at);
                    rest.store(true, Ordering::Relaxed);
                }
            }
            assert_eq!(ends, [1, 0], "{trickle} {window}");
        }
    }
}

#[test]
fn the_more_urgent_response_is_first_over_http3() {
    let origin = typed();
    let mut edge = edge(&origin);
    for (at, (race, expected)) in races().into_iter().enumerate() {
        assert_eq!(race.over_http3(&edge), expected, "race {at}");
    }
    reload(&mut edge, &[("text/*", 6), ("*/*", 4)]);
    assert_eq!(race("/image/png", "/text/css").over_http3(&edge), Winner::First);
    reload(&mut edge, &[]);
    assert_eq!(race("/image/png", "/text/css").over_http3(&edge), Winner::Neither);
}

#[test]
fn an_urgency_out_of_range_is_refused() {
    let origin = typed();
    let mut edge = edge(&origin);
    edge.config.priority.insert("image/*".parse().unwrap(), 8);
    let why = edge.proxy.reload(edge.config.clone()).unwrap_err();
    let why = std::error::Error::source(&why).unwrap().to_string();
    assert!(why.contains("image/* = 8") && why.contains("expected 0 to 7"), "{why}");
}
