//! Compression of responses: the decision as a total function over both heads.
//!
//! Content is not compressed where that gains nothing (short, already compressed, or not text), where it must not be
//! transformed (`no-transform`, ranges), and where its length could leak secrets (BREACH): an attacker's page makes a
//! browser send guesses to an upstream and learns from the length of the compressed responses. Such requests are
//! cross-site, which browsers report in `Sec-Fetch-Site`. Requests without that field are not compressed if they have a
//! cookie or credentials.

use crate::config::{Coding, Compression};
use edge_http::{BodyLength, Fields, Method, Name, RequestHead, ResponseHead};

/// The reason the proxy does not compress a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Compression is not configured for the route or the site.
    Off,
    /// Accept-Encoding is missing, malformed, or accepts none of the configured codings.
    NotAccepted,
    /// The response has no content, or the request is HEAD.
    NoContent,
    /// The declared length of the content is less than [`Compression::least`].
    Short,
    /// The response has a Content-Encoding, or its media type is missing, malformed or not among those that are
    /// compressed: `text/*` except `text/event-stream`, the types of JSON, XML, JavaScript, Wasm, YAML, TOML and RTF,
    /// and those of uncompressed images and fonts.
    Incompressible,
    /// The content must not be transformed: `Cache-Control: no-transform`, Content-Range, a digest of the content
    /// (Content-MD5, Content-Digest, Repr-Digest or Digest), or a status other than 200, 201, 203, 4xx and 5xx.
    Untouchable,
    /// The request is cross-site, or has a cookie or credentials without stating its site, so the length of the
    /// response could reveal a secret.
    Leaks,
}

/// Chooses the content coding of a response. `compression` is the configuration of the route or the site, `None` if
/// compression is disabled.
///
/// # Errors
/// [`SkipReason`]: the first reason found for which the response is not compressed.
///
/// ```
/// use edge_policy::compression::choose;
/// use edge_policy::config::{Coding, Compression};
/// use edge_http::{BodyLength, RequestHead, ResponseHead, Version};
///
/// let mut request = RequestHead::new(Version::Http2);
/// request.fields.push(b"Accept-Encoding", b"gzip;q=0.5, br;q=0.9, zstd;q=0");
/// let mut response = ResponseHead::new(200);
/// response.fields.push(b"Content-Type", b"text/html; charset=utf-8");
/// response.body = BodyLength::Unknown;
/// assert_eq!(choose(Some(&Compression::default()), &request, &response), Ok(Coding::Brotli));
/// ```
pub fn choose(
    compression: Option<&Compression>,
    request: &RequestHead,
    response: &ResponseHead,
) -> Result<Coding, SkipReason> {
    let compression = compression.ok_or(SkipReason::Off)?;
    match response.body {
        _ if request.method == Method::Head => return Err(SkipReason::NoContent),
        BodyLength::None => return Err(SkipReason::NoContent),
        BodyLength::Exact(length) if length < compression.least => return Err(SkipReason::Short),
        BodyLength::Exact(_) | BodyLength::Unknown => {}
    }
    if !matches!(response.status, 200 | 201 | 203 | 400..=599)
        || has_token(&response.fields, b"cache-control", b"no-transform")
    {
        return Err(SkipReason::Untouchable);
    }
    for name in [&b"content-range"[..], b"content-md5", b"content-digest", b"repr-digest", b"digest"] {
        if response.fields.get_named(name).is_some() {
            return Err(SkipReason::Untouchable);
        }
    }
    let kind = response.fields.get_named(b"content-type").unwrap_or_default();
    if response.fields.get_named(b"content-encoding").is_some() || !is_compressible(kind) {
        return Err(SkipReason::Incompressible);
    }
    if may_leak(&request.fields) {
        return Err(SkipReason::Leaks);
    }
    preferred_coding(&request.fields, &compression.codings).ok_or(SkipReason::NotAccepted)
}

/// Rewrites the head of a response that will be compressed (RFC 9110 §8.4, §8.8.3): the length becomes unknown,
/// Accept-Ranges is removed, a strong ETag becomes weak, and Content-Encoding is added.
pub fn rewrite(coding: Coding, response: &mut ResponseHead) {
    response.fields.remove(Name::ContentLength);
    response.fields.remove_named(b"accept-ranges");
    let strong = response.fields.get_named(b"etag").filter(|tag| tag.starts_with(b"\"")).map(<[u8]>::to_vec);
    if let Some(tag) = strong {
        response.fields.remove_named(b"etag");
        response.fields.push(b"ETag", &[b"W/", &tag[..]].concat());
    }
    response.fields.push(b"Content-Encoding", coding.name().as_bytes());
    response.body = BodyLength::Unknown;
}

