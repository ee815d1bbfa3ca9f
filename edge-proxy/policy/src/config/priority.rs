//! Default urgencies of responses by their media type (RFC 9218).

use super::Config;
use edge_http::Fields;
use edge_http::grammar::is_token;
use std::fmt;
use std::str::FromStr;

/// A range of media types, in lower case. The order is that of precedence: the most specific ranges are the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaRange {
    /// A single media type, such as `text/css`.
    Exact(String),
    /// All subtypes of a type, such as `image` for `image/*`.
    Type(String),
    /// Every response, also without a media type: `*/*`.
    Any,
}

impl MediaRange {
    /// Returns whether the range contains this media type, which must be without parameters. Letter case does not
    /// matter.
    fn contains(&self, media_type: &[u8]) -> bool {
        match self {
            Self::Exact(name) => media_type.eq_ignore_ascii_case(name.as_bytes()),
            Self::Type(name) => media_type.split_at_checked(name.len()).is_some_and(|(kind, rest)| {
                rest.starts_with(b"/") && kind.eq_ignore_ascii_case(name.as_bytes())
            }),
            Self::Any => true,
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Type(name) => write!(f, "{name}/*"),
            Self::Any => f.write_str("*/*"),
        }
    }
}

/// The error for text that is not a range of media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMediaRange {
    /// The text has none of the forms `type/subtype`, `type/*` and `*/*`.
    #[error("not a valid media type: expected one such as text/css, image/* or */*")]
    Syntax,
    /// The range has a parameter, such as `charset`, which is not compared.
    #[error("has a parameter, which is not compared: write the media type alone")]
    Parameter,
}

impl FromStr for MediaRange {
    type Err = InvalidMediaRange;

    fn from_str(text: &str) -> Result<Self, InvalidMediaRange> {
        if text.contains(';') {
            return Err(InvalidMediaRange::Parameter);
        }
        // `*` is a character of tokens, but no part of a media type's name.
        let is_name = |part: &str| is_token(part.as_bytes()) && !part.contains('*');
        match text.split_once('/') {
            Some(("*", "*")) => Ok(Self::Any),
            Some((kind, "*")) if is_name(kind) => Ok(Self::Type(kind.to_ascii_lowercase())),
            Some((kind, subtype)) if is_name(kind) && is_name(subtype) => {
                Ok(Self::Exact(text.to_ascii_lowercase()))
            }
            _ => Err(InvalidMediaRange::Syntax),
        }
    }
}

impl Config {
    /// Returns the urgency that [`Config::priority`] gives to a response with these fields: that of the most specific
    /// range that contains its media type. A response without a media type is in `*/*` only. `None` if no range
    /// contains it.
    pub fn urgency(&self, response: &Fields) -> Option<u8> {
        if self.priority.is_empty() {
            return None;
        }
        let value = response.get_named(b"content-type").unwrap_or_default();
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        self.priority.iter().find(|(range, _)| range.contains(media_type)).map(|(_, urgency)| *urgency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for (text, written) in [
            ("text/css", "text/css"),
            ("Image/*", "image/*"),
            ("*/*", "*/*"),
            ("application/vnd.API+json", "application/vnd.api+json"),
        ] {
            assert_eq!(text.parse::<MediaRange>().map(|range| range.to_string()).as_deref(), Ok(written));
        }
        for text in [
            "",
            "css",
            "text/",
            "/css",
            "*/css",
            "*",
            "te*/css",
            "text/*ss",
            "a b/c",
            "text/css/x",
            "text/css ",
        ] {
            assert_eq!(text.parse::<MediaRange>(), Err(InvalidMediaRange::Syntax), "{text}");
        }
        assert_eq!("text/html; charset=utf-8".parse::<MediaRange>(), Err(InvalidMediaRange::Parameter));
    }

    #[test]
    fn the_most_specific_range_counts() {
        let rules = [("*/*", 6), ("image/*", 5), ("IMAGE/svg+xml", 1), ("text/css", 2)];
        let priority = rules.iter().map(|(range, urgency)| (range.parse().unwrap(), *urgency)).collect();
        let config = Config { priority, ..Config::default() };
        let urgency = |config: &Config, media_type: Option<&str>| {
            let mut fields = Fields::new();
            media_type.into_iter().for_each(|value| fields.push(b"Content-Type", value.as_bytes()));
            config.urgency(&fields)
        };
        for (media_type, expected) in [
            ("image/svg+xml", 1),
            ("Image/PNG", 5),
            ("image/", 5),
            ("image", 6),
            ("images/png", 6),
            ("text/css ; charset=utf-8", 2),
            (" TEXT/CSS;x", 2),
            ("text/html", 6),
            ("", 6),
        ] {
            assert_eq!(urgency(&config, Some(media_type)), Some(expected), "{media_type}");
        }
        assert_eq!(urgency(&config, None), Some(6));
        let mut config = config;
        config.priority.remove(&MediaRange::Any);
        assert_eq!((urgency(&config, None), urgency(&config, Some("text/html"))), (None, None));
        assert_eq!(urgency(&Config::default(), Some("text/css")), None);
    }
}
