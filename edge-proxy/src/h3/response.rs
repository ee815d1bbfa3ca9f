//! Responses as they are written (RFC 9114 §4.1, §4.3.2).

use super::section::may_be_trailer;
use super::{frame, qpack, varint};
use crate::{BodyLength, Fields, Name, ResponseHead};

/// Appends a HEADERS frame with the head of a response. Fields that belong to a connection are left out; names become
/// lower case; Content-Length is what `head.body` says.
pub fn write_head(out: &mut Vec<u8>, head: &ResponseHead) {
    headers(out, |out| {
        let status = head.status.min(999);
        let digits =
            [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
        qpack::write_field(out, b":status", &digits);
        for field in head.fields.iter() {
            let left_out = matches!(
                field.id,
                Name::Connection
                    | Name::ContentLength
                    | Name::Host
                    | Name::KeepAlive
                    | Name::ProxyConnection
                    | Name::Te
                    | Name::TransferEncoding
                    | Name::Upgrade
            );
            if !left_out && !field.name.starts_with(b":") {
                qpack::write_field(out, field.name, field.value);
            }
        }
        // RFC 9110 §8.6: no Content-Length in 1xx and 204.
        if let BodyLength::Exact(length) = head.body
            && head.status >= 200
            && head.status != 204
        {
            let mut digits = [0; 20];
            qpack::write_field(out, b"content-length", decimal(length, &mut digits));
        }
    });
}

/// Appends a HEADERS frame with trailers. Fields that may not be trailers are left out.
pub fn write_trailers(out: &mut Vec<u8>, fields: &Fields) {
    headers(out, |out| {
        for field in fields.iter() {
            if !field.name.starts_with(b":") && may_be_trailer(field.id, &field.name.to_ascii_lowercase()) {
                qpack::write_field(out, field.name, field.value);
            }
        }
    });
}

fn headers(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Room for the type and for a length of two bytes, which is what nearly every head needs.
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

/// The decimal digits of a number.
fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}