/// Adds `Accept-Encoding` to Vary unless Vary contains it or `*`. Must be called for uncompressed variants of the
/// response as well (RFC 9110 §12.5.5).
pub fn vary(response: &mut ResponseHead) {
    if !has_token(&response.fields, b"vary", b"accept-encoding")
        && !has_token(&response.fields, b"vary", b"*")
    {
        response.fields.push(b"Vary", b"Accept-Encoding");
    }
}

/// Returns whether content of this media type is worth compressing: text except event streams, JSON, XML, and other
/// formats that are not compressed already. False for a malformed or missing type.
fn is_compressible(kind: &[u8]) -> bool {
    let essence =
        kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let Some(slash) = essence.iter().position(|byte| *byte == b'/') else { return false };
    match (&essence[..slash], &essence[slash + 1..]) {
        // Events must not be held back in a compression window.
        (b"text", b"event-stream") => false,
        (b"text", _) => true,
        (b"image", kind) => matches!(kind, b"svg+xml" | b"bmp" | b"x-icon" | b"vnd.microsoft.icon"),
        (b"font", kind) => matches!(kind, b"ttf" | b"otf" | b"collection"),
        (b"application", kind) => {
            kind.ends_with(b"+json")
                || kind.ends_with(b"+xml")
                || matches!(
                    kind,
                    b"json"
                        | b"javascript"
                        | b"x-javascript"
                        | b"xml"
                        | b"wasm"
                        | b"x-yaml"
                        | b"yaml"
                        | b"toml"
                        | b"x-ndjson"
                        | b"manifest+json"
                        | b"vnd.ms-fontobject"
                        | b"rtf"
                )
        }
        _ => false,
    }
}

/// Returns whether the length of a compressed response could reveal a secret, by Sec-Fetch-Site of the request: true
/// unless that is `same-origin` or `none`. Without the field, true if the request has a cookie or credentials.
fn may_leak(fields: &Fields) -> bool {
    match fields.get_named(b"sec-fetch-site") {
        Some(b"same-origin" | b"none") => false,
        Some(_) => true,
        None => fields.get_named(b"cookie").is_some() || fields.get_named(b"authorization").is_some(),
    }
}

/// Returns the coding with the highest weight in Accept-Encoding (RFC 9110 §12.5.3); among codings of equal weight,
/// the first of `codings`. A coding that is not listed has the weight of `*`. `None` if the client accepts none of
/// them, or the field is missing or malformed.
fn preferred_coding(fields: &Fields, codings: &[Coding]) -> Option<Coding> {
    let mut weights: Vec<(Coding, Option<u16>)> = codings.iter().map(|coding| (*coding, None)).collect();
    let mut others = None;
    let lists = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"accept-encoding"));
    for item in lists.flat_map(|field| field.value.split(|byte| *byte == b',')) {
        let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = parts.next().map_or(Some(1000), weight)?;
        if name == b"*" {
            others = Some(weight);
        }
        for (coding, slot) in &mut weights {
            if name.eq_ignore_ascii_case(coding.name().as_bytes()) {
                *slot = Some(weight);
            }
        }
    }
    let weights = weights.into_iter().filter_map(|(coding, weight)| Some((coding, weight.or(others)?)));
    // `max_by_key` returns the last of equals, hence the reversal.
    weights
        .filter(|(_, weight)| *weight > 0)
        .rev()
        .max_by_key(|(_, weight)| *weight)
        .map(|(coding, _)| coding)
}

/// Parses a weight such as `q=0.5` (RFC 9110 §12.4.2) into thousandths, 0 to 1000. `None` if it is malformed.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &b""[..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut sum = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    for (at, digit) in fraction.iter().enumerate() {
        sum += digit.is_ascii_digit().then(|| u16::from(digit - b'0'))? * [100, 10, 1][at];
    }
    (sum <= 1000).then_some(sum)
}

