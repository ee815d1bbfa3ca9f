//! Streams of one connection share a slow link: none starves, and a small response does not wait for large ones.

#![cfg(feature = "server")]

mod common;

use common::wire2::{self, Http2};
use common::wire3::{self, End, Http3};
use common::{Edge, link};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use testkit::Origin;

/// Bytes a second.
const RATE: u64 = 2_000_000;
const BULK: usize = 1_000_000;
/// Bytes of each of several equal responses: many times what the first has ahead while the connections for the others are made.
const EQUAL: usize = 1_500_000;

/// Answers `/N` with N bytes, at once.
fn sized() -> Origin {
    Origin::scripted(|bytes| {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let line = std::str::from_utf8(bytes).ok()?.split(' ').nth(1)?;
        let size: usize = line.trim_start_matches('/').parse().ok()?;
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'x');
        Some((answer, end))
    })
}

/// The bytes that each stream had when the first was complete must be alike.
fn assert_fair(had: &[usize]) {
    let least = had.iter().min().unwrap();
    assert!(*least * 3 >= EQUAL * 2, "when one of the streams had all of its {EQUAL} bytes they had {had:?}");
}

#[test]
fn equal_streams_share_an_http2_connection() {
    let origin = sized();
    let edge = Edge::before(origin.address(), 1);
    let mut client = Http2::connect(link::tcp(edge.tls(), RATE), edge.root(), "a.test");
    client.widen(8 << 20);
    let path = format!("/{EQUAL}");
    let streams: Vec<u32> = (0..5).map(|_| client.request("GET", "a.test", &path, &[], true)).collect();
    let mut had: HashMap<u32, usize> = streams.iter().map(|stream| (*stream, 0)).collect();
    let mut first = None;
    let mut whole = 0;
    while whole < streams.len() {
        let (kind, flags, stream, payload) = client.next().expect("a frame");
        assert_ne!(kind, wire2::RST_STREAM, "stream {stream} was reset");
        if kind == wire2::DATA {
            *had.get_mut(&stream).unwrap() += payload.len();
            if flags & wire2::END_STREAM != 0 {
                whole += 1;
                first.get_or_insert_with(|| had.values().copied().collect::<Vec<_>>());
            }
        }
    }
    assert_fair(&first.unwrap());
    assert!(had.values().all(|had| *had == EQUAL));
}

