//! Whatever a client sends, however it is cut, the state keeps its bounds; and what one frame after another does.

use super::*;
use edge_http::BodyLength;
use edge_http::ResponseHead;
use edge_http::h2::frame::{FrameHeader, PREFACE};
use edge_http::h2::hpack;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

const LIMITS: Http2Limits =
    Http2Limits { streams: 4, resets: 10, section: SectionLimits { section: 2048, fields: 20 } };

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, kind, flags, stream, payload);
    bytes
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| hpack::write_field(&mut block, name.as_bytes(), value.as_bytes()));
    block
}

fn get() -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")])
}

fn begun() -> Http2Connection {
    let mut conn = Http2Connection::new(LIMITS, Instant::now());
    let mut arrived = Vec::new();
    let hello = [PREFACE.as_slice(), &frame(frame::SETTINGS, 0, 0, b"")].concat();
    assert_eq!(conn.receive(&hello, &mut arrived, Instant::now()), hello.len());
    assert!(arrived.is_empty() && conn.failure().is_none());
    conn.out.release();
    conn
}

/// The frames that wait to be written.
fn said(conn: &mut Http2Connection) -> Vec<(FrameHeader, Vec<u8>)> {
    let bytes = std::mem::take(conn.out.push());
    let (mut rest, mut frames) = (bytes.as_slice(), Vec::new());
    while let Some(header) = FrameHeader::read(rest) {
        let (frame, after) = rest.split_at(FrameHeader::LEN + header.length as usize);
        frames.push((header, frame[FrameHeader::LEN..].to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    frames
}

fn send(conn: &mut Http2Connection, bytes: &[u8]) -> Vec<u32> {
    let mut arrived = Vec::new();
    conn.receive(bytes, &mut arrived, Instant::now());
    arrived.into_iter().map(|arrived| arrived.id).collect()
}

/// The response to a frame: an error of the connection, or of the stream.
fn answer(conn: &mut Http2Connection) -> (Option<Code>, Option<(u32, u32)>) {
    let reset = said(conn)
        .into_iter()
        .find(|(header, _)| header.kind == frame::RST_STREAM)
        .map(|(header, payload)| (header.stream, frame::word(&payload)));
    (conn.failure(), reset)
}

const WHOLE: u8 = frame::END_STREAM | frame::END_HEADERS;

#[test]
fn errors_of_the_connection() {
    let cases: &[(Code, Vec<u8>)] = &[
        (Code::PROTOCOL_ERROR, frame(frame::DATA, 0, 0, b"x")),
        (Code::PROTOCOL_ERROR, frame(frame::DATA, 0, 9, b"x")),
        (Code::PROTOCOL_ERROR, frame(frame::DATA, frame::PADDED, 1, &[4, 0, 0])),
        (Code::PROTOCOL_ERROR, frame(frame::HEADERS, WHOLE, 2, &get())),
        (Code::PROTOCOL_ERROR, frame(frame::HEADERS, WHOLE, 0, &get())),
        (Code::FRAME_SIZE_ERROR, frame(frame::HEADERS, WHOLE | frame::PRIORITIZED, 3, &[0, 0])),
        (Code::COMPRESSION_ERROR, frame(frame::HEADERS, WHOLE, 3, &[0x80])),
        (Code::FRAME_SIZE_ERROR, frame(frame::RST_STREAM, 0, 1, &[0; 5])),
        (Code::PROTOCOL_ERROR, frame(frame::RST_STREAM, 0, 9, &[0; 4])),
        (Code::FRAME_SIZE_ERROR, frame(frame::SETTINGS, 0, 0, &[0; 5])),
        (Code::FRAME_SIZE_ERROR, frame(frame::SETTINGS, frame::ACK, 0, &[0; 6])),
        (Code::PROTOCOL_ERROR, frame(frame::SETTINGS, 0, 1, &[0; 6])),
        (Code::PROTOCOL_ERROR, frame(frame::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])),
        (Code::PROTOCOL_ERROR, frame(frame::SETTINGS, 0, 0, &[0, 5, 0, 0, 0x3f, 0xff])),
        (Code::PROTOCOL_ERROR, frame(frame::SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0])),
        (Code::FLOW_CONTROL_ERROR, frame(frame::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        (Code::PROTOCOL_ERROR, frame(frame::PUSH_PROMISE, 0, 1, &[0; 4])),
        (Code::FRAME_SIZE_ERROR, frame(frame::PING, 0, 0, &[0; 7])),
        (Code::PROTOCOL_ERROR, frame(frame::PING, 0, 1, &[0; 8])),
        (Code::FRAME_SIZE_ERROR, frame(frame::GOAWAY, 0, 0, &[0; 7])),
        (Code::FRAME_SIZE_ERROR, frame(frame::WINDOW_UPDATE, 0, 0, &[0; 3])),
        (Code::PROTOCOL_ERROR, frame(frame::WINDOW_UPDATE, 0, 0, &[0; 4])),
        (Code::FLOW_CONTROL_ERROR, frame(frame::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        (Code::PROTOCOL_ERROR, frame(frame::WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1])),
        (Code::PROTOCOL_ERROR, frame(frame::CONTINUATION, 0, 1, b"")),
        (Code::FRAME_SIZE_ERROR, vec![0, 0x40, 1, frame::DATA, 0, 0, 0, 0, 1]),
        // Something else between the frames of a section.
        (
            Code::PROTOCOL_ERROR,
            [frame(frame::HEADERS, 0, 3, &get()), frame(frame::PING, 0, 0, &[0; 8])].concat(),
        ),
        // A section that never ends.
        (
            Code::ENHANCE_YOUR_CALM,
            [frame(frame::HEADERS, 0, 3, &[0; 8000]), frame(frame::CONTINUATION, 0, 3, &[0; 8000])].concat(),
        ),
    ];
    for (code, bytes) in cases {
        let mut conn = begun();
        assert_eq!(send(&mut conn, &frame(frame::HEADERS, frame::END_HEADERS, 1, &get())), [1]);
        send(&mut conn, bytes);
        assert_eq!(conn.failure(), Some(*code), "{bytes:?}");
        let last = said(&mut conn).pop().expect("a frame");
        assert_eq!((last.0.kind, frame::word(&last.1[4..])), (frame::GOAWAY, code.0), "{bytes:?}");
        assert!(conn.is_over() && conn.slots[&1].dead);
        // Nothing is listened to any more.
        assert!(send(&mut conn, &frame(frame::HEADERS, WHOLE, 5, &get())).is_empty());
        assert!(said(&mut conn).is_empty());
    }
    let mut conn = Http2Connection::new(LIMITS, Instant::now());
    send(&mut conn, &[PREFACE.as_slice(), &frame(frame::PING, 0, 0, &[0; 8])].concat());
    assert_eq!(conn.failure(), Some(Code::PROTOCOL_ERROR), "SETTINGS come first");
    let mut conn = Http2Connection::new(LIMITS, Instant::now());
    send(&mut conn, b"GET / HTTP/1.1\r\n\r\n");
    assert!(conn.is_over() && said(&mut conn).is_empty(), "nothing is said to whoever does not speak HTTP/2");
}

#[test]
fn errors_of_a_stream() {
    let cases: &[(Code, Vec<u8>)] = &[
        (Code::PROTOCOL_ERROR, frame(frame::PRIORITY, 0, 1, &[0, 0, 0, 1, 0])),
        (Code::FRAME_SIZE_ERROR, frame(frame::PRIORITY, 0, 1, &[0; 4])),
        (Code::PROTOCOL_ERROR, frame(frame::WINDOW_UPDATE, 0, 1, &[0; 4])),
        (Code::FLOW_CONTROL_ERROR, frame(frame::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])),
        (Code::PROTOCOL_ERROR, frame(frame::HEADERS, frame::END_HEADERS, 1, &block(&[("x", "y")]))),
        (Code::PROTOCOL_ERROR, frame(frame::HEADERS, WHOLE, 1, &block(&[(":path", "/")]))),
        (
            Code::STREAM_CLOSED,
            [frame(frame::DATA, frame::END_STREAM, 1, b"x"), frame(frame::DATA, 0, 1, b"y")].concat(),
        ),
        (
            Code::STREAM_CLOSED,
            [frame(frame::DATA, frame::END_STREAM, 1, b"x"), frame(frame::HEADERS, WHOLE, 1, &block(&[]))]
                .concat(),
        ),
    ];
    for (code, bytes) in cases {
        let mut conn = begun();
        send(&mut conn, &frame(frame::HEADERS, frame::END_HEADERS, 1, &get()));
        send(&mut conn, bytes);
        assert_eq!(answer(&mut conn), (None, Some((1, code.0))), "{bytes:?}");
        assert!(conn.slots[&1].dead);
        // What the client sent before it heard of it changes nothing.
        send(&mut conn, &frame(frame::DATA, 0, 1, b"late"));
        conn.release_stream(1, false);
        send(&mut conn, &frame(frame::DATA, 0, 1, b"later"));
        send(&mut conn, &frame(frame::HEADERS, WHOLE, 1, &block(&[])));
        assert_eq!(answer(&mut conn), (None, None), "{bytes:?}");
    }
}

#[test]
fn streams_that_ended_and_streams_that_were_skipped() {
    let mut conn = begun();
    assert_eq!(send(&mut conn, &frame(frame::HEADERS, WHOLE, 5, &get())), [5]);
    conn.send_head(5, &ResponseHead::new(204), true);
    conn.release_stream(5, true);
    send(&mut conn, &frame(frame::DATA, 0, 5, b"x"));
    assert_eq!(answer(&mut conn), (None, Some((5, Code::STREAM_CLOSED.0))));
    send(&mut conn, &frame(frame::HEADERS, WHOLE, 3, &get()));
    assert_eq!(conn.failure(), Some(Code::STREAM_CLOSED));
}

#[test]
fn a_stream_that_the_client_reset_is_closed_whether_or_not_its_task_has_ended() {
    for ended in [false, true] {
        let mut conn = begun();
        send(&mut conn, &frame(frame::HEADERS, frame::END_HEADERS, 1, &get()));
        send(&mut conn, &frame(frame::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
        if ended {
            conn.release_stream(1, false);
        }
        send(&mut conn, &frame(frame::DATA, 0, 1, b"x"));
        assert_eq!(answer(&mut conn), (None, Some((1, Code::STREAM_CLOSED.0))));
        let mut conn = begun();
        send(&mut conn, &frame(frame::HEADERS, frame::END_HEADERS, 1, &get()));
        send(&mut conn, &frame(frame::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
        if ended {
            conn.release_stream(1, false);
        }
        send(&mut conn, &frame(frame::HEADERS, WHOLE, 1, &get()));
        assert_eq!(conn.failure(), Some(Code::STREAM_CLOSED));
    }
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_table_still_agrees() {
    let mut conn = begun();
    let mut entering = get();
    entering.extend_from_slice(&[0x40, 1, b'x', 1, b'y']);
    for id in [1, 3, 5, 7] {
        assert_eq!(send(&mut conn, &frame(frame::HEADERS, WHOLE, id, &get())), [id]);
    }
    assert!(send(&mut conn, &frame(frame::HEADERS, WHOLE, 9, &entering)).is_empty());
    assert_eq!(answer(&mut conn), (None, Some((9, Code::REFUSED_STREAM.0))));
    conn.release_stream(1, true);
    let mut naming = get();
    naming.push(0x80 | 62);
    let mut arrived = Vec::new();
    conn.receive(&frame(frame::HEADERS, WHOLE, 11, &naming), &mut arrived, Instant::now());
    assert_eq!(arrived[0].head.fields.get_named(b"x"), Some(&b"y"[..]));
}

#[test]
fn whoever_breaks_off_too_often_is_ended() {
    let mut conn = begun();
    let mut id = 1;
    while conn.failure().is_none() {
        send(&mut conn, &frame(frame::HEADERS, WHOLE, id, &get()));
        send(&mut conn, &frame(frame::RST_STREAM, 0, id, &[0, 0, 0, 8]));
        conn.release_stream(id, false);
        id += 2;
    }
    assert_eq!(conn.failure(), Some(Code::ENHANCE_YOUR_CALM));
    assert_eq!(id, 2 * (LIMITS.resets + 1) + 1);
}

#[test]
fn what_is_sent_last_ends_the_stream() {
    let mut conn = begun();
    send(&mut conn, &frame(frame::HEADERS, WHOLE, 1, &get()));
    send(&mut conn, &frame(frame::HEADERS, WHOLE, 3, &get()));
    said(&mut conn);
    let mut head = ResponseHead::new(200);
    head.body = BodyLength::Exact(3);
    conn.send_head(1, &head, false);
    conn.send_data(1, b"abc");
    conn.send_end(1);
    // Not a stream's own: the other's frame is the last.
    conn.send_head(3, &head, false);
    conn.send_data(3, b"abc");
    conn.send_head(1, &head, false);
    conn.send_end(3);
    let ends: Vec<_> = said(&mut conn)
        .into_iter()
        .map(|(header, payload)| (header.stream, header.kind, header.has(frame::END_STREAM), payload.len()))
        .filter(|(_, kind, ..)| *kind == frame::DATA)
        .collect();
    assert_eq!(ends, [(1, 0, true, 3), (3, 0, false, 3), (3, 0, true, 0)]);
}

#[test]
fn windows_bound_what_is_sent() {
    let waker = Waker::noop();
    let mut conn = begun();
    send(&mut conn, &frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 10]));
    send(&mut conn, &frame(frame::HEADERS, WHOLE, 1, &get()));
    assert_eq!(conn.room(1, waker), Some(10));
    conn.send_data(1, &[0; 10]);
    assert_eq!(conn.room(1, waker), Some(0));
    // The window moves below nothing, and has to be paid back first.
    send(&mut conn, &frame(frame::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 4]));
    send(&mut conn, &frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 6]));
    assert_eq!(conn.room(1, waker), Some(0));
    send(&mut conn, &frame(frame::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 5]));
    assert_eq!(conn.room(1, waker), Some(5));
    send(&mut conn, &frame(frame::RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    assert_eq!(conn.room(1, waker), None);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn less_urgent_streams_wait_while_urgent_ones_are_active() {
    let mut conn = begun();
    let [urgent, other] = [(); 2].map(|()| Arc::new(Wakes::default()));
    let (first, second) = (Waker::from(urgent.clone()), Waker::from(other.clone()));
    let wakes = || (urgent.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed));
    for (id, urgency) in [(1, 5), (3, 2)] {
        send(&mut conn, &frame(frame::HEADERS, WHOLE, id, &get()));
        conn.prioritize(id, Some(urgency), None);
    }
    // The urgent stream exhausts its own window and that of the connection, and the other one waits.
    while let Some(room @ 1..) = conn.room(3, &first) {
        conn.send_data(3, &vec![0; room]);
        said(&mut conn);
    }
    assert_eq!(conn.room(1, &second), Some(0));
    // The window of the connection opens before that of the stream.
    let step = 40_000u32.to_be_bytes();
    let opened =
        [frame(frame::WINDOW_UPDATE, 0, 0, &step), frame(frame::WINDOW_UPDATE, 0, 3, &step)].concat();
    send(&mut conn, &opened);
    assert!(conn.wake_streams(false));
    assert_eq!(wakes(), (1, 0));
    // No room for the other one before the urgent one has run, also if its own service wakes it.
    assert_eq!((conn.room(1, &second), conn.room(3, &first)), (Some(0), Some(40_000)));
    assert!(conn.wake_streams(false) && conn.wake_streams(true));
    conn.send_data(3, &[0; 16 * 1024]);
    assert!(conn.wake_streams(false) && conn.wake_streams(true));
    assert_eq!(wakes(), (1, 0));
    // Little from a slow service does not hold the other one back, and its turn ends when more arrives.
    conn.send_data(3, &[0; 100]);
    assert!(!conn.wake_streams(true));
    assert_eq!(wakes(), (1, 1));
    let left = 40_000 - 16 * 1024 - 100;
    assert_eq!(conn.room(1, &second), Some(left));
    assert_eq!(conn.room(3, &first), Some(left));
    conn.send_data(3, &[0; 100]);
    assert_eq!(conn.room(1, &second), Some(0));
    // Not longer than there is something to send.
    assert!(!conn.wake_streams(true));
    assert_eq!(wakes(), (1, 2));
    assert_eq!(conn.room(1, &second), Some(left - 100));
}

#[test]
fn content_that_waits_is_bounded_and_given_back() {
    let mut conn = begun();
    send(&mut conn, &frame(frame::HEADERS, frame::END_HEADERS, 1, &get()));
    said(&mut conn);
    let part = frame(frame::DATA, frame::PADDED, 1, &[&[3][..], &[7; 16_000], &[0; 3]].concat());
    let mut sent = 0;
    while conn.failure().is_none() && !conn.slots[&1].dead {
        send(&mut conn, &part);
        sent += 16_004;
    }
    assert_eq!(answer(&mut conn).1, Some((1, Code::FLOW_CONTROL_ERROR.0)));
    assert!(sent <= STREAM_WINDOW as usize + 2 * 16_004, "{sent}");
    // All of it is given back: a long row of such streams never closes the connection's window.
    assert_eq!(conn.receive_window + i64::from(conn.unreleased), i64::from(WINDOW));
}

#[test]
fn content_byte_by_byte_takes_no_more_memory_than_the_window() {
    let mut conn = begun();
    send(&mut conn, &frame(frame::HEADERS, frame::END_HEADERS, 1, &get()));
    let bytes = frame(frame::DATA, 0, 1, b"x").repeat(STREAM_WINDOW as usize);
    send(&mut conn, &bytes);
    let input = &conn.slots[&1].input;
    assert_eq!(input.len(), STREAM_WINDOW as usize);
    assert!(input.capacity() <= 2 * STREAM_WINDOW as usize, "{}", input.capacity());
}

#[test]
fn heads_that_are_longer_than_a_frame() {
    let mut conn = begun();
    send(&mut conn, &frame(frame::HEADERS, WHOLE, 1, &get()));
    said(&mut conn);
    let mut head = ResponseHead::new(200);
    head.fields.push(b"x-long", &[b'y'; 40_000]);
    conn.send_head(1, &head, true);
    let frames = said(&mut conn);
    let shown: Vec<_> = frames.iter().map(|(header, _)| (header.kind, header.flags)).collect();
    let last = frame::END_HEADERS;
    assert_eq!(
        shown,
        [(frame::HEADERS, frame::END_STREAM), (frame::CONTINUATION, 0), (frame::CONTINUATION, last)]
    );
    let block = frames.into_iter().flat_map(|(_, payload)| payload).collect::<Vec<_>>();
    let mut lines = Vec::new();
    HpackDecoder::new()
        .decode(&block, |name, value| lines.push((name.to_vec(), value.len())))
        .expect("a section");
    assert_eq!(lines, [(b":status".to_vec(), 3), (b"x-long".to_vec(), 40_000)]);
}

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop_oneof![Just(0u8), Just(1), Just(4), Just(5), Just(0x2d), any::<u8>()];
    let stream = prop_oneof![0u32..12, Just(0x7fff_ffff)];
    let payload = prop_oneof![
        Just(get()),
        Just(block(&[("x", "y")])),
        Just(vec![0, 0, 0, 1]),
        Just(vec![0, 4, 0, 0, 1, 0]),
        Just(vec![0; 8]),
        Just(b"farewell".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
        (0usize..17_000).prop_map(|length| vec![b'd'; length]),
    ];
    (0u8..11, flags, stream, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #[test]
    fn whatever_comes_however_it_is_cut(
        frames in proptest::collection::vec(anything(), 0..60),
        cuts in proptest::collection::vec(1usize..5000, 1..40),
        leaves in any::<bool>(),
    ) {
        let bytes = frames.concat();
        let (mut whole, mut cut) = (begun(), begun());
        if leaves {
            whole.go_away();
            cut.go_away();
        }
        let (mut all, mut some) = (Vec::new(), Vec::new());
        whole.receive(&bytes, &mut all, Instant::now());
        let (mut held, mut at) = (Vec::new(), 0);
        for size in cuts.iter().cycle() {
            let end = (at + size).min(bytes.len());
            held.extend_from_slice(&bytes[at..end]);
            let used = cut.receive(&held, &mut some, Instant::now());
            held.drain(..used);
            prop_assert!(held.len() < FrameHeader::LEN + frame::MAX_PAYLOAD as usize || cut.failure().is_some());
            prop_assert!(cut.slots.len() <= LIMITS.streams as usize);
            let waits: usize = cut.slots.values().map(|slot| slot.input.len()).sum();
            prop_assert!(waits <= WINDOW as usize);
            prop_assert!(cut.failure().is_some() || cut.receive_window >= 0);
            at = end;
            if at == bytes.len() {
                break;
            }
        }
        prop_assert_eq!(&whole.out.push()[..], &cut.out.push()[..]);
        prop_assert_eq!(whole.failure(), cut.failure());
        let heads = |arrived: &[PendingRequest]| arrived.iter().map(|one| (one.id, one.head.clone())).collect::<Vec<_>>();
        prop_assert_eq!(heads(&all), heads(&some));
        // Given back, everything is as it was.
        for id in all.iter().map(|one| one.id) {
            whole.release_stream(id, false);
        }
        prop_assert!(whole.slots.is_empty());
        prop_assert!(whole.failure().is_some() || whole.receive_window + i64::from(whole.unreleased) == i64::from(WINDOW));
    }
}
