//! Parsers for request and response heads.

use super::{plain, repair};
use crate::grammar::{decimal, is_field_value, is_target, is_token, list, trim};
use crate::host::{split_authority, without_empty_port};
use crate::name_class::NameClass;
use crate::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead, Version};
use memchr::{memchr, memmem};

/// The limits of a request or response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The largest header section in bytes, with the empty line at its end, without the request line but with the
    /// status line of a response.
    pub bytes: usize,
    /// The highest number of fields.
    pub fields: usize,
    /// The longest request target in bytes.
    pub target: usize,
}

impl Default for HeadLimits {
    /// Returns the limits of 16 KiB, 100 fields, and a target of 32 KiB.
    fn default() -> Self {
        Self { bytes: 16 * 1024, fields: 100, target: 32 * 1024 }
    }
}

/// The highest number of bytes of a request line besides its target, rounded up: a method of at most 32 bytes, two
/// spaces, the version and the line end.
const MAX_REQUEST_LINE_OVERHEAD: usize = 48;

/// The reason a head is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The first bytes cannot begin a request line, or a response. A client's connection must be closed without a
    /// response.
    #[error("not HTTP")]
    NotHttp,
    /// A line ends in a bare LF.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// The request or status line is malformed: parts are missing, the method is not a token of at most 32 bytes, the
    /// version is not written as one, or the status is not 100 to 999.
    #[error("malformed first line")]
    FirstLine,
    /// The version of a request has the form of an HTTP version, but is not HTTP/1.0 or HTTP/1.1. In a response it is
    /// [`FirstLine`](Self::FirstLine).
    #[error("unsupported version of HTTP")]
    Version,
    /// The request target is neither in origin form nor absolute with `http` or `https`, nor `*`, nor an authority with
    /// CONNECT, or contains `#` or other than visible ASCII characters.
    #[error("malformed request target")]
    Target,
    /// The request target exceeds its limit.
    #[error("request target too long")]
    TargetTooLong,
    /// A field line has no colon, a name that is empty, longer than 65,535 bytes or not a token (as with whitespace
    /// before the colon or line folding), or a control character other than a tab in its value.
    #[error("malformed field line")]
    Field,
    /// The head exceeds the limit of bytes or fields.
    #[error("header section too large")]
    TooLarge,
    /// Host is missing in HTTP/1.1, repeated, malformed, or differs from the authority of the request target (RFC 9112
    /// §3.2), or that authority is malformed.
    #[error("Host missing, repeated, malformed or different from the target")]
    Host,
    /// Content-Length is not a decimal number, or is repeated.
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// Transfer-Encoding is not exactly `chunked` (in any case), is repeated, or is used in HTTP/1.0.
    #[error("unacceptable Transfer-Encoding")]
    TransferEncoding,
    /// The head has both Content-Length and Transfer-Encoding (RFC 9112 §6.1).
    #[error("both Content-Length and Transfer-Encoding")]
    BothLengths,
}

impl HeadError {
    /// Returns the status of the error response: 400, 414, 431 or 505. `None` for [`HeadError::NotHttp`].
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::NotHttp => None,
            Self::TargetTooLong => Some(414),
            Self::TooLarge => Some(431),
            Self::Version => Some(505),
            _ => Some(400),
        }
    }
}

/// The result of parsing a complete request head, besides the head itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedRequest {
    /// The length of the head in bytes, including the empty line at its end and one that may precede it.
    pub used: usize,
    /// True if the connection persists after this request, as far as the client decides: by its version and the options
    /// `close` and `keep-alive` of Connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// True if the client sent `Expect: 100-continue` in HTTP/1.1 (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// The result of parsing a complete response head, besides the head itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedResponse {
    /// The length of the head in bytes, including the empty line.
    pub used: usize,
    /// True if the connection persists after this response (RFC 9112 §9.3). False for content until the connection is
    /// closed, for 101, and if the head was repaired.
    pub keep_alive: bool,
    /// The framing of the content on the wire.
    pub framing: ResponseBody,
    /// True if line ends or whitespace were repaired. The connection must not be reused, whatever a later head
    /// declares.
    pub repaired: bool,
}

