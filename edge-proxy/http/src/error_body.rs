//! The content of error responses that the proxy generates: the status and its phrase, in the media type that the
//! client prefers.

use crate::Fields;
use crate::grammar::{list, trim};
use crate::h1::reason_phrase;

/// A media type that error responses are available in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MediaType {
    /// HTML, `text/html`.
    Html,
    /// JSON, `application/json`.
    Json,
    /// A problem document (RFC 9457), `application/problem+json`.
    Problem,
    /// Plain text, `text/plain`.
    Text,
}

/// The available media types with their names, in the order of preference among those that the client prefers equally.
const MEDIA_TYPES: [(MediaType, &[u8]); 4] = [
    (MediaType::Text, b"text/plain"),
    (MediaType::Html, b"text/html"),
    (MediaType::Json, b"application/json"),
    (MediaType::Problem, b"application/problem+json"),
];

/// Returns the media type and the content of a generated error response with this status. The content is the status and
/// its reason phrase, or `Error` for a status without one, and does not identify the product. Its form is chosen by
/// Accept in the fields of the request (RFC 9110 §12.5.1): text, HTML, JSON or a problem document (RFC 9457). It is
/// text without Accept, and if none of these is acceptable.
///
/// ```
/// use edge_http::{Fields, error_body};
///
/// let mut fields = Fields::new();
/// assert_eq!(error_body::of(413, &fields), ("text/plain; charset=utf-8", "413 Content Too Large\n".into()));
/// fields.push(b"Accept", b"application/json, text/plain;q=0.5");
/// let json = "{\"status\":413,\"title\":\"Content Too Large\"}\n";
/// assert_eq!(error_body::of(413, &fields), ("application/json", json.into()));
/// ```
pub fn of(status: u16, request: &Fields) -> (&'static str, String) {
    let phrase = match reason_phrase(status) {
        "" => "Error",
        phrase => phrase,
    };
    let json = || format!("{{\"status\":{status},\"title\":\"{phrase}\"}}\n");
    match preferred_media_type(request) {
        MediaType::Html => (
            "text/html; charset=utf-8",
            format!(
                "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{status} {phrase}</title><h1>{status} {phrase}</h1></html>\n"
            ),
        ),
        MediaType::Json => ("application/json", json()),
        MediaType::Problem => ("application/problem+json", json()),
        MediaType::Text => ("text/plain; charset=utf-8", format!("{status} {phrase}\n")),
    }
}

/// Returns the media type with the highest weight by the request's Accept fields. Text if none is acceptable, or there
/// is no Accept.
fn preferred_media_type(request: &Fields) -> MediaType {
    let mut best = (0, MediaType::Text);
    for (form, media) in MEDIA_TYPES {
        let weight = weight(request, media);
        if weight > best.0 {
            best = (weight, form);
        }
    }
    best.1
}

/// Returns the weight of a media type in thousandths, by the most specific range in Accept that matches it; the last
/// one counts among equally specific ranges. 1000 is added for a type that is named, so that it precedes those that
/// only a wildcard covers, since browsers accept everything and expect a page. 0 if no range matches, or its weight is
/// 0.
fn weight(request: &Fields, media: &[u8]) -> u32 {
    let mut found: Option<(u8, u32)> = None;
    for line in values(request) {
        for item in list(line) {
            let mut parts = item.split(|byte| *byte == b';').map(trim);
            let range = parts.next().unwrap_or_default();
            let specific = specificity(range, media);
            let weight = parts.find_map(quality).unwrap_or(1000);
            if let Some(specific) = specific
                && found.is_none_or(|(known, _)| specific >= known)
            {
                found = Some((specific, weight));
            }
        }
    }
    match found {
        Some((_, 0)) | None => 0,
        // A named type precedes any type that a range covers.
        Some((2, weight)) => weight + 1000,
        Some((_, weight)) => weight,
    }
}

/// Iterates over the values of the Accept fields, each of which is a list.
fn values(request: &Fields) -> impl Iterator<Item = &[u8]> {
    request.iter().filter(|field| field.name.eq_ignore_ascii_case(b"accept")).map(|field| field.value)
}

/// Returns the specificity of a media range for a type: 2 if it is that type, 1 for `type/*`, 0 for `*/*`. `None` if it
/// does not match.
fn specificity(range: &[u8], media: &[u8]) -> Option<u8> {
    if range.eq_ignore_ascii_case(media) {
        return Some(2);
    }
    match range.strip_suffix(b"/*") {
        Some(b"*") => Some(0),
        Some(kind) => media
            .split(|byte| *byte == b'/')
            .next()
            .is_some_and(|own| own.eq_ignore_ascii_case(kind))
            .then_some(1),
        None => None,
    }
}

/// Parses a weight such as `q=0.5` into thousandths (RFC 9110 §12.4.2). 0 if the value is malformed or out of range.
/// `None` for any other parameter.
fn quality(parameter: &[u8]) -> Option<u32> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let text = std::str::from_utf8(value).ok()?;
    let weight = text.parse::<f32>().unwrap_or(0.0);
    Some(if (0.0..=1.0).contains(&weight) { (weight * 1000.0) as u32 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chosen(accept: &str) -> &'static str {
        let fields: Fields = [(&b"accept"[..], accept.as_bytes())].into_iter().collect();
        of(404, &fields).0
    }

    #[test]
    fn what_clients_ask_for() {
        for (accept, media) in [
            ("*/*", "text/plain; charset=utf-8"),
            ("", "text/plain; charset=utf-8"),
            ("image/avif,image/webp", "text/plain; charset=utf-8"),
            // Browsers, npm, git, Docker.
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*", "application/json"),
            ("application/x-git-receive-pack-result", "text/plain; charset=utf-8"),
            ("application/problem+json", "application/problem+json"),
            ("text/html;q=0, */*;q=0.1", "text/plain; charset=utf-8"),
            ("text/*;q=0.5, application/json;q=0.4", "application/json"),
            ("text/*;q=0.5, application/*;q=0.4", "text/plain; charset=utf-8"),
            ("TEXT/HTML", "text/html; charset=utf-8"),
        ] {
            assert_eq!(chosen(accept), media, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_wish_gets_an_answer(accept: Vec<u8>, status in 400_u16..600) {
            let fields: Fields = [(&b"accept"[..], &accept[..])].into_iter().collect();
            let (_, content) = of(status, &fields);
            prop_assert!(content.contains(&status.to_string()) && content.ends_with('\n'));
        }
    }
}
