//! Request streams and control streams parse the same however they are split.
#![no_main]

use edge_http::h3::control::ControlStreamDecoder;
use edge_http::h3::qpack::{QpackDecoder, write_field, write_prefix};
use edge_http::h3::request::{RequestDecoder, RequestItem};
use edge_http::h3::{ProtocolError, SectionLimits, frame};
use edge_http::section::StreamState;
use edge_http::{Fields, RequestHead, Version};
use libfuzzer_sys::fuzz_target;

type Message = (Option<RequestHead>, Vec<u8>, Option<Fields>);

fn read(stream: &[u8], step: usize) -> Result<Message, ProtocolError> {
    let mut decoder = RequestDecoder::new(SectionLimits::default());
    let mut message: Message = Default::default();
    let mut done = 0;
    for mut part in stream.chunks(step) {
        while !part.is_empty() {
            let (used, item) = decoder.step(part)?;
            let input = part;
            part = &part[used..];
            done += used;
            match item {
                RequestItem::More => assert!(part.is_empty()),
                RequestItem::HeadReady => {
                    let state = if done == stream.len() { StreamState::Ended } else { StreamState::Open };
                    let mut head = RequestHead::new(Version::Http11);
                    decoder.head(input, &mut QpackDecoder::new(), state, &mut head)?;
                    message.0 = Some(head);
                }
                RequestItem::Data(len) => {
                    message.1.extend_from_slice(&part[..len]);
                    part = &part[len..];
                    done += len;
                }
                RequestItem::Trailers(fields) => message.2 = Some(fields),
            }
        }
    }
    decoder.finish()?;
    Ok(message)
}

fn check(stream: &[u8], step: usize) {
    let whole = read(stream, usize::MAX);
    assert_eq!(read(stream, step), whole);
    if let Ok((head, ..)) = whole {
        let head = head.expect("no end without a head");
        assert!(edge_http::host::split_authority(&head.authority).is_some());
        for field in head.fields.iter() {
            assert!(edge_http::grammar::is_token(field.name));
            assert!(!field.value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((step, data)) = data.split_first() else { return };
    let step = usize::from(*step) + 1;
    check(data, step);

    // The same bytes after a valid head, and as the fields of one.
    let mut section = Vec::new();
    write_prefix(&mut section);
    for (name, value) in [(":method", "POST"), (":scheme", "https"), (":authority", "a"), (":path", "/")] {
        write_field(&mut section, name.as_bytes(), value.as_bytes());
    }
    let head = |section: &[u8]| {
        let mut out = Vec::new();
        frame::write_header(&mut out, frame::HEADERS, section.len() as u64);
        [out.as_slice(), section].concat()
    };
    check(&[&head(&section)[..], data].concat(), step);
    section.extend_from_slice(data);
    check(&head(&section), step);

    let mut whole = ControlStreamDecoder::new();
    let mut cut = ControlStreamDecoder::new();
    let expected = whole.feed(data);
    assert_eq!(data.chunks(step).try_for_each(|part| cut.feed(part)), expected);
});
