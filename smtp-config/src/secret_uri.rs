//! `PASSWD_URI` and `PASSWORD_URI`: the file that Forgejo reads for a `file:` URI.

use thiserror::Error;

/// Error of a `PASSWD_URI` or `PASSWORD_URI` that stops Forgejo from starting. Displayed as in its log.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretUriError {
    /// The text is not valid for Go's `url.Parse`.
    #[error("Failed to parse")]
    Syntax,
    /// The scheme is missing, or is not `file`.
    #[error("Unsupported URI-Scheme")]
    Scheme,
}

/// Returns the path that Forgejo opens, the result of Go's `url.Parse(uri).RequestURI()`. Percent-encoding and query
/// are kept, the host is dropped. For `file:name` the path is relative to the working directory.
///
/// # Errors
/// Returns the reason why Forgejo does not start.
pub fn secret_path(uri: &str) -> Result<String, SecretUriError> {
    if uri.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(SecretUriError::Syntax);
    }
    let (main, fragment) = uri.split_once('#').map_or((uri, ""), |(main, fragment)| (main, fragment));
    if unescape(fragment).is_none() {
        return Err(SecretUriError::Syntax);
    }
    let rest = match scheme(main) {
        Some(("", _)) => return Err(SecretUriError::Syntax),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => rest,
        Some((_, rest)) => {
            // A URI of another scheme may also be malformed, which Go detects first.
            return Err(if parts(rest).is_some() { SecretUriError::Scheme } else { SecretUriError::Syntax });
        }
        None => {
            let path = main.split('?').next().unwrap_or_default();
            let first = path.split('/').next().unwrap_or_default();
            let host = path.strip_prefix("//").filter(|rest| !rest.starts_with('/'));
            let malformed = first.contains(':')
                || host.is_some_and(|rest| !is_authority(rest.split('/').next().unwrap_or_default()));
            return Err(if malformed || unescape(path).is_none() {
                SecretUriError::Syntax
            } else {
                SecretUriError::Scheme
            });
        }
    };
    parts(rest).ok_or(SecretUriError::Syntax)
}

/// Splits `scheme:rest`. Returns `None` without a scheme, and an empty scheme if the text begins with a colon.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' => return Some((&text[..at], &text[at + 1..])),
            _ => return None,
        }
    }
    None
}

/// Returns the request URI of `rest`, the part of a URI after its scheme, as Go's `net/url` composes it. `None` if the
/// authority or the percent-encoding is not valid.
fn parts(rest: &str) -> Option<String> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (rest, String::new()),
    };
    if !path.starts_with('/') {
        let path = if path.is_empty() { "/" } else { path };
        return Some(format!("{path}{query}"));
    }
    let path = match path.strip_prefix("//") {
        Some(authority) => {
            let end = authority.find('/').unwrap_or(authority.len());
            if !is_authority(&authority[..end]) {
                return None;
            }
            &authority[end..]
        }
        None => path,
    };
    let plain = unescape(path)?;
    let path = if is_encoded(path) { path.to_owned() } else { escape_path(&plain) };
    let path = if path.is_empty() { "/".to_owned() } else { path };
    Some(format!("{path}{query}"))
}

/// Returns `true` if Go accepts the text as a host with optional user and port. Brackets, which Go accepts around an
/// IPv6 address, are rejected.
fn is_authority(text: &str) -> bool {
    let (user, place) = text.rsplit_once('@').unwrap_or(("", text));
    let in_user = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !user.bytes().all(in_user) || unescape(user).is_none() {
        return false;
    }
    let (host, port) = place.split_once(':').unwrap_or((place, ""));
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=<>\"%".contains(&byte) || byte >= 0x80;
    host.bytes().all(fits) && escapes_in_host(host) && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns `true` if Go accepts each percent-encoded byte in a host: bytes from 0x80 and the percent sign.
fn escapes_in_host(host: &str) -> bool {
    host.split('%').skip(1).all(|rest| {
        let escape = rest.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        escape.is_some_and(|digits| digits == "25" || digits.as_bytes()[0] > b'7')
    })
}

/// Decodes percent-encoding. Returns `None` if it is malformed.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let value = digit(bytes.next())? << 4 | digit(bytes.next())?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// Returns `true` if Go keeps the path as written, since it contains only permitted characters.
fn is_encoded(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@[]%/".contains(&byte))
}

/// Percent-encodes a path as Go's `net/url` does: all bytes other than ASCII letters, digits and `-_.~$&+,/:;=@`.
fn escape_path(path: &[u8]) -> String {
    let mut out = String::new();
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