/// The framing of response content on the wire (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// No content follows.
    None,
    /// Content of this many bytes.
    Exact(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Content until the connection is closed.
    UntilClose,
}

/// The fields that control a message or its connection: length, transfer coding, options of Connection, the number of
/// Host fields, and Expect.
#[derive(Default)]
struct ControlFields {
    /// The value of Content-Length. `None` without it.
    length: Option<u64>,
    /// True if Transfer-Encoding is `chunked`.
    chunked: bool,
    /// True if Connection has the option `close`.
    close: bool,
    /// True if Connection has the option `keep-alive`.
    keep_alive: bool,
    /// True if Connection has the option `upgrade`.
    upgrade: bool,
    /// The number of Host fields.
    hosts: usize,
    /// True if Expect is `100-continue`.
    expects_continue: bool,
}

/// Returns the offset of the CR LF that ends the line that begins at `at`. `None` if the line is incomplete.
///
/// # Errors
/// [`HeadError::LineEnd`] if the line ends in a bare LF.
fn line(buf: &[u8], at: usize) -> Result<Option<usize>, HeadError> {
    match memchr(b'\n', &buf[at..]) {
        Some(0) => Err(HeadError::LineEnd),
        Some(length) if buf[at + length - 1] != b'\r' => Err(HeadError::LineEnd),
        Some(length) => Ok(Some(at + length - 1)),
        None => Ok(None),
    }
}

/// Parses the field lines from `start` to the empty line into `fields`. Returns the offset behind the empty line.
/// `None` if the section is incomplete. `start` must be behind a CR LF.
///
/// # Errors
/// [`HeadError`] if a line is malformed, or there are too many.
fn section(
    buf: &[u8],
    start: usize,
    limits: &HeadLimits,
    fields: &mut Fields,
) -> Result<Option<usize>, HeadError> {
    // The line before the section ended in CR LF, so an empty section is found like any other.
    let Some(length) = memmem::find(&buf[start - 2..], b"\r\n\r\n") else {
        return incomplete(buf, start, limits);
    };
    let block = &buf[start..start + length];
    let base = fields.next_block();
    fields.push_block(block);
    let (mut at, mut lines) = (0, 0);
    while at < block.len() {
        lines += 1;
        if lines > limits.fields {
            return Err(HeadError::TooLarge);
        }
        let end = line(block, at)?.ok_or(HeadError::LineEnd)?;
        let text = &block[at..end];
        let colon = memchr(b':', text).ok_or(HeadError::Field)?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if !is_token(name) || name.len() > usize::from(u16::MAX) || !is_field_value(value) {
            return Err(HeadError::Field);
        }
        let known = (Name::of(name), NameClass::of(name));
        let value = trim(value);
        let value_at = base + at + (value.as_ptr() as usize - text.as_ptr() as usize);
        fields.push_range(known, (base + at, colon), (value_at, value.len()));
        at = end + 2;
    }
    Ok(Some(start + block.len() + 2))
}

/// Checks the complete lines of an incomplete section from `start` on. Returns `None` if it can still become valid.
///
/// # Errors
/// [`HeadError`] if a line ends in a bare LF, or there are too many.
fn incomplete(buf: &[u8], start: usize, limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
    let (mut at, mut lines) = (start, 0);
    while let Some(end) = line(buf, at)? {
        lines += 1;
        if lines > limits.fields {
            return Err(HeadError::TooLarge);
        }
        at = end + 2;
    }
    Ok(None)
}

