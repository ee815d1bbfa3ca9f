//! D1, D2 and D3: floods of HTTP/2 frames.

use crate::Target;
use crate::common::wire2::{End, Field, Http2, block};
use std::time::{Duration, Instant};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn usual() -> [Field<'static>; 4] {
    [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/")]
}

/// Sends rounds until the connection is closed, up to a maximum. Returns whether it was closed, and its error code if
/// any.
fn flood(target: &Target, rounds: usize, mut round: impl FnMut(&mut Http2, usize)) -> Option<u32> {
    let mut client = Http2::connect(target.tls, &target.root, "a.test");
    let until = Instant::now() + Duration::from_secs(20);
    for number in 0..rounds {
        round(&mut client, number);
        if client.is_broken() || Instant::now() > until {
            break;
        }
    }
    match client.answer(u32::MAX).end {
        End::GoAway(code) => Some(code),
        End::Closed => Some(0),
        _ => None,
    }
}

/// Asserts that the flood is answered with ENHANCE_YOUR_CALM, or that the connection is closed.
#[track_caller]
fn is_calmed(target: &Target, rounds: usize, round: impl FnMut(&mut Http2, usize) + Send) {
    target.withstands(|target| matches!(flood(target, rounds, round), Some(0 | ENHANCE_YOUR_CALM)));
}

#[test]
fn d1_rapid_reset() {
    let target = Target::start("http2::d1_rapid_reset");
    is_calmed(&target, 200_000, |client, _| {
        let stream = client.open(&usual(), true);
        client.frame(RST_STREAM, 0, stream, &8u32.to_be_bytes());
    });
}

#[test]
fn d1_made_you_reset() {
    // The client provokes resets by the proxy: by an empty window, and by content after the end (CVE-2025-8671).
    let target = Target::start("http2::d1_made_you_reset");
    is_calmed(&target, 200_000, |client, number| {
        let stream = client.open(&usual(), true);
        if number % 2 == 0 {
            client.frame(WINDOW_UPDATE, 0, stream, &0u32.to_be_bytes());
        } else {
            client.frame(DATA, END_STREAM, stream, b"x");
        }
    });
}

#[test]
fn d1_settings() {
    let target = Target::start("http2::d1_settings");
    is_calmed(&target, 200_000, |client, _| client.frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
}

#[test]
fn d1_ping() {
    let target = Target::start("http2::d1_ping");
    is_calmed(&target, 200_000, |client, _| client.frame(PING, 0, 0, &[0; 8]));
}

#[test]
fn d1_priority() {
    let target = Target::start("http2::d1_priority");
    is_calmed(&target, 200_000, |client, _| client.frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]));
}

#[test]
fn d1_window_update() {
    let target = Target::start("http2::d1_window_update");
    is_calmed(&target, 200_000, |client, _| client.frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()));
}

#[test]
fn d1_unknown_frames() {
    let target = Target::start("http2::d1_unknown_frames");
    is_calmed(&target, 200_000, |client, _| client.frame(0xfa, 0, 0, &[0; 16]));
}

#[test]
fn d2_continuation() {
    let target = Target::start("http2::d2_continuation");
    target.withstands(|target| {
        let ended = flood(target, 50_000, |client, number| {
            if number == 0 {
                client.frame(HEADERS, END_STREAM, 1, &block(&usual()));
            }
            client.frame(CONTINUATION, 0, 1, &block(&[(b"x-more", &[b'x'; 1000])]));
        });
        ended.is_some()
    });
}

#[test]
fn d2_empty_continuation() {
    let target = Target::start("http2::d2_empty_continuation");
    target.withstands(|target| {
        let ended = flood(target, 200_000, |client, number| {
            if number == 0 {
                client.frame(HEADERS, END_STREAM, 1, &block(&usual()));
            }
            client.frame(CONTINUATION, 0, 1, b"");
        });
        ended.is_some()
    });
}

#[test]
fn d2_empty_data() {
    let target = Target::start("http2::d2_empty_data");
    let mut stream = 0;
    is_calmed(&target, 200_000, |client, number| {
        if number == 0 {
            stream = client.request("POST", "a.test", "/", &[], false);
        }
        client.frame(DATA, 0, stream, b"");
    });
}

