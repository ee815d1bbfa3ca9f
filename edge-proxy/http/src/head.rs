//! Request and response heads, common to all versions of HTTP.

use crate::Fields;
use std::fmt;

/// The HTTP version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0 (RFC 9112).
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// HTTP/3 (RFC 9114).
    Http3,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Http3 => "HTTP/3",
        })
    }
}

/// A request method (RFC 9110 §9). Methods are case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each variant is the method of that name
pub enum Method {
    Connect,
    Delete,
    Get,
    Head,
    Options,
    Patch,
    Post,
    Put,
    Trace,
    /// Any other token of at most 32 bytes.
    Other(Box<str>),
}

impl Method {
    /// Parses a method. `None` if the text is not a token or longer than 32 bytes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            other if other.len() <= 32 && crate::grammar::is_token(other) => {
                Self::Other(std::str::from_utf8(other).ok()?.into())
            }
            _ => return None,
        })
    }

    /// Returns the method as written on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Connect => "CONNECT",
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Trace => "TRACE",
            Self::Other(name) => name,
        }
    }

    /// Returns whether the method is idempotent, so that a request may be repeated if its response did not arrive (RFC
    /// 9110 §9.2.2). False for unknown methods.
    pub const fn is_idempotent(&self) -> bool {
        matches!(self, Self::Delete | Self::Get | Self::Head | Self::Options | Self::Put | Self::Trace)
    }

    /// Returns whether the method is safe, that is, read-only (RFC 9110 §9.2.1). False for unknown methods.
    pub const fn is_safe(&self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The length of a message's content, independent of the framing of an HTTP version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLength {
    /// The message has no content.
    #[default]
    None,
    /// The content has exactly this many bytes, which may be 0.
    Exact(u64),
    /// The length is unknown until the content ends, possibly with trailers.
    Unknown,
}

/// A request head as received.
///
/// The parser of each version guarantees: `method` and `target` are valid; `authority` is the only host of the request,
/// without user information; the framing is unambiguous and in `body`; fields are well-formed. Transfer-Encoding,
/// Content-Length and Host are not in `fields`.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The HTTP version of the request.
    pub version: Version,
    /// The method. An extended CONNECT (RFC 8441, RFC 9220) is [`Method::Connect`] with `upgrade` set.
    pub method: Method,
    /// The host, with a port if the client sent one, spelt as received. Empty if the Host field was empty, or if an
    /// HTTP/1.0 request had none.
    pub authority: String,
    /// The request target in origin form (path and query) as received, or `*`. Also `*` for CONNECT without `upgrade`.
    pub target: String,
    /// The requested protocol: the value of Upgrade in HTTP/1.1, with several joined by commas, and `:protocol` in
    /// HTTP/2 and HTTP/3. `None` if no upgrade is requested.
    pub upgrade: Option<Box<str>>,
    /// All fields except those that frame the message, and Host.
    pub fields: Fields,
    /// The length of the content.
    pub body: BodyLength,
}

impl Clone for RequestHead {
    fn clone(&self) -> Self {
        Self {
            version: self.version,
            method: self.method.clone(),
            authority: self.authority.clone(),
            target: self.target.clone(),
            upgrade: self.upgrade.clone(),
            fields: self.fields.clone(),
            body: self.body,
        }
    }

    /// Copies into the existing allocations.
    fn clone_from(&mut self, source: &Self) {
        self.version = source.version;
        self.method.clone_from(&source.method);
        self.authority.clone_from(&source.authority);
        self.target.clone_from(&source.target);
        self.upgrade.clone_from(&source.upgrade);
        self.fields.clone_from(&source.fields);
        self.body = source.body;
    }
}

impl RequestHead {
    /// Creates an empty head for a parser to fill: GET, without authority, target, fields and content.
    pub const fn new(version: Version) -> Self {
        Self {
            version,
            method: Method::Get,
            authority: String::new(),
            target: String::new(),
            upgrade: None,
            fields: Fields::new(),
            body: BodyLength::None,
        }
    }

    /// Resets the head to that of [`RequestHead::new`], except for the version, and keeps its allocations.
    pub fn clear(&mut self) {
        self.method = Method::Get;
        self.authority.clear();
        self.target.clear();
        self.upgrade = None;
        self.fields.clear();
        self.body = BodyLength::None;
    }
}

/// A response head, received from an upstream or generated by the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 100 to 999.
    pub status: u16,
    /// All fields except those that frame the message.
    pub fields: Fields,
    /// The length of the content. For responses to HEAD and for 304 it is that of Content-Length, although no content
    /// follows.
    pub body: BodyLength,
}

impl ResponseHead {
    /// Creates a head with this status, without fields and content.
    pub const fn new(status: u16) -> Self {
        Self { status, fields: Fields::new(), body: BodyLength::None }
    }

    /// Returns whether the response is interim, so that another head follows: 1xx except 101 (RFC 9110 §15.2).
    pub const fn is_interim(&self) -> bool {
        self.status >= 100 && self.status < 200 && self.status != 101
    }

    /// Returns whether the response to a request with this method has no content, whatever its fields declare (RFC 9110
    /// §6.4.1): to HEAD, and for 1xx, 204 and 304.
    pub fn is_bodiless(&self, method: &Method) -> bool {
        *method == Method::Head || self.status < 200 || self.status == 204 || self.status == 304
    }

    /// Resets the head to status 0 without fields and content, and keeps its allocations.
    pub fn clear(&mut self) {
        self.status = 0;
        self.fields.clear();
        self.body = BodyLength::None;
    }
}
