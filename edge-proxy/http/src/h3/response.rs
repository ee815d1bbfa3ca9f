//! The writers of HTTP/3 responses (RFC 9114 §4.1, §4.3.2).

use super::{frame, qpack, varint};
use crate::field_names::is_omitted;
use crate::section::{digits, may_be_trailer, status_digits};
use crate::{BodyLength, Fields, ResponseHead};

/// Appends a response head as a HEADERS frame. Connection-specific fields are omitted, names are converted to lower
/// case, and Content-Length is that of `head.body`, omitted for 1xx and 204.
pub fn write_head(out: &mut Vec<u8>, head: &ResponseHead) {
    headers(out, |out| {
        qpack::write_field(out, b":status", &status_digits(head.status));
        for field in head.fields.iter() {
            if !is_omitted(field.id) && !field.name.starts_with(b":") {
                qpack::write_field(out, field.name, field.value);
            }
        }
        // RFC 9110 §8.6: no Content-Length in 1xx and 204.
        if let BodyLength::Exact(length) = head.body
            && head.status >= 200
            && head.status != 204
        {
            qpack::write_field(out, b"content-length", digits(length, &mut [0; 20]));
        }
    });
}

/// Appends trailers as a HEADERS frame. Fields that are not allowed in trailers are omitted.
pub fn write_trailers(out: &mut Vec<u8>, fields: &Fields) {
    headers(out, |out| {
        for field in fields.iter() {
            if !field.name.starts_with(b":") && may_be_trailer(field.id, field.name) {
                qpack::write_field(out, field.name, field.value);
            }
        }
    });
}

/// Appends a HEADERS frame with the field lines that `fill` writes.
fn headers(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Reserves space for the type and a length of two bytes, which suits nearly every head.
    out.extend_from_slice(&[frame::HEADERS as u8, 0x40, 0]);
    qpack::write_prefix(out);
    fill(out);
    let len = out.len() - start - 3;
    if let Ok(short @ 0..0x4000) = u16::try_from(len) {
        out[start + 1..start + 3].copy_from_slice(&(short | 0x4000).to_be_bytes());
    } else {
        let mut long = Vec::with_capacity(8);
        varint::write(&mut long, len as u64);
        out.splice(start + 1..start + 3, long);
    }
}
