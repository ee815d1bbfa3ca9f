//! The NCSA combined format: `client - - [date] "request" status bytes "referer" "user agent"`.

use super::LogRecord;
use super::time::Date;
use edge_proxy::Reason;
use std::io::Write;
use std::net::IpAddr;
use std::time::SystemTime;

/// Appends the line of a request, including its line feed. A request without a response has the status 444, or
/// 499 if its client has left. Missing
/// values of `Referer` and `User-Agent` are written as `-`.
pub(super) fn write(line: &LogRecord<'_>, out: &mut Vec<u8>) {
    begin(line.time, line.client, out);
    escape(line.method.as_bytes(), out);
    out.push(b' ');
    escape(line.target.as_bytes(), out);
    // Log readers know these from nginx: 499 is that of a client that left before the response, 444 that of one that got
    // none.
    let none = if line.reason == Some(Reason::ClientLost.as_str()) { 499 } else { 444 };
    let _ = write!(out, " {}\" {} {} \"", line.version, line.status.unwrap_or(none), line.sent);
    escape(line.referer.unwrap_or(b"-"), out);
    out.extend_from_slice(b"\" \"");
    escape(line.user_agent.unwrap_or(b"-"), out);
    out.extend_from_slice(b"\"\n");
}

/// Appends the line of a connection without a request, including its line feed. The three words of `what` stand in
/// place of the request. `sent` is a number of bytes; a status of `None` is written as `-`.
pub(super) fn connection(
    (time, client): (SystemTime, IpAddr),
    what: [&str; 3],
    (status, sent): (Option<u16>, u64),
    out: &mut Vec<u8>,
) {
    begin(time, client, out);
    for (at, word) in what.into_iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        escape(word.as_bytes(), out);
    }
    let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    // Writing to memory does not fail.
    let _ = writeln!(out, "\" {status} {sent} \"-\" \"-\"");
}

/// Appends the beginning of a line, up to the quotation mark before the request.
fn begin(time: SystemTime, client: IpAddr, out: &mut Vec<u8>) {
    let date = Date::new(time);
    let _ = write!(
        out,
        "{client} - - [{:02}/{}/{}:{:02}:{:02}:{:02} +0000] \"",
        date.day,
        date.month_name(),
        date.year,
        date.hour,
        date.minute,
        date.second
    );
}

/// Appends text, with quotation marks, backslashes, control characters and bytes above 0x7e written as `\xNN` in
/// lower-case hexadecimal.
pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    for b in text {
        match b {
            b'"' | b'\\' | ..0x20 | 0x7f.. => {
                let _ = write!(out, "\\x{b:02x}");
            }
            _ => out.push(*b),
        }
    }
}
