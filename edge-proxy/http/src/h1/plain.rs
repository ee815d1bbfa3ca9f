//! A single-pass parser for usual heads: complete, within the limits, with CR LF line ends and nothing unusual.
//!
//! Any other head is left to the parsers in [`super::head`], which also report errors. A property test checks that both
//! return the same for the heads that are parsed here.

use super::head::{HeadLimits, ParsedRequest, ParsedResponse, ResponseBody};
use crate::grammar::{decimal, list, trim_end, trim_start};
use crate::host::split_authority;
use crate::name::is_spelling;
use crate::name_class::NameClass;
use crate::scan::{name_end, target_end, value_end};
use crate::{BodyLength, Fields, Method, Name, NameSet, RequestHead, ResponseHead, Version};

/// The fields of a section that determine framing, connection and host.
#[derive(Default)]
struct Section<'a> {
    /// The offset behind the empty line.
    end: usize,
    /// The value of Host. `None` without it.
    host: Option<&'a [u8]>,
    /// The value of Content-Length. `None` without it.
    length: Option<u64>,
    /// True if Transfer-Encoding is `chunked`.
    chunked: bool,
    /// True if Connection has the option `close`.
    close: bool,
    /// True if Connection has the option `upgrade`.
    upgrade: bool,
    /// True if Expect is `100-continue`.
    expects_continue: bool,
}

/// The names of the fields that [`Section::control`] reads.
const CONTROL: NameSet =
    NameSet::of(&[Name::Connection, Name::ContentLength, Name::Expect, Name::Host, Name::TransferEncoding]);

