//! The JSON format: one object per line.

use super::LogRecord;
use super::time::Date;
use edge_http::proxy_protocol::Extensions;
use serde::Serialize;
use std::borrow::Cow;
use std::io;

/// The JSON object of a request. Its keys are the names of these fields, in this order.
#[derive(Serialize)]
struct Object<'a> {
    /// The time at which the request ended, as in RFC 3339.
    time: String,
    /// The client's address, as restored from trusted proxies.
    client: std::net::IpAddr,
    /// The address and port of the connection's peer.
    peer: std::net::SocketAddr,
    /// The request method.
    method: &'a str,
    /// The host of the request, with its port if it has one.
    authority: &'a str,
    /// The request target: path and query.
    target: &'a str,
    /// The HTTP version of the request.
    version: &'a str,
    /// The TLS version. `None` for plain HTTP.
    tls_version: Option<&'a str>,
    /// The TLS cipher suite. `None` for plain HTTP, or if it is not known.
    tls_cipher: Option<&'a str>,
    /// The status. `None` if the client got no response.
    status: Option<u16>,
    /// The bytes of content received from the client.
    received: u64,
    /// The bytes of content sent to the client.
    sent: u64,
    /// The time from the request to the end of its response, in seconds.
    duration: f64,
    /// The name of the site. `None` if no site serves the host.
    site: Option<&'a str>,
    /// The name of the upstream. `None` if the request was not forwarded.
    upstream: Option<&'a str>,
    /// The code of the reason for a refusal, rejection, abort or failure. `None` without one.
    reason: Option<&'a str>,
    /// The description of the failure of the upstream. `None` if it did not fail.
    error: Option<&'a str>,
    /// True if the request arrived in early data (0-RTT).
    early: bool,
    /// The extensions of the PROXY header. `None`, and then left out, if the connection had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_header: Option<serde_json::Value>,
    /// The request identifier. `None`, and then left out, if requests have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// The field `Referer`, with invalid UTF-8 replaced by U+FFFD. `None` without it.
    referer: Option<Cow<'a, str>>,
    /// The field `User-Agent`, with invalid UTF-8 replaced by U+FFFD. `None` without it.
    user_agent: Option<Cow<'a, str>>,
}

/// Appends the request as a line of JSON, including its line feed. Invalid UTF-8 in `Referer` and `User-Agent` is
/// replaced by U+FFFD.
pub(super) fn write(line: &LogRecord<'_>, out: &mut Vec<u8>) {
    let object = Object {
        time: Date::new(line.time).to_string(),
        client: line.client,
        peer: line.peer,
        method: line.method,
        authority: line.authority,
        target: line.target,
        version: line.version,
        tls_version: line.tls.map(|tls| tls.version),
        tls_cipher: line.tls.and_then(|tls| tls.cipher),
        status: line.status,
        received: line.received,
        sent: line.sent,
        duration: line.duration.as_micros() as f64 / 1e6,
        site: line.site,
        upstream: line.upstream,
        reason: line.reason,
        error: line.error,
        early: line.early,
        proxy_header: line.proxy_header.map(extensions_json),
        request_id: line.request_id,
        referer: line.referer.map(String::from_utf8_lossy),
        user_agent: line.user_agent.map(String::from_utf8_lossy),
    };
    // Text and numbers only, into memory: it does not fail.
    let _ = object.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, EscapingFormatter));
    out.push(b'\n');
}

/// Returns the extensions of a PROXY header as an object. Its keys are those of `alpn`, `authority`, `unique_id`,
/// `tls_version`, `tls_cipher` and `common_name` that the header has. The common name is included only if the sender
/// verified the certificate. Invalid UTF-8 is replaced by U+FFFD.
pub(super) fn extensions_json(said: &Extensions) -> serde_json::Value {
    let text =
        |bytes: &Option<Vec<u8>>| bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let tls = said.tls.as_ref();
    let mut object = serde_json::Map::new();
    for (key, value) in [
        ("alpn", text(&said.alpn)),
        ("authority", said.authority.clone()),
        ("unique_id", text(&said.unique_id)),
        ("tls_version", tls.and_then(|tls| tls.version.clone())),
        ("tls_cipher", tls.and_then(|tls| tls.cipher.clone())),
        ("common_name", tls.filter(|tls| tls.verified).and_then(|tls| tls.common_name.clone())),
    ] {
        if let Some(value) = value {
            object.insert(key.to_owned(), value.into());
        }
    }
    object.into()
}

/// A formatter for JSON on one line. It escapes characters that terminals interpret or that change the order or
/// visibility of text, and writes numbers without exponents, which many log readers do not understand.
#[derive(Clone, Copy, Debug)]
pub(super) struct EscapingFormatter;

/// Returns true if a character could disguise other text: DEL and C1 controls, invisible characters, line and paragraph
/// separators, and marks that change the direction of text. C0 controls are left to the serializer.
const fn is_unsafe(c: char) -> bool {
    matches!(
        c,
        '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

impl serde_json::ser::Formatter for EscapingFormatter {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value}")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_unsafe) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let c = rest[at..].chars().next().unwrap_or_default();
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Returns a value as JSON by [`EscapingFormatter`], on one line without a line feed.
pub(super) fn escaped_json(value: &serde_json::Value) -> Vec<u8> {
    let mut out = Vec::new();
    // Into memory: it does not fail.
    let _ = value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, EscapingFormatter));
    out
}
