//! The writers of heads and chunks. Fields must be valid; nothing is validated here.

use crate::section::digits;
use crate::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead, Version};

/// The framing of response content in HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// Content-Length, or no content.
    Length,
    /// Chunked transfer coding.
    Chunked,
    /// Content until the connection closes.
    Close,
}

impl ResponseFraming {
    /// Returns the framing of a response to a request with this method from a client of this version: by length if it
    /// is known or there is no content, else chunked, or until the connection closes for HTTP/1.0.
    pub fn choose(head: &ResponseHead, method: &Method, version: Version) -> Self {
        if head.is_bodiless(method) || head.body != BodyLength::Unknown {
            Self::Length
        } else if version == Version::Http11 {
            Self::Chunked
        } else {
            Self::Close
        }
    }
}

/// Appends a field line.
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the fields except TE, which concerns one connection only. Returns true if TE is present.
fn fields(out: &mut Vec<u8>, fields: &Fields) -> bool {
    fields.write_lines(Name::Te, out);
    fields.contains(Name::Te)
}

/// Appends a number in decimal.
fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(digits(value, &mut [0; 20]));
}

/// Appends a request head for an HTTP/1.1 upstream. `method` replaces that of the head, and `host` is sent as Host. If
/// `upgrade` is given, Connection and Upgrade request that protocol; else TE, if present, becomes `TE: trailers`. The
/// framing fields are written from `head.body`.
pub fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead,
    method: &Method,
    host: &str,
    upgrade: Option<&str>,
) {
    out.reserve(head.target.len() + host.len() + 256);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    line(out, b"Host", host.as_bytes());
    let te = fields(out, &head.fields);
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        line(out, b"Upgrade", protocol.as_bytes());
    } else if te {
        // Trailers of the answer are passed on (RFC 9110 §10.1.4). gRPC's servers ask for this.
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
    match head.body {
        BodyLength::Exact(length) => length_line(out, length),
        BodyLength::Unknown => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // Methods that usually have content state its absence (RFC 9110 §8.6).
        BodyLength::None if matches!(method, Method::Post | Method::Put | Method::Patch) => {
            length_line(out, 0);
        }
        BodyLength::None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a Content-Length line.
fn length_line(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// The persistence of a connection after a response (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// The connection is closed after the response, which has `Connection: close` unless it is interim.
    Close,
    /// The connection is used for further requests.
    KeepAlive,
}

/// Appends a response head of HTTP/1.1. `method` is that of the request, and `framing` is from
/// [`ResponseFraming::choose`]. A TE field is omitted. The framing fields are written from `framing` and `head.body`,
/// except for 1xx and 204. A 101 has `Connection: Upgrade`.
pub fn write_response(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    method: &Method,
    framing: ResponseFraming,
    persistence: Persistence,
) {
    out.reserve(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(head.status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(head.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    fields(out, &head.fields);
    if head.status >= 200 && head.status != 204 {
        match (framing, head.body) {
            (ResponseFraming::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            (ResponseFraming::Length, BodyLength::Exact(length)) => length_line(out, length),
            // For HEAD and 304 the length is unknown; every other response is empty and says so.
            (ResponseFraming::Length, BodyLength::None) if *method != Method::Head && head.status != 304 => {
                length_line(out, 0);
            }
            _ => {}
        }
    }
    if head.status == 101 {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
    } else if persistence == Persistence::Close && head.status >= 200 {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the size line of a chunk. The caller appends the data and CR LF. `size` must not be 0, which would end the
/// content.
pub fn write_chunk_head(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0u8; 18];
    let mut at = 16;
    digits[16] = b'\r';
    digits[17] = b'\n';
    let mut left = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends the last chunk, the trailers if any are given (without TE), and the final CR LF.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        fields(out, trailers);
    }
    out.extend_from_slice(b"\r\n");
}

/// Returns the reason phrase of a status (RFC 9110 §15, and others in use). Empty for a status without one here, such
/// as 299.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