impl<'a> Section<'a> {
    /// Reads a field whose name is in [`CONTROL`]. Returns whether it frames the message or is the Host of a request,
    /// so that it is not added to the fields. `None` if it is invalid or repeated.
    #[inline(never)]
    fn control(&mut self, id: Name, value: &'a [u8], request: bool) -> Option<bool> {
        match id {
            Name::Host => {
                let repeated = request && self.host.replace(value).is_some();
                return (!repeated).then_some(request);
            }
            Name::ContentLength => {
                let repeated = self.length.replace(decimal(value)?).is_some();
                return (!repeated).then_some(true);
            }
            Name::TransferEncoding => {
                let valid = !self.chunked && is_spelling(value, b"chunked");
                self.chunked = true;
                return valid.then_some(true);
            }
            // The most frequent value, and the default.
            Name::Connection if is_spelling(value, b"keep-alive") => {}
            Name::Connection => {
                for option in list(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            Name::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
        Some(false)
    }
}

/// Parses a complete section that begins at `start`. `request` is true for a request, whose Host is not added to
/// `fields`; neither are fields that frame a message. `None` if the section is incomplete, invalid or unusual; the
/// content of `fields` is then unspecified.
fn section<'a>(
    buf: &'a [u8],
    start: usize,
    limits: &HeadLimits,
    request: bool,
    fields: &mut Fields,
) -> Option<Section<'a>> {
    let mut found = Section::default();
    let base = fields.next_block();
    let section = buf.get(start..)?;
    // The bytes from the beginning of a line on, and the number of lines before it.
    let (mut rest, mut lines) = (section, 0);
    loop {
        let (mut name_len, mut class) = (name_end(rest), NameClass::PLAIN);
        let behind_colon = match rest.get(name_len..) {
            Some([b':', behind @ ..]) => behind,
            _ if rest.starts_with(b"\r\n") => break,
            _ => {
                (name_len, class) = NameClass::of_token(rest);
                rest.get(name_len..)?.strip_prefix(b":")?
            }
        };
        lines += 1;
        if name_len == 0 || lines > limits.fields || name_len > usize::from(u16::MAX) {
            return None;
        }
        let name = rest.get(..name_len)?;
        let after = match behind_colon {
            // Usual: one space.
            [b' ', rest @ ..] if rest.first().is_some_and(|b| *b > b' ') => rest,
            rest => trim_start(rest),
        };
        let (value, next) = after.split_at_checked(value_end(after))?;
        let next = next.strip_prefix(b"\r\n")?;
        let value = if value.last().is_some_and(|b| *b > b' ') { value } else { trim_end(value) };
        let id = Name::of(name);
        if !CONTROL.contains(id) || !found.control(id, value, request)? {
            let name_at = base + (section.len() - rest.len());
            let value_at = base + (section.len() - after.len());
            fields.push_range((id, class), (name_at, name_len), (value_at, value.len()));
        }
        rest = next;
    }
    let length = section.len() - rest.len();
    fields.push_block(&section[..length]);
    found.end = start + length + 2;
    (!(found.chunked && found.length.is_some()) && length + 2 <= limits.bytes).then_some(found)
}

/// Replaces the content of `text` by these bytes and keeps its allocation. `None` if they are not UTF-8.
fn replace(text: &mut String, bytes: &[u8]) -> Option<()> {
    let mut buf = std::mem::take(text).into_bytes();
    buf.clear();
    buf.extend_from_slice(bytes);
    // The copy is checked instead of `bytes`: it begins at the start of a word, which takes less than half the time.
    *text = String::from_utf8(buf).ok()?;
    Some(())
}

/// Parses a request head of HTTP/1.1 with a target in origin form into `head`. `None` if it is incomplete, invalid, or
/// has another form or an upgrade, and must be parsed by the strict parser; the content of `head` is then unspecified.
pub(super) fn request(buf: &[u8], limits: &HeadLimits, head: &mut RequestHead) -> Option<ParsedRequest> {
    let (method, from_target) = match buf.strip_prefix(b"GET ") {
        Some(rest) => (Method::Get, rest),
        None => {
            let space = buf.iter().take(8).position(|b| *b == b' ')?;
            (Method::parse(&buf[..space])?, &buf[space + 1..])
        }
    };
    let (target, rest) = from_target.split_at_checked(target_end(from_target))?;
    let lines = rest.strip_prefix(b" HTTP/1.1\r\n")?;
    if !target.starts_with(b"/") || target.len() > limits.target || method == Method::Connect {
        return None;
    }
    let found = section(buf, buf.len() - lines.len(), limits, true, &mut head.fields)?;
    replace(&mut head.authority, found.host?)?;
    let host = head.authority.as_str();
    if found.upgrade && head.fields.was_added(Name::Upgrade)
        || !host.is_empty() && split_authority(host).is_none()
    {
        return None;
    }
    head.version = Version::Http11;
    head.method = method;
    replace(&mut head.target, target)?;
    head.body = match (found.chunked, found.length) {
        (true, _) => BodyLength::Unknown,
        (false, Some(0) | None) => BodyLength::None,
        (false, Some(length)) => BodyLength::Exact(length),
    };
    Some(ParsedRequest {
        used: found.end,
        keep_alive: !found.close,
        expects_continue: found.expects_continue,
    })
}

/// Parses a response head of HTTP/1.1 whose content follows into `head`. `None` if it is incomplete, invalid, interim
/// or without content, and must be parsed by the strict parser; the content of `head` is then unspecified.
pub(super) fn response(
    buf: &[u8],
    limits: &HeadLimits,
    method: &Method,
    head: &mut ResponseHead,
) -> Option<ParsedResponse> {
    let buf = &buf[..buf.len().min(limits.bytes)];
    let rest = buf.strip_prefix(b"HTTP/1.1 ")?;
    let status = decimal(rest.get(..3)?)?;
    if rest.get(3) != Some(&b' ') {
        return None;
    }
    let line_end = 12 + value_end(&rest[3..]);
    if !buf[line_end..].starts_with(b"\r\n") || !(200..=999).contains(&status) {
        return None;
    }
    head.status = status as u16;
    if head.is_bodiless(method) {
        return None;
    }
    let found = section(buf, line_end + 2, limits, false, &mut head.fields)?;
    let (body, framing) = match (found.chunked, found.length) {
        (true, _) => (BodyLength::Unknown, ResponseBody::Chunked),
        (false, Some(length)) => (BodyLength::Exact(length), ResponseBody::Exact(length)),
        (false, None) => (BodyLength::Unknown, ResponseBody::UntilClose),
    };
    head.body = body;
    let keep_alive = !found.close && framing != ResponseBody::UntilClose;
    Some(ParsedResponse { used: found.end, keep_alive, framing, repaired: false })
}

#[cfg(test)]
mod tests {
    use super::super::head::{strict_request, strict_response};
    use super::*;
    use proptest::prelude::*;

