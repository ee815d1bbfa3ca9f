//! The writers of responses (RFC 9113 §8.1, §8.3.2).

use super::frame::{self, FrameHeader};
use super::hpack;
use crate::field_names::is_omitted;
use crate::section::{digits, may_be_trailer, status_digits};
use crate::{BodyLength, Fields, ResponseHead};

/// The place where a response's head or trailers are sent: the stream, and the position in the stream and connection.
#[derive(Clone, Copy, Debug)]
pub struct SectionPosition {
    /// The identifier of the stream.
    pub stream: u32,
    /// True if the section ends the stream.
    pub end: bool,
    /// True for the first section that this side sends on the connection, which announces that the dynamic table is not
    /// used.
    pub first: bool,
}

/// Appends a response head as HEADERS and CONTINUATION frames. Connection-specific fields are omitted, names are
/// converted to lower case, and Content-Length is that of `head.body`, omitted for 1xx and 204.
pub fn write_head(out: &mut Vec<u8>, place: SectionPosition, head: &ResponseHead) {
    section(out, place, |out| {
        hpack::write_field(out, b":status", &status_digits(head.status));
        for field in head.fields.iter() {
            if !is_omitted(field.id) && !field.name.starts_with(b":") {
                hpack::write_field(out, field.name, field.value);
            }
        }
        // RFC 9110 §8.6: no Content-Length in 1xx and 204.
        if let BodyLength::Exact(length) = head.body
            && head.status >= 200
            && head.status != 204
        {
            hpack::write_field(out, b"content-length", digits(length, &mut [0; 20]));
        }
    });
}

/// Appends trailers as HEADERS and CONTINUATION frames. Fields that are not allowed in trailers are omitted.
pub fn write_trailers(out: &mut Vec<u8>, place: SectionPosition, fields: &Fields) {
    section(out, place, |out| {
        for field in fields.iter() {
            if !field.name.starts_with(b":") && may_be_trailer(field.id, field.name) {
                hpack::write_field(out, field.name, field.value);
            }
        }
    });
}

/// Appends the section that `fill` writes as a HEADERS frame, followed by CONTINUATION frames if it exceeds
/// [`frame::MAX_PAYLOAD`]. `place` contains the stream, whether the section ends it, and whether the section is the
/// first on the connection, which sets the size of the dynamic table to 0.
fn section(out: &mut Vec<u8>, place: SectionPosition, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let end = if place.end { frame::END_STREAM } else { 0 };
    let flags = end | frame::END_HEADERS;
    FrameHeader { length: 0, kind: frame::HEADERS, flags, stream: place.stream }.write(out);
    if place.first {
        hpack::write_no_table(out);
    }
    fill(out);
    let length = out.len() - start - FrameHeader::LEN;
    // Every client accepts this size.
    let most = frame::MAX_PAYLOAD as usize;
    if length <= most {
        let [.., a, b, c] = length.to_be_bytes();
        out[start..start + 3].copy_from_slice(&[a, b, c]);
        return;
    }
    let block = out.split_off(start + FrameHeader::LEN);
    out.truncate(start);
    let parts = block.chunks(most);
    let last = parts.len() - 1;
    for (at, part) in parts.enumerate() {
        let kind = if at == 0 { frame::HEADERS } else { frame::CONTINUATION };
        let flags = if at == 0 { end } else { 0 } | if at == last { frame::END_HEADERS } else { 0 };
        frame::write(out, kind, flags, place.stream, part);
    }
}
