//! A request's field sections: from field lines to a [`RequestHead`] or trailers (RFC 9114 §4.2, §4.3).

use super::qpack::Decoder;
use super::{Code, Fault};
use crate::grammar::{decimal, is_field_value, is_target, is_token};
use crate::{BodyLength, Fields, Method, Name, RequestHead, Version, host};

/// How large a field section may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes: names, values, and 32 a field (RFC 9114 §4.2.2).
    pub section: usize,
    /// Fields.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { section: 16 * 1024, fields: 128 }
    }
}

/// What has been counted against the limits.
struct Spent {
    limits: Limits,
    bytes: usize,
    fields: usize,
}

impl Spent {
    const fn new(limits: Limits) -> Self {
        Self { limits, bytes: 0, fields: 0 }
    }

    fn count(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.bytes += name.len() + value.len() + 32;
        self.fields += 1;
        let over = self.bytes > self.limits.section || self.fields > self.limits.fields;
        if over { Err(Fault::TooLarge) } else { Ok(()) }
    }
}

/// Whether a field that is no pseudo-header can be in a message at all: RFC 9114 §4.2 and RFC 9110 §5.5. Blanks around
/// a value are not part of it in any version, so a section that has them was not made by anything that knows HTTP.
fn check(id: Name, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let wrong = !is_token(name)
        || name.iter().any(u8::is_ascii_uppercase)
        || name.len() > usize::from(u16::MAX)
        || !(value.is_empty() || is_field_value(value))
        || blank(value.first())
        || blank(value.last())
        || match id {
            // Fields of a connection, which has no such thing as fields here.
            Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade => true,
            Name::Te => !value.eq_ignore_ascii_case(b"trailers"),
            // What a CGI program behind the service takes for the proxy that it is to use ("httpoxy"). No client that
            // means well sends it.
            Name::Proxy => true,
            _ => false,
        };
    if wrong { Err(Fault::MESSAGE) } else { Ok(()) }
}

#[derive(Default)]
struct Pseudo {
    method: Option<Method>,
    scheme: bool,
    authority: Option<String>,
    path: Option<String>,
    protocol: Option<Box<str>>,
}

impl Pseudo {
    fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Fault> {
            // Twice, or not of its syntax.
            match value {
                Some(value) if place.is_none() => *place = Some(value),
                _ => return Err(Fault::MESSAGE),
            }
            Ok(())
        }
        let text = |value: &[u8]| {
            is_target(value).then(|| std::str::from_utf8(value).ok().map(str::to_owned)).flatten()
        };
        match name {
            b":method" => once(&mut self.method, Method::parse(value)),
            b":scheme" if !self.scheme && value.eq_ignore_ascii_case(b"https") => {
                self.scheme = true;
                Ok(())
            }
            b":authority" => once(&mut self.authority, text(value)),
            b":path" => once(&mut self.path, text(value)),
            b":protocol" if is_token(value) => once(&mut self.protocol, text(value).map(Into::into)),
            _ => Err(Fault::MESSAGE),
        }
    }
}

