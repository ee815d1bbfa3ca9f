//! Fields and heads between HTTP/2's library and ours.

use crate::config::Limits;
use crate::grammar::{decimal, is_field_value, is_target, list};
use crate::host::split_authority;
use crate::{BodyLength, Fields, Method, Name, RequestHead, Version};
use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Appends all fields.
pub(crate) fn copy_fields(from: &HeaderMap, to: &mut Fields) {
    for (name, value) in from {
        if !matches!(Name::of(name.as_str().as_bytes()), Name::ContentLength | Name::TransferEncoding) {
            to.push(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// All fields that HTTP/2 may have. Connection-specific ones were stripped before; `TE` says trailers only.
pub(crate) fn to_header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 2);
    for field in fields.iter() {
        if matches!(
            field.id,
            Name::Connection
                | Name::KeepAlive
                | Name::ProxyConnection
                | Name::TransferEncoding
                | Name::Upgrade
        ) {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(field.name), HeaderValue::from_bytes(field.value))
        {
            map.append(name, value);
        }
    }
    map
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRequest {
    /// A stream error: the message is malformed (RFC 9113 §8.1.1).
    Stream,
    /// Answered with this status.
    Status(u16),
}

/// Reads a request head, with the checks that the library leaves out.
pub(super) fn request_head(
    parts: &http::request::Parts,
    body: &RecvStream,
    version: Version,
    limits: &Limits,
) -> Result<RequestHead, BadRequest> {
    let mut head = RequestHead::new(version);
    head.method = Method::parse(parts.method.as_str().as_bytes()).ok_or(BadRequest::Stream)?;
    if let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() {
        head.upgrade = Some(protocol.as_str().into());
    }
    if parts.headers.len() > limits.header_fields {
        return Err(BadRequest::Status(431));
    }
    let mut length = None;
    let mut host: Option<&str> = None;
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        let blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
        if !is_field_value(value) || blank(value.first()) || blank(value.last()) {
            return Err(BadRequest::Stream);
        }
        match Name::of(name) {
            Name::Host if host.is_some() => return Err(BadRequest::Status(400)),
            Name::Host => host = Some(std::str::from_utf8(value).map_err(|_| BadRequest::Stream)?),
            Name::ContentLength if length.is_some() => return Err(BadRequest::Stream),
            Name::ContentLength => length = Some(decimal(value).ok_or(BadRequest::Stream)?),
            Name::Connection
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::Upgrade => {
                return Err(BadRequest::Stream);
            }
            Name::Te if list(value).any(|coding| !coding.eq_ignore_ascii_case(b"trailers")) => {
                return Err(BadRequest::Stream);
            }
            _ => head.fields.push(name, value),
        }
    }
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(BadRequest::Status(400));
        }
        (Some(name), _) | (None, Some(name)) => head.authority.push_str(name),
        (None, None) => {}
    }
    if !head.authority.is_empty() && split_authority(&head.authority).is_none() {
        return Err(BadRequest::Status(400));
    }
    match parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
        Some(target) if target.starts_with('/') || target == "*" => head.target.push_str(target),
        Some(_) => return Err(BadRequest::Stream),
        None => head.target.push('*'),
    }
    if !is_target(head.target.as_bytes()) {
        return Err(BadRequest::Status(400));
    }
    head.body = match length {
        Some(0) | None if body.is_end_stream() => BodyLength::None,
        Some(1..) if body.is_end_stream() => return Err(BadRequest::Stream),
        Some(length) => BodyLength::Exact(length),
        None => BodyLength::Unknown,
    };
    Ok(head)
}