#[test]
fn a_small_response_overtakes_large_ones_over_http2() {
    let origin = sized();
    let edge = Edge::before(origin.address(), 1);
    for bulks in [1, 4] {
        let mut client = Http2::connect(link::tcp(edge.tls(), RATE), edge.root(), "a.test");
        client.widen(8 << 20);
        for _ in 0..bulks {
            client.request("GET", "a.test", &format!("/{}", 8 * BULK / bulks), &[], true);
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(700) {
            client.next().expect("a frame");
        }
        for _ in 0..3 {
            let asked = Instant::now();
            let small = client.request("GET", "a.test", "/1000", &[], true);
            loop {
                let (kind, flags, stream, _) = client.next().expect("a frame");
                if kind == wire2::DATA && stream == small && flags & wire2::END_STREAM != 0 {
                    break;
                }
            }
            // All that may be before it in buffers is a quarter of a megabyte or so.
            assert!(asked.elapsed() < Duration::from_millis(600), "{bulks} {:?}", asked.elapsed());
        }
        assert!(begun.elapsed() < Duration::from_secs(3), "the large ones were under way all the time");
    }
}

#[test]
fn equal_streams_share_an_http3_connection() {
    let origin = sized();
    let edge = Edge::before(origin.address(), 1);
    wire3::run(async {
        let client = Http3::connect(link::udp(edge.tls(), RATE), edge.root(), "a.test").await;
        let had = std::rc::Rc::new(std::cell::RefCell::new(vec![0; 5]));
        let first = std::rc::Rc::new(std::cell::RefCell::new(None));
        let local = tokio::task::LocalSet::new();
        for at in 0..5 {
            let request = wire3::request("GET", "a.test", &format!("/{EQUAL}"), &[]);
            let (mut send, mut reader) = client.open(&request).await;
            let _ = send.finish();
            let (had, first) = (had.clone(), first.clone());
            local.spawn_local(async move {
                assert_eq!(reader.head_of_content().await.1, EQUAL as u64);
                while had.borrow()[at] < EQUAL {
                    let part = reader.part(65_536).await.expect("content");
                    assert!(!part.is_empty(), "the stream ended");
                    had.borrow_mut()[at] += part.len();
                }
                first.borrow_mut().get_or_insert_with(|| had.borrow().clone());
                assert_eq!(reader.part(1).await, Ok(Vec::new()));
            });
        }
        local.await;
        assert_fair(first.borrow().as_ref().unwrap());
        assert_eq!(*had.borrow(), [EQUAL; 5]);
    });
}

#[test]
fn a_small_response_overtakes_large_ones_over_http3() {
    let origin = sized();
    let edge = Edge::before(origin.address(), 1);
    wire3::run(async {
        for bulks in [1, 4] {
            let client = Http3::connect(link::udp(edge.tls(), RATE), edge.root(), "a.test").await;
            let local = tokio::task::LocalSet::new();
            for _ in 0..bulks {
                let request = wire3::request("GET", "a.test", &format!("/{}", 8 * BULK / bulks), &[]);
                let (mut send, mut reader) = client.open(&request).await;
                let _ = send.finish();
                local.spawn_local(async move {
                    while reader.part(65_536).await.is_ok_and(|part| !part.is_empty()) {}
                });
            }
            local
                .run_until(async {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    for _ in 0..3 {
                        let asked = Instant::now();
                        let answer = client.get("a.test", "/1000").await;
                        assert_eq!((answer.end, answer.content.len()), (End::Stream, 1000));
                        assert!(
                            asked.elapsed() < Duration::from_millis(400),
                            "{bulks} {:?}",
                            asked.elapsed()
                        );
                    }
                })
                .await;
        }
    });
}

/// An edge whose clients must accept a part of a response within this time.
fn impatient(origin: &Origin, time: Duration) -> Edge {
    let mut edge = Edge::before(origin.address(), 1);
    edge.config.timeouts.body = time;
    edge.proxy.reload(edge.config.clone()).unwrap();
    edge
}

/// The time for which a less urgent response waits for its turn, on a link of [`RATE`], in `/N`.
const WAIT: Duration = Duration::from_secs(4);

#[test]
fn a_response_that_waits_for_its_turn_over_http2_is_not_that_of_a_slow_client() {
    let origin = sized();
    let edge = impatient(&origin, WAIT / 4);
    let mut client = Http2::connect(link::tcp(edge.tls(), RATE), edge.root(), "a.test");
    client.widen(16 << 20);
    let urgent = format!("/{}", RATE * WAIT.as_secs());
    let ask = |client: &mut Http2, path: &str, priority: &'static [u8]| {
        client.request("GET", "a.test", path, &[(b"priority", priority)], true)
    };
    let first = ask(&mut client, &urgent, b"u=0");
    let second = ask(&mut client, &format!("/{BULK}"), b"u=7");
    let mut ended = Vec::new();
    while ended.len() < 2 {
        let (kind, flags, stream, _) = client.next().expect("a frame");
        assert_ne!(kind, wire2::RST_STREAM, "stream {stream} was reset after {ended:?}");
        if kind == wire2::DATA && flags & wire2::END_STREAM != 0 {
            ended.push(stream);
        }
    }
    assert_eq!(ended, [first, second], "the second waited");
}

#[test]
fn a_response_that_waits_for_its_turn_over_http3_is_not_that_of_a_slow_client() {
    let origin = sized();
    let edge = impatient(&origin, WAIT / 4);
    wire3::run(async {
        let client = Http3::connect(link::udp(edge.tls(), RATE), edge.root(), "a.test").await;
        let local = tokio::task::LocalSet::new();
        let ended = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        for (at, size, priority) in [(0, (RATE * WAIT.as_secs()) as usize, b"u=0"), (1, BULK, b"u=7")] {
            let request = wire3::request("GET", "a.test", &format!("/{size}"), &[(b"priority", priority)]);
            let (mut send, mut reader) = client.open(&request).await;
            let _ = send.finish();
            let ended = ended.clone();
            local.spawn_local(async move {
                assert_eq!(reader.head_of_content().await.1, size as u64);
                let mut had = 0;
                while had < size {
                    had += reader.part(65_536).await.expect("content, not a reset").len();
                }
                ended.borrow_mut().push(at);
            });
        }
        local.await;
        assert_eq!(*ended.borrow(), [0, 1], "the second waited");
    });
}