    /// Lines of heads, usual and unusual.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let usual = prop::sample::select(vec![
            "Host: a.test",
            "host:a.test:8443",
            "Host: ",
            "Accept: */*",
            "Content-Length: 5",
            "content-length: 0",
            "Content-Length: +5",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Connection: close",
            "Connection: keep-alive, Upgrade",
            "Upgrade: websocket",
            "Expect: 100-continue",
            "X_Under: \t a b\t ",
            "X-Tab: a\tb",
            "X-Ünder: é",
            "X-Long: 0123456789abcdef0123456789abcdef",
            "X-Empty:",
            "X-Blank : 1",
            " folded",
            "no colon",
            "X-Cr: a\rb",
            "X-Nul: a\0b",
            "X-Del: \x7f",
            "Via: 1.1 x",
        ])
        .prop_map(|line| line.as_bytes().to_vec());
        let any = proptest::collection::vec(any::<u8>(), 0..12);
        prop_oneof![12 => usual, 1 => any]
    }

    fn head(first: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let end = prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
        let lines = proptest::collection::vec((line(), end), 0..8);
        let after = prop_oneof![3 => Just(&b"\r\n"[..]), 1 => Just(&b"\r\nrest"[..]), 1 => Just(&b""[..])];
        (prop::sample::select(first), lines, after).prop_map(|(first, lines, after)| {
            let mut bytes = first.as_bytes().to_vec();
            for (line, end) in lines {
                bytes.extend_from_slice(&line);
                bytes.extend_from_slice(end.as_bytes());
            }
            bytes.extend_from_slice(after);
            bytes
        })
    }

    const REQUESTS: &[&str] = &[
        "GET / HTTP/1.1\r\n",
        "POST /a?b HTTP/1.1\r\n",
        "BREW /pot HTTP/1.1\r\n",
        "GET /a#b HTTP/1.1\r\n",
        "GET /\u{e9} HTTP/1.1\r\n",
        "GET * HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "GET http://a.test/ HTTP/1.1\r\n",
        "CONNECT a.test:443 HTTP/1.1\r\n",
        "CONNECT /a HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET /  HTTP/1.1\r\n",
        "\r\nGET / HTTP/1.1\r\n",
        "GET /0123456789abcdef0123456789abcdef HTTP/1.1\r\n",
    ];
    const RESPONSES: &[&str] = &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 \r\n",
        "HTTP/1.1 200\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.1 100 Continue\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 404 Nicht da: \u{e4}\r\n",
        "HTTP/1.1 200 O\x01K\r\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// What is read in one pass is what the strict readers read, to the byte, with limits that are met or not.
        #[test]
        fn both_read_alike(
            bytes in head(REQUESTS),
            answer in head(RESPONSES),
            limits in (10usize..200, 0usize..8, 1usize..40),
            method in prop::sample::select(vec![Method::Get, Method::Head]),
        ) {
            for limits in [HeadLimits { bytes: limits.0, fields: limits.1, target: limits.2 }, HeadLimits::default()] {
                let (mut one, mut other) = (RequestHead::new(Version::Http11), RequestHead::new(Version::Http11));
                if let Some(found) = request(&bytes, &limits, &mut one) {
                    prop_assert_eq!(strict_request(&bytes, &limits, &mut other), Ok(Some(found)));
                    prop_assert_eq!(one, other);
                }
                let (mut one, mut other) = (ResponseHead::default(), ResponseHead::default());
                if let Some(found) = response(&answer, &limits, &method, &mut one) {
                    prop_assert_eq!(strict_response(&answer, &limits, &method, &mut other), Ok(Some(found)));
                    prop_assert_eq!(one, other);
                }
            }
        }
    }

    #[test]
    fn usual_heads_are_read_here() {
        let bytes = b"GET /a HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n";
        let found = request(bytes, &HeadLimits::default(), &mut RequestHead::new(Version::Http11));
        assert_eq!(found.map(|found| found.used), Some(bytes.len()));
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let found = response(bytes, &HeadLimits::default(), &Method::Get, &mut ResponseHead::default());
        assert_eq!(
            found.map(|found| (found.used, found.framing)),
            Some((bytes.len(), ResponseBody::Exact(5)))
        );
    }
}
