use crate::h3::control::{ControlStreamDecoder, write_goaway};
use crate::h3::frame::{self, FrameEvent, FrameReader};
use crate::h3::settings::Settings;
use crate::h3::{Code, ProtocolError, varint};
use proptest::prelude::*;

#[test]
fn varints_of_rfc_9000() {
    for (bytes, value) in [
        (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
        (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
        (&[0x7b, 0xbd], 15_293),
        (&[0x25], 37),
    ] {
        assert_eq!(varint::read(bytes), Some((value, bytes.len())));
        let mut out = Vec::new();
        varint::write(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(varint::read(&bytes[..bytes.len() - 1]), None);
    }
    assert_eq!(varint::read(&[0x40, 0x25]), Some((37, 2)), "longer than it needs to be");
}

fn control(parts: &[&[u8]]) -> Result<(), ProtocolError> {
    let mut stream = ControlStreamDecoder::new();
    let mut whole = Vec::new();
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    stream.feed(&whole)?;
    // Byte by byte the result is the same.
    let mut stream = ControlStreamDecoder::new();
    whole.iter().try_for_each(|b| stream.feed(std::slice::from_ref(b)))
}

#[test]
fn control_stream() {
    const SETTINGS: &[u8] = &[4, 0];
    let error = |code| Err(ProtocolError::Connection(code));
    let goaway = |id| {
        let mut out = Vec::new();
        write_goaway(&mut out, id);
        out
    };
    assert_eq!(control(&[SETTINGS, &[0x21, 3, 1, 2, 3], &[0xd, 1, 4], &[0xd, 1, 4], &[0xd, 1, 9]]), Ok(()));
    assert_eq!(control(&[SETTINGS, &goaway(8), &goaway(8), &goaway(0)]), Ok(()));
    for (what, parts, code) in [
        ("GOAWAY first", &[&[7, 1, 0][..]][..], Code::H3_MISSING_SETTINGS),
        ("grease first", &[&[0x21, 0]], Code::H3_MISSING_SETTINGS),
        ("SETTINGS twice", &[SETTINGS, SETTINGS], Code::H3_FRAME_UNEXPECTED),
        ("DATA", &[SETTINGS, &[0, 0]], Code::H3_FRAME_UNEXPECTED),
        ("HEADERS", &[SETTINGS, &[1, 0]], Code::H3_FRAME_UNEXPECTED),
        ("PUSH_PROMISE", &[SETTINGS, &[5, 0]], Code::H3_FRAME_UNEXPECTED),
        ("HTTP/2's PRIORITY", &[SETTINGS, &[2, 0]], Code::H3_FRAME_UNEXPECTED),
        ("HTTP/2's PING", &[SETTINGS, &[6, 0]], Code::H3_FRAME_UNEXPECTED),
        ("HTTP/2's WINDOW_UPDATE", &[SETTINGS, &[8, 0]], Code::H3_FRAME_UNEXPECTED),
        ("HTTP/2's CONTINUATION", &[SETTINGS, &[9, 0]], Code::H3_FRAME_UNEXPECTED),
        ("a shrinking MAX_PUSH_ID", &[SETTINGS, &[0xd, 1, 4], &[0xd, 1, 3]], Code::H3_ID_ERROR),
        ("a growing GOAWAY", &[SETTINGS, &[7, 1, 4], &[7, 1, 8]], Code::H3_ID_ERROR),
        ("CANCEL_PUSH of nothing", &[SETTINGS, &[3, 1, 0]], Code::H3_ID_ERROR),
        ("an empty GOAWAY", &[SETTINGS, &[7, 0]], Code::H3_FRAME_ERROR),
        ("a long GOAWAY", &[SETTINGS, &[7, 2, 0, 0]], Code::H3_FRAME_ERROR),
        ("a cut MAX_PUSH_ID", &[SETTINGS, &[0xd, 1, 0x40]], Code::H3_FRAME_ERROR),
        ("a huge MAX_PUSH_ID", &[SETTINGS, &[0xd, 9]], Code::H3_FRAME_ERROR),
        ("an id without a value", &[&[4, 1, 1]], Code::H3_FRAME_ERROR),
        ("a setting twice", &[&[4, 4, 6, 1, 6, 1]], Code::H3_SETTINGS_ERROR),
        ("HTTP/2's ENABLE_PUSH", &[&[4, 2, 2, 0]], Code::H3_SETTINGS_ERROR),
        ("HTTP/2's MAX_FRAME_SIZE", &[&[4, 2, 5, 0]], Code::H3_SETTINGS_ERROR),
        ("extended CONNECT of 2", &[&[4, 2, 8, 2]], Code::H3_SETTINGS_ERROR),
        ("datagrams of 2", &[&[4, 2, 0x33, 2]], Code::H3_SETTINGS_ERROR),
        ("endless SETTINGS", &[&[4, 0x80, 1, 0, 0]], Code::H3_EXCESSIVE_LOAD),
    ] {
        assert_eq!(control(parts), error(code), "{what}");
    }
}

proptest! {
    #[test]
    fn varints_are_undone(value in 0..=varint::MAX) {
        let mut out = Vec::new();
        varint::write(&mut out, value);
        prop_assert_eq!(varint::read(&out), Some((value, out.len())));
    }

    #[test]
    fn settings_are_undone(size in proptest::option::of(0..=varint::MAX), a in 0..=varint::MAX, b in 0..=varint::MAX, connect in any::<bool>()) {
        let settings = Settings {
            max_field_section_size: size,
            qpack_max_table_capacity: a,
            qpack_blocked_streams: b,
            enable_connect_protocol: connect,
        };
        let mut out = Vec::new();
        settings.write(&mut out);
        let mut stream = ControlStreamDecoder::new();
        stream.feed(&out).unwrap();
        prop_assert_eq!(stream.settings(), Some(settings));
    }

    #[test]
    fn frames_do_not_depend_on_how_they_are_cut(
        frames in proptest::collection::vec((0..=varint::MAX, proptest::collection::vec(any::<u8>(), 0..50)), 0..6),
        step in 1usize..40,
    ) {
        let mut bytes = Vec::new();
        for (kind, payload) in &frames {
            frame::write_header(&mut bytes, *kind, payload.len() as u64);
            bytes.extend_from_slice(payload);
        }
        let mut reader = FrameReader::new();
        let mut seen: Vec<(u64, Vec<u8>)> = Vec::new();
        for mut part in bytes.chunks(step) {
            loop {
                let (used, step) = reader.step(part);
                part = &part[used..];
                match step {
                    FrameEvent::More => break,
                    FrameEvent::Begin { kind, .. } => seen.push((kind, Vec::new())),
                    FrameEvent::Payload { len, .. } => {
                        seen.last_mut().unwrap().1.extend_from_slice(&part[..len]);
                        part = &part[len..];
                    }
                }
            }
        }
        prop_assert!(reader.is_between_frames());
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn no_bytes_make_the_control_stream_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = ControlStreamDecoder::new().feed(&bytes);
        let mut settled = ControlStreamDecoder::new();
        settled.feed(&[4, 0]).unwrap();
        let _ = settled.feed(&bytes);
    }
}
