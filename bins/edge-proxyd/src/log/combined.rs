//! The NCSA combined format: `client - - [date] "request" status bytes "referer" "user agent"`.

use super::LogRecord;
use super::time::Date;
use std::io::Write;

pub(super) fn write(line: &LogRecord<'_>, out: &mut Vec<u8>) {
    let date = Date::of(line.time);
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "{} - - [{:02}/{}/{}:{:02}:{:02}:{:02} +0000] \"",
        line.client,
        date.day,
        date.month_name(),
        date.year,
        date.hour,
        date.minute,
        date.second
    );
    escaped(line.method.as_bytes(), out);
    out.push(b' ');
    escaped(line.target.as_bytes(), out);
    // Log readers know 444 from nginx as the status of a client that got no response.
    let _ = write!(out, " {}\" {} {} \"", line.version, line.status.unwrap_or(444), line.sent);
    escaped(line.referer.unwrap_or(b"-"), out);
    out.extend_from_slice(b"\" \"");
    escaped(line.user_agent.unwrap_or(b"-"), out);
    out.extend_from_slice(b"\"\n");
}

/// Escapes characters that could end a part or a line as `\xNN`.
fn escaped(text: &[u8], out: &mut Vec<u8>) {
    for b in text {
        match b {
            b'"' | b'\\' | ..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{b:02x}");
            }
            _ => out.push(*b),
        }
    }
}