/// Returns the control fields of a section.
///
/// # Errors
/// [`HeadError`] if the length or the transfer coding is not acceptable.
fn control_fields(fields: &mut Fields) -> Result<ControlFields, HeadError> {
    let mut found = ControlFields::default();
    for field in fields.iter() {
        match field.id {
            Name::ContentLength => {
                if found.length.is_some() {
                    return Err(HeadError::ContentLength);
                }
                found.length = Some(decimal(field.value).ok_or(HeadError::ContentLength)?);
            }
            Name::TransferEncoding => {
                if found.chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                found.chunked = true;
            }
            Name::Connection => {
                for option in list(field.value) {
                    found.close |= option.eq_ignore_ascii_case(b"close");
                    found.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    found.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            Name::Host => found.hosts += 1,
            Name::Expect => found.expects_continue |= field.value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }
    if found.chunked && found.length.is_some() {
        return Err(HeadError::BothLengths);
    }
    Ok(found)
}

/// Parses a request head at the front of `buf`. Returns `Ok(None)` if it is incomplete.
///
/// `head` is overwritten; after an error or `None` its content is unspecified. Host, Content-Length and
/// Transfer-Encoding are removed from the fields; `authority` and `body` contain them.
///
/// # Errors
/// [`HeadError`]: respond with [`HeadError::status`] and close, or close without a response.
pub fn request(
    buf: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<Option<ParsedRequest>, HeadError> {
    head.clear();
    match plain::request(buf, limits, head) {
        Some(found) => Ok(Some(found)),
        None => strict_request(buf, limits, head),
    }
}

/// Parses any request head as [`request`], which calls it for heads that the single-pass parser leaves. Reports errors
/// and incomplete heads.
///
/// # Errors
/// [`HeadError`] for the malformed part, or the limit that is exceeded.
pub(super) fn strict_request(
    buf: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<Option<ParsedRequest>, HeadError> {
    head.clear();
    // One empty line before the request line is ignored (RFC 9112 §2.2).
    let start = if buf.starts_with(b"\r\n") { 2 } else { 0 };
    // What is not the target of a request line: a method, two blanks, the version.
    let most = start + limits.target + MAX_REQUEST_LINE_OVERHEAD + limits.bytes;
    let whole = &buf[..buf.len().min(most)];
    let truncated = buf.len() >= most;
    let more = || if truncated { Err(HeadError::TooLarge) } else { Ok(None) };

    if !begins_like_a_request(&whole[start..]) {
        return Err(HeadError::NotHttp);
    }
    let Some(end) = line(whole, start)? else {
        let first = memchr(b' ', &whole[start..]).map_or(0, |space| whole.len() - start - space);
        return if first > limits.target + MAX_REQUEST_LINE_OVERHEAD {
            Err(HeadError::TargetTooLong)
        } else {
            more()
        };
    };
    let (target, version) = request_line(&whole[start..end], limits, head)?;
    head.version = version;
    let section_limit = (end + 2).saturating_add(limits.bytes);
    let Some(used) = section(whole, end + 2, limits, &mut head.fields)? else {
        return if whole.len() >= section_limit { Err(HeadError::TooLarge) } else { more() };
    };
    if used > section_limit {
        return Err(HeadError::TooLarge);
    }
    let found = control_fields(&mut head.fields)?;

    if found.chunked && version == Version::Http10 {
        return Err(HeadError::TransferEncoding);
    }
    head.body = match (found.chunked, found.length) {
        (true, _) => BodyLength::Unknown,
        (false, Some(0) | None) => BodyLength::None,
        (false, Some(length)) => BodyLength::Exact(length),
    };
    set_authority(&found, target, head)?;
    if found.upgrade && version == Version::Http11 {
        let protocols: Vec<&[u8]> = head.fields.all(Name::Upgrade).collect();
        if !protocols.is_empty()
            && let Ok(protocols) = String::from_utf8(protocols.join(&b", "[..]))
        {
            head.upgrade = Some(protocols.into());
        }
    }
    head.fields
        .retain(|field| !matches!(field.id, Name::Host | Name::ContentLength | Name::TransferEncoding));
    let keep_alive = if version == Version::Http11 { !found.close } else { found.keep_alive && !found.close };
    Ok(Some(ParsedRequest {
        used,
        keep_alive,
        expects_continue: found.expects_continue && version == Version::Http11,
    }))
}

/// Returns whether the bytes so far can begin a request line: a method of at most 32 bytes and a space. True if empty,
/// and for text whose only fault is a bare line end.
fn begins_like_a_request(bytes: &[u8]) -> bool {
    let method = &bytes[..memchr(b' ', bytes).unwrap_or(bytes.len()).min(33)];
    bytes.is_empty() || (method.len() <= 32 && is_token(method))
        // A bare line end is an error, but the client does speak HTTP.
        || (bytes.len() > 3 && bytes[0].is_ascii_uppercase() && method.iter().all(|b| matches!(b, b'\r' | b'\n' | b' '..=b'~')))
}

/// Parses a request line into the method and the target of `head`. Returns the authority of a target in absolute or
/// authority form, `None` in origin form, and the version.
///
/// # Errors
/// [`HeadError`] for the malformed part.
fn request_line(
    line: &[u8],
    limits: &HeadLimits,
    head: &mut RequestHead,
) -> Result<(Option<String>, Version), HeadError> {
    let first = memchr(b' ', line).ok_or(HeadError::FirstLine)?;
    let rest = &line[first + 1..];
    let second = memchr(b' ', rest).ok_or(HeadError::FirstLine)?;
    let (target, version) = (&rest[..second], &rest[second + 1..]);
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        // A later minor version is read as the latest known one (RFC 9110 §2.5).
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => Version::Http11,
        other
            if other.len() == 8
                && other.starts_with(b"HTTP/")
                && other[5].is_ascii_digit()
                && other[6] == b'.' =>
        {
            return Err(HeadError::Version);
        }
        _ => return Err(HeadError::FirstLine),
    };
    head.method = Method::parse(&line[..first]).ok_or(HeadError::FirstLine)?;
    if target.len() > limits.target {
        return Err(HeadError::TargetTooLong);
    }
    if !is_target(target) || memchr(b'#', target).is_some() {
        return Err(HeadError::Target);
    }
    // Visible ASCII, as just checked.
    let target = std::str::from_utf8(target).map_err(|_| HeadError::Target)?;
    let found = absolute_authority(target);
    let authority = match (&found, &head.method) {
        (Some(range), _) => {
            let path = &target[range.end..];
            match path.as_bytes().first() {
                Some(b'/') => head.target.push_str(path),
                Some(b'?') => {
                    head.target.push('/');
                    head.target.push_str(path);
                }
                Some(_) => return Err(HeadError::Target),
                None if head.method == Method::Options => head.target.push('*'),
                None => head.target.push('/'),
            }
            Some(target[range.clone()].to_owned())
        }
        (None, Method::Connect) => {
            // The authority form (RFC 9112 §3.2.3), which the policy refuses later with its own reason.
            head.target.push('*');
            Some(target.to_owned())
        }
        (None, _) if target.starts_with('/') || target == "*" => {
            head.target.push_str(target);
            None
        }
        (None, _) => return Err(HeadError::Target),
    };
    Ok((authority, version))
}

/// Returns the range of the authority in an absolute request target. `None` unless it begins with `http://` or
/// `https://`.
fn absolute_authority(target: &str) -> Option<std::ops::Range<usize>> {
    let at = match target.find("://") {
        Some(at)
            if target[..at].eq_ignore_ascii_case("http") || target[..at].eq_ignore_ascii_case("https") =>
        {
            at + 3
        }
        _ => return None,
    };
    let end = target[at..].find(['/', '?']).map_or(target.len(), |length| at + length);
    Some(at..end)
}

/// Checks Host, and that it equals the authority `target` of an absolute request target, if there is one (RFC 9112
/// §3.2). Sets `head.authority`. HTTP/1.0 may omit Host.
///
/// # Errors
/// [`HeadError::Host`].
fn set_authority(
    found: &ControlFields,
    target: Option<String>,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let required = usize::from(head.version == Version::Http11);
    if found.hosts > 1 || found.hosts < required {
        return Err(HeadError::Host);
    }
    let host = head.fields.get(Name::Host).unwrap_or_default();
    let host = without_empty_port(std::str::from_utf8(host).map_err(|_| HeadError::Host)?);
    if !host.is_empty() && split_authority(host).is_none() {
        return Err(HeadError::Host);
    }
    if let Some(target) = target {
        let target = without_empty_port(&target);
        if split_authority(target).is_none() || (found.hosts == 1 && !target.eq_ignore_ascii_case(host)) {
            return Err(HeadError::Host);
        }
        head.authority.push_str(target);
    } else {
        head.authority.push_str(host);
    }
    Ok(())
}

/// Parses a response head at the front of `buf`. Returns `Ok(None)` if it is incomplete. `method` is the method of the
/// request, which determines the framing (RFC 9112 §6.3).
///
/// `head` is overwritten; after an error or `None` its content is unspecified. Content-Length and Transfer-Encoding are
/// removed from the fields. Lines that end in a bare LF and whitespace before a colon are repaired (RFC 9112 §2.2,
/// §5.1), unless the content is chunked.
///
/// # Errors
/// [`HeadError`]: close the connection and respond to the client with 502.
pub fn response(
    buf: &[u8],
    limits: &HeadLimits,
    method: &Method,
    head: &mut ResponseHead,
) -> Result<Option<ParsedResponse>, HeadError> {
    head.clear();
    if let Some(found) = plain::response(buf, limits, method, head) {
        return Ok(Some(found));
    }
    match strict_response(buf, limits, method, head) {
        Err(why) => repair::response(buf, limits, method, head, why),
        found => found,
    }
}

/// Parses any response head as [`response`], but without repair.
///
/// # Errors
/// [`HeadError`] for the malformed part, or the limit that is exceeded.
pub(super) fn strict_response(
    buf: &[u8],
    limits: &HeadLimits,
    method: &Method,
    head: &mut ResponseHead,
) -> Result<Option<ParsedResponse>, HeadError> {
    head.clear();
    let whole = &buf[..buf.len().min(limits.bytes)];
    let more = || if buf.len() >= limits.bytes { Err(HeadError::TooLarge) } else { Ok(None) };
    if !whole.starts_with(&b"HTTP/1."[..whole.len().min(7)]) {
        return Err(HeadError::NotHttp);
    }
    let Some(end) = line(whole, 0)? else { return more() };
    let first = &whole[..end];
    let version = match first.get(..9) {
        Some(b"HTTP/1.1 ") => Version::Http11,
        Some(b"HTTP/1.0 ") => Version::Http10,
        Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', b' ']) => Version::Http11,
        _ => return Err(HeadError::FirstLine),
    };
    let digits = first.get(9..12).ok_or(HeadError::FirstLine)?;
    if !matches!(first.get(12), None | Some(b' ')) || !is_field_value(&first[12..]) {
        return Err(HeadError::FirstLine);
    }
    head.status = match decimal(digits) {
        Some(status @ 100..=999) => status as u16,
        _ => return Err(HeadError::FirstLine),
    };
    let Some(used) = section(whole, end + 2, limits, &mut head.fields)? else { return more() };
    let found = control_fields(&mut head.fields)?;
    if found.chunked && version == Version::Http10 {
        return Err(HeadError::TransferEncoding);
    }
    let bodiless = head.is_bodiless(method);
    let framing = match (bodiless, found.chunked, found.length) {
        (true, _, _) => ResponseBody::None,
        (false, true, _) => ResponseBody::Chunked,
        (false, false, Some(length)) => ResponseBody::Exact(length),
        (false, false, None) => ResponseBody::UntilClose,
    };
    head.body = match (found.chunked, found.length) {
        // The length of HEAD and 304 is worth forwarding; 1xx and 204 have no length (RFC 9110 §8.6).
        _ if head.status < 200 || head.status == 204 => BodyLength::None,
        (false, Some(length)) => BodyLength::Exact(length),
        (false, None) if bodiless => BodyLength::None,
        _ => BodyLength::Unknown,
    };
    head.fields.retain(|field| !matches!(field.id, Name::ContentLength | Name::TransferEncoding));
    let persistent = if version == Version::Http11 { !found.close } else { found.keep_alive && !found.close };
    let keep_alive = persistent && framing != ResponseBody::UntilClose && head.status != 101;
    Ok(Some(ParsedResponse { used, keep_alive, framing, repaired: false }))
}
