//! Ambiguous paths: those that two programs may read differently.

/// Returns whether another program could read this path as a different one (RFC 3986 §6.2.2, RFC 9110 §17.11): dot
/// segments, empty segments, parameters, backslashes, a fragment, and escapes that are unnecessary or that hide a
/// separator.
///
/// Routing never decodes, so such a path could bypass the rule of another prefix. It is refused where access depends on
/// the path, and forwarded unchanged everywhere else.
pub(super) fn is_ambiguous(path: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = path[at..].iter().position(|b| matches!(b, b'%' | b'/' | b';' | b'\\' | b'#')) {
        at += found;
        let rest = &path[at + 1..];
        let ambiguous = match path[at] {
            b'%' => escape_is_ambiguous(rest),
            b'/' => {
                let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
                // An empty segment in the middle; at the end it marks a folder.
                matches!(&rest[..end], b"." | b"..") || (end == 0 && !rest.is_empty())
            }
            _ => true,
        };
        if ambiguous {
            return true;
        }
        at += 1;
    }
    false
}

/// Returns whether the escape whose `%` precedes these bytes is broken, or encodes a control character, a separator, a
/// character that is never escaped, or a `%` that begins another escape.
fn escape_is_ambiguous(rest: &[u8]) -> bool {
    let digit = |i: usize| rest.get(i).and_then(|b| char::from(*b).to_digit(16));
    let (Some(high), Some(low)) = (digit(0), digit(1)) else {
        return true;
    };
    match (high * 16 + low) as u8 {
        b'%' => digit(2).is_some() && digit(3).is_some(),
        b'/' | b'\\' | b';' | b'#' | b'?' | b'.' | b'-' | b'_' | b'~' | 0..=0x1f | 0x7f => true,
        b => b.is_ascii_alphanumeric(),
    }
}

#[cfg(test)]
mod tests {
    use super::is_ambiguous;

    #[test]
    fn s14_forms() {
        for path in [
            "/a%2fb",
            "/a%5Cb",
            "//a",
            "/a//b",
            "/./a",
            "/a/.",
            "/a/..",
            "/a/../b",
            "/a;b",
            "/%2e%2e/a",
            "/a%00",
            "/a%",
            "/a%2",
            "/%zz",
            "/%61dmin",
            "/a\\b",
            "/a%252fb",
            "/a#b",
            "/a//",
            "/%0a",
            "/%3b",
        ] {
            assert!(is_ambiguous(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/..a/b..",
            "/.well-known/x",
            "/a%20b",
            "/%c3%a9",
            "/100%25",
            "*",
            "",
            "/a:b@c",
        ] {
            assert!(!is_ambiguous(path.as_bytes()), "{path}");
        }
    }
}