/// Returns whether the fields of this name, as comma-separated lists, contain the token. Letter case is ignored.
fn has_token(fields: &Fields, name: &[u8], token: &[u8]) -> bool {
    fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case(name))
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_http::Version;
    use proptest::prelude::*;

    fn request(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::new(Version::Http11);
        fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        head
    }

    fn response(status: u16, fields: &[(&str, &str)]) -> ResponseHead {
        let mut head = ResponseHead::new(status);
        head.body = BodyLength::Exact(100_000);
        fields.iter().for_each(|(name, value)| head.fields.push(name.as_bytes(), value.as_bytes()));
        head
    }

    const ALL: (&str, &str) = ("Accept-Encoding", "gzip, deflate, br, zstd");
    const HTML: (&str, &str) = ("Content-Type", "text/html");

    #[test]
    fn each_reason() {
        let on = Compression::default();
        let of = |request: &RequestHead, response: &ResponseHead| choose(Some(&on), request, response);
        let plain = request(&[ALL]);
        assert_eq!(of(&plain, &response(200, &[HTML])), Ok(Coding::Zstd));
        assert_eq!(choose(None, &plain, &response(200, &[HTML])), Err(SkipReason::Off));
        for (fields, why) in [
            (&[HTML, ("Cache-Control", "public, No-Transform")][..], SkipReason::Untouchable),
            (&[HTML, ("Content-Range", "bytes 0-1/2")], SkipReason::Untouchable),
            (&[HTML, ("Content-Encoding", "gzip")], SkipReason::Incompressible),
            (&[("Content-Type", "image/png")], SkipReason::Incompressible),
            (&[("Content-Type", "text/event-stream")], SkipReason::Incompressible),
            (&[], SkipReason::Incompressible),
        ] {
            assert_eq!(of(&plain, &response(200, fields)), Err(why), "{fields:?}");
        }
        assert_eq!(of(&plain, &response(206, &[HTML])), Err(SkipReason::Untouchable));
        let mut short = response(200, &[HTML]);
        short.body = BodyLength::Exact(1023);
        assert_eq!(of(&plain, &short), Err(SkipReason::Short));
        for (fields, leaks) in [
            (&[ALL, ("Cookie", "a=b")][..], true),
            (&[ALL, ("Authorization", "Basic x")], true),
            (&[ALL, ("Cookie", "a=b"), ("Sec-Fetch-Site", "same-origin")], false),
            (&[ALL, ("Cookie", "a=b"), ("Sec-Fetch-Site", "none")], false),
            (&[ALL, ("Sec-Fetch-Site", "cross-site")], true),
            (&[ALL, ("Sec-Fetch-Site", "same-site")], true),
        ] {
            assert_eq!(
                of(&request(fields), &response(200, &[HTML])) == Err(SkipReason::Leaks),
                leaks,
                "{fields:?}"
            );
        }
    }

    #[test]
    fn what_the_client_takes() {
        let all = Compression::default().codings;
        for (text, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("GZIP;q=0.1, br;q=0.2", Some(Coding::Brotli)),
            ("gzip, br, zstd", Some(Coding::Zstd)),
            ("zstd;q=0, *", Some(Coding::Brotli)),
            ("*;q=0", None),
            ("identity", None),
            ("", None),
            ("br;q=2", None),
            ("br;q=0.0001", None),
            ("br; q=0.001", Some(Coding::Brotli)),
        ] {
            assert_eq!(
                preferred_coding(&request(&[("accept-encoding", text)]).fields, &all),
                coding,
                "{text}"
            );
        }
    }

    #[test]
    fn the_head_afterwards() {
        let mut head = response(
            200,
            &[HTML, ("ETag", "\"x\""), ("Content-Length", "100000"), ("Accept-Ranges", "bytes")],
        );
        rewrite(Coding::Gzip, &mut head);
        vary(&mut head);
        vary(&mut head);
        let all: Vec<_> = head.fields.iter().map(|field| format!("{field:?}")).collect();
        assert_eq!(
            all,
            [
                "Content-Type: text/html",
                "ETag: W/\\\"x\\\"",
                "Content-Encoding: gzip",
                "Vary: Accept-Encoding"
            ]
        );
    }

    proptest! {
        #[test]
        fn only_what_was_asked_for(text in "[a-z0-9*;=., ]{0,60}") {
            let lower = text.clone();
            if let Some(coding) = preferred_coding(&request(&[("Accept-Encoding", &text)]).fields, &Compression::default().codings) {
                prop_assert!(lower.contains(coding.name()) || lower.contains('*'));
            }
        }
    }
}
