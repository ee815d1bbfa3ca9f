//! The repair of response heads as cameras, CGI programs and small devices write them: with lines that end in a bare
//! LF, or whitespace before the colon.
//!
//! RFC 9112 permits a proxy to accept both in a response (§2.2, §5.1). A head is repaired only if the length of its
//! content is unambiguous: one Content-Length, or content until the connection is closed. Requests are never repaired.
//! The connection of a repaired response is not reused.

use super::head::{HeadError, HeadLimits, ParsedResponse, ResponseBody, strict_response};
use crate::grammar::{is_field_value, is_token};
use crate::{Method, Name, ResponseHead};
use memchr::memchr;

/// Parses a response head after repairing its line ends and the whitespace before colons. `why` is the error of the
/// strict parser. `Ok(None)` if the head is incomplete.
///
/// # Errors
/// `why` if the head cannot be repaired, is chunked or switches protocols; else the error of the repaired head.
pub(super) fn response(
    buf: &[u8],
    limits: &HeadLimits,
    method: &Method,
    head: &mut ResponseHead,
    why: HeadError,
) -> Result<Option<ParsedResponse>, HeadError> {
    if !matches!(why, HeadError::LineEnd | HeadError::Field) {
        return Err(why);
    }
    let Some((clean, used)) = repair_lines(&buf[..buf.len().min(limits.bytes)]) else {
        return if buf.len() >= limits.bytes { Err(HeadError::TooLarge) } else { Ok(None) };
    };
    let limits = HeadLimits { bytes: limits.bytes.saturating_mul(2), ..*limits };
    let Some(found) = strict_response(&clean, &limits, method, head)? else { return Err(why) };
    if found.framing == ResponseBody::Chunked || head.status == 101 {
        return Err(why);
    }
    Ok(Some(ParsedResponse { used, keep_alive: false, repaired: true, ..found }))
}

/// Returns the head with CR LF at the end of each line and no whitespace before colons, and the number of bytes of
/// `buf` that the head occupies. `None` if the head is incomplete.
fn repair_lines(buf: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut clean = Vec::with_capacity(buf.len() + 32);
    let mut at = 0;
    loop {
        let length = memchr(b'\n', &buf[at..])?;
        let line = &buf[at..at + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // The status line has no name.
        let first = clean.is_empty();
        at += length + 1;
        match memchr(b':', line).filter(|_| !first) {
            Some(colon) => {
                clean.extend_from_slice(line[..colon].trim_ascii_end());
                clean.extend_from_slice(&line[colon..]);
            }
            None => clean.extend_from_slice(line),
        }
        clean.extend_from_slice(b"\r\n");
        if line.is_empty() {
            return Some((clean, at));
        }
    }
}

/// Returns the number of the line of a response head, counted from 1, that caused this error of
/// [`response`](super::response): the first malformed field line, line with a bare LF, Content-Length or
/// Transfer-Encoding, or the last line of a head that is too large. 1 for other errors, and if no such line is found.
pub fn response_line_of(buf: &[u8], why: HeadError) -> usize {
    let lines = || buf.split(|byte| *byte == b'\n');
    let end = lines().position(|line| line.trim_ascii().is_empty()).unwrap_or(usize::MAX);
    let found = |wrong: &dyn Fn(&[u8]) -> bool| {
        lines().take(end).enumerate().skip(1).find(|(_, line)| wrong(line)).map(|(at, _)| at + 1)
    };
    let named = |line: &[u8], names: &[Name]| {
        let name = memchr(b':', line).map(|colon| Name::of(line[..colon].trim_ascii()));
        name.is_some_and(|name| names.contains(&name))
    };
    let found = match why {
        HeadError::Field => found(&|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            memchr(b':', line).is_none_or(|colon| {
                !is_token(&line[..colon]) || !is_field_value(line[colon + 1..].trim_ascii())
            })
        }),
        HeadError::LineEnd => lines().position(|line| !line.ends_with(b"\r")).map(|at| at + 1),
        HeadError::ContentLength | HeadError::BothLengths => {
            found(&|line| named(line, &[Name::ContentLength]))
        }
        HeadError::TransferEncoding => found(&|line| named(line, &[Name::TransferEncoding])),
        HeadError::TooLarge => Some(lines().count()),
        _ => None,
    };
    found.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::super::head::response;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<(u16, Vec<String>, ParsedResponse)>, HeadError> {
        let mut head = ResponseHead::default();
        let found = response(text.as_bytes(), &HeadLimits::default(), &Method::Get, &mut head)?;
        Ok(found.map(|found| {
            (head.status, head.fields.iter().map(|field| format!("{field:?}")).collect(), found)
        }))
    }

    #[test]
    fn devices_are_understood_and_their_connections_not_kept() {
        for (text, framing) in [
            ("HTTP/1.1 200 OK\nServer: cam\nContent-Length: 2\n\nok", ResponseBody::Exact(2)),
            ("HTTP/1.1 200 OK\r\nServer : cam\r\nContent-Length\t: 2\r\n\r\nok", ResponseBody::Exact(2)),
            ("HTTP/1.0 200 OK\nServer: cam\r\n\nok", ResponseBody::UntilClose),
        ] {
            let (status, fields, found) = read(text).unwrap().unwrap();
            assert_eq!(
                (status, fields, found.framing),
                (200, vec!["Server: cam".to_owned()], framing),
                "{text:?}"
            );
            assert_eq!(&text[found.used..], "ok");
            assert!(found.repaired && !found.keep_alive);
        }
        let (.., found) = read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap().unwrap();
        assert!(!found.repaired && found.keep_alive);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_repaired() {
        for text in [
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\nok",
            "HTTP/1.1 200 OK\nContent-Length: +2\n\nok",
            "HTTP/1.1 200 OK\nServer: a\rb\n\n",
            "HTTP/1.1 200 OK\nno colon\n\n",
            "HTTP/1.1 200 OK\n folded: x\n\n",
            "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\n\n",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert_eq!(read("HTTP/1.1 200 OK\nServer: cam\n"), Ok(None));
    }

    #[test]
    fn the_line_that_is_wrong() {
        for (text, line) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\nno colon\r\n\r\n", 3),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", 2),
            ("HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: gzip\r\n\r\n", 3),
            ("HTTP/9.9 200 OK\r\n\r\n", 1),
        ] {
            let why = read(text).unwrap_err();
            assert_eq!(response_line_of(text.as_bytes(), why), line, "{text:?}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut head = ResponseHead::default();
            if let Err(why) = response(&bytes, &HeadLimits::default(), &Method::Get, &mut head) {
                prop_assert!(response_line_of(&bytes, why) >= 1);
            }
        }

        #[test]
        fn however_lines_end_the_same_is_read(ends in proptest::collection::vec(any::<bool>(), 4), blank in " ?") {
            let lines = ["HTTP/1.1 200 OK", &format!("A{blank}: b"), &format!("Content-Length{blank}: 2"), ""];
            let mut text = String::new();
            for (line, crlf) in lines.iter().zip(&ends) {
                text.push_str(line);
                text.push_str(if *crlf { "\r\n" } else { "\n" });
            }
            let (status, fields, found) = read(&format!("{text}ok")).unwrap().unwrap();
            prop_assert_eq!((status, fields), (200, vec!["A: b".to_owned()]));
            prop_assert_eq!((found.framing, found.used), (ResponseBody::Exact(2), text.len()));
        }
    }
}