/// Decodes the head of a request. `ended` is whether the stream ended with it.
pub(super) fn request(
    decoder: &mut Decoder,
    section: &[u8],
    limits: Limits,
    ended: bool,
) -> Result<RequestHead, Fault> {
    let mut head = RequestHead::new(Version::Http3);
    let mut pseudo = Pseudo::default();
    let mut spent = Spent::new(limits);
    let mut regular = false;
    let mut named: Option<String> = None;
    let mut length: Option<u64> = None;
    let mut cookie: Vec<u8> = Vec::new();
    decoder.decode(section, |name, value| {
        spent.count(name, value)?;
        if name.first() == Some(&b':') {
            // §4.3: pseudo-header fields come first.
            return if regular { Err(Fault::MESSAGE) } else { pseudo.set(name, value) };
        }
        regular = true;
        let id = Name::of(name);
        check(id, name, value)?;
        match id {
            Name::Host => {
                let host = std::str::from_utf8(value).map_err(|_| Fault::MESSAGE)?;
                if named.replace(host.to_owned()).is_some() {
                    return Err(Fault::MESSAGE);
                }
            }
            Name::ContentLength => {
                let value = decimal(value).ok_or(Fault::MESSAGE)?;
                if length.replace(value).is_some() {
                    return Err(Fault::MESSAGE);
                }
            }
            // §4.2.1: a cookie may have been cut into several fields, and must be whole again before it leaves.
            Name::Other if name == b"cookie" => {
                if !cookie.is_empty() {
                    cookie.extend_from_slice(b"; ");
                }
                cookie.extend_from_slice(value);
            }
            _ => head.fields.push(name, value),
        }
        Ok(())
    })?;
    if !cookie.is_empty() {
        head.fields.push(b"cookie", &cookie);
    }

    let method = pseudo.method.ok_or(Fault::MESSAGE)?;
    // §4.3.1: where both are, they agree; one of them is there and names something.
    let authority = match (pseudo.authority, named) {
        (Some(a), Some(b)) if !a.eq_ignore_ascii_case(&b) => return Err(Fault::MESSAGE),
        (Some(a), _) => a,
        (None, Some(b)) if method != Method::Connect => b,
        (None, _) => return Err(Fault::MESSAGE),
    };
    if host::split_authority(&authority).is_none() {
        return Err(Fault::MESSAGE);
    }
    if method == Method::Connect && pseudo.protocol.is_none() {
        // §4.4: a plain CONNECT has neither scheme nor path. Well-formed or not, this is no forward proxy.
        let malformed = pseudo.scheme || pseudo.path.is_some();
        return Err(if malformed { Fault::MESSAGE } else { Fault::Stream(Code::H3_REQUEST_REJECTED) });
    }
    let path = pseudo.path.ok_or(Fault::MESSAGE)?;
    let origin_form = path.starts_with('/') && !path.contains('#');
    let asterisk = path == "*" && method == Method::Options;
    if !pseudo.scheme || !(origin_form || asterisk) {
        return Err(Fault::MESSAGE);
    }
    if pseudo.protocol.is_some() && (method != Method::Connect || length.is_some()) {
        return Err(Fault::MESSAGE);
    }
    head.body = match length {
        Some(length) if ended && length > 0 => return Err(Fault::MESSAGE),
        Some(length) => BodyLength::Exact(length),
        None if ended => BodyLength::None,
        None => BodyLength::Unknown,
    };
    head.method = method;
    head.authority = authority;
    head.target = path;
    head.upgrade = pseudo.protocol;
    Ok(head)
}

/// Decodes a request's trailers. Fields that may not be trailers are left out (RFC 9110 §6.5.1).
pub(super) fn trailers(decoder: &mut Decoder, section: &[u8], limits: Limits) -> Result<Fields, Fault> {
    let mut fields = Fields::new();
    let mut spent = Spent::new(limits);
    decoder.decode(section, |name, value| {
        spent.count(name, value)?;
        let id = Name::of(name);
        // §4.3: no pseudo-header fields in trailers; a colon is no part of a token.
        check(id, name, value)?;
        if may_be_trailer(id, name) {
            fields.push(name, value);
        }
        Ok(())
    })?;
    Ok(fields)
}

/// Whether a field can be sent after the content: nothing that frames, routes, authenticates, or conditions a message,
/// and nothing that a proxy vouches for.
pub(super) fn may_be_trailer(id: Name, name: &[u8]) -> bool {
    id == Name::Other
        && !matches!(
            name,
            b"authorization"
                | b"cache-control"
                | b"content-encoding"
                | b"content-range"
                | b"content-type"
                | b"cookie"
                | b"if-match"
                | b"if-modified-since"
                | b"if-none-match"
                | b"if-range"
                | b"if-unmodified-since"
                | b"max-forwards"
                | b"pragma"
                | b"range"
                | b"set-cookie"
        )
}