#[test]
fn d2_padding_only_data() {
    let target = Target::start("http2::d2_padding_only_data");
    let mut stream = 0;
    is_calmed(&target, 200_000, |client, number| {
        if number == 0 {
            stream = client.request("POST", "a.test", "/", &[], false);
        }
        client.frame(DATA, PADDED, stream, &[0]);
    });
}

#[test]
fn d3_header_bombs() {
    // A field of 4 KiB enters the table once and is referenced with one byte from then on (CVE-2026-49975).
    let target = Target::start("http2::d3_header_bombs");
    target.withstands(|target| {
        let mut refused = 0;
        for _ in 0..20 {
            let mut client = Http2::connect(target.tls, &target.root, "a.test");
            let mut bomb = block(&usual());
            // Literal with incremental indexing, new name (RFC 7541 §6.2.1).
            bomb.push(0x40);
            bomb.extend_from_slice(&block(&[(b"x-bomb", &[b'x'; 3000])])[1..]);
            // The first entry of the dynamic table, repeatedly.
            bomb.resize(bomb.len() + 12_000, 0x80 | 62);
            client.frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
            let answer = client.answer(1);
            refused += usize::from(answer.status() != Some("200"));
        }
        refused == 20
    });
}

#[test]
fn d3_streams_that_are_never_finished_are_reaped() {
    let target = Target::start("http2::d3_streams_that_are_never_finished_are_reaped");
    target.withstands(|target| {
        let mut client = Http2::connect(target.tls, &target.root, "a.test");
        let streams: Vec<u32> = (0..100)
            .map(|_| client.request("POST", "a.test", "/", &[(b"content-length", b"9")], false))
            .collect();
        // Each gets 408 or a reset within the deadline for content.
        let ends = client.ends(&streams, Duration::from_secs(10));
        streams.iter().all(|stream| ends.get(stream).is_some_and(|end| *end != End::Silence))
    });
}

#[test]
fn d4_answers_without_content_that_nobody_takes() {
    // Each is only a head, so that no window limits it.
    let target = Target::start("http2::d4_answers_without_content_that_nobody_takes");
    let (mut asked, mut end) = (0, End::Silence);
    target.withstands(|target| {
        let mut client = Http2::connect(target.tls, &target.root, "a.test");
        while asked < 200_000 && !client.is_broken() {
            client.request("GET", "b.test", "/", &[], true);
            asked += 1;
            // No more at once than allowed, if the proxy is fast enough: that would be another offence.
            if asked % 50 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // The proxy stops reading, and closes the connection after a time without progress.
        end = client.answer(u32::MAX).end;
        end != End::Silence
    });
    let calmed = end == End::GoAway(ENHANCE_YOUR_CALM);
    assert!(asked < 200_000 || calmed, "the proxy took all of them: {end:?}");
}

#[test]
fn d17_a_field_section_that_never_ends() {
    // The time limit of a head applies, wherever the section stops.
    let target = Target::start("http2::d17_a_field_section_that_never_ends");
    let section = block(&usual());
    for begun in [
        // Without END_HEADERS and without CONTINUATION.
        [&[0, 0, section.len() as u8, HEADERS, END_STREAM, 0, 0, 0, 3][..], &section[..]].concat(),
        // Half a frame.
        vec![0, 1, 0, HEADERS, END_STREAM | END_HEADERS, 0, 0, 0, 3, 0x82],
    ] {
        target.withstands(|target| {
            let mut client = Http2::connect(target.tls, &target.root, "a.test");
            // What is to be acknowledged is, so that nothing comes between the frames of the section.
            assert_eq!(client.get("a.test", "/").status(), Some("200"));
            client.raw(&begun);
            let begin = Instant::now();
            let mut ended = false;
            // The idle time-out would be five seconds, and is renewed by what comes.
            while !ended && begin.elapsed() < Duration::from_secs(8) {
                ended = matches!(client.answer(u32::MAX).end, End::GoAway(_) | End::Closed);
            }
            ended && (Duration::from_millis(1500)..Duration::from_millis(4500)).contains(&begin.elapsed())
        });
    }
}

#[test]
fn d18_settings_of_many_parameters() {
    let target = Target::start("http2::d18_settings_of_many_parameters");
    let parameters = [0, 4, 0, 1, 0, 0].repeat(2730);
    // Without the length counted, a thousand of them would be allowed: 16 MB.
    is_calmed(&target, 200, |client, _| client.frame(SETTINGS, 0, 0, &parameters));
}
