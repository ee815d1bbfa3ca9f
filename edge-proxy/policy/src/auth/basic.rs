//! Basic authentication (RFC 7617): the credentials of a request, and the password file.

use edge_http::Fields;
use std::fmt;

/// The greatest length of the credentials that are decoded, in bytes of Base64. Browsers send far less.
const MAX_CREDENTIALS_LEN: usize = 1024;

/// The user name and password of a request. Its `Debug` output omits the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name, in UTF-8 and without control characters.
    pub user: String,
    /// The password as bytes, without control characters. RFC 7617 leaves the encoding open; browsers send UTF-8.
    pub password: Vec<u8>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Returns the credentials of a request. `None` unless it has exactly one Authorization field, with the scheme Basic
/// and valid Base64 of at most 1024 bytes, whose content has a colon, a user name in UTF-8, and no control characters.
///
/// ```
/// use edge_http::Fields;
/// use edge_policy::auth::basic::credentials;
///
/// let mut fields = Fields::new();
/// fields.push(b"Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
/// let found = credentials(&fields).unwrap();
/// assert_eq!((found.user.as_str(), &found.password[..]), ("Aladdin", &b"open sesame"[..]));
/// ```
pub fn credentials(fields: &Fields) -> Option<Credentials> {
    let mut all = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"authorization"));
    let (field, None) = (all.next()?, all.next()) else { return None };
    let (scheme, encoded) = field.value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > MAX_CREDENTIALS_LEN {
        return None;
    }
    let decoded = base64(encoded.trim_ascii())?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
    let password = decoded[colon + 1..].to_vec();
    let control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    (!user.bytes().any(|byte| control(&byte)) && !password.iter().any(control))
        .then_some(Credentials { user, password })
}

/// Decodes Base64 with padding (RFC 4648 §4). `None` if it is empty or malformed, contains whitespace, or its unused
/// bits are not zero.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in &text[..text.len() - padding] {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// An entry of a password file. Its `Debug` output omits the hash.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The user name, not empty and without a colon.
    pub name: String,
    /// The password hash: Argon2 in PHC format (`$argon2id$…`, `$argon2i$…`) or bcrypt (`$2y$…`, `$2b$…`, `$2a$…`).
    pub hash: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The error in one line of a password file. It never contains the hash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct UsersError {
    /// The line number, counted from 1.
    pub line: usize,
    /// The problem and how to fix it.
    pub why: &'static str,
}

/// Parses a password file: one `name:hash` per line, as written by `htpasswd -B` and `argon2`. Blank lines and lines
/// that begin with `#` are skipped, and whitespace around a line is ignored. Of a hash, only the prefix and, for
/// bcrypt, the length are checked.
///
/// # Errors
/// [`UsersError`] for the first invalid line: no colon, an empty or duplicate name, or an unsupported hash.
pub fn users(text: &str) -> Result<Vec<User>, UsersError> {
    let mut users: Vec<User> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why| Err(UsersError { line: at + 1, why });
        let Some((name, hash)) = line.split_once(':') else {
            return wrong("not a valid entry: expected name:hash, as `htpasswd -nB name` prints it");
        };
        if name.is_empty() {
            return wrong("no user name before the colon");
        }
        if users.iter().any(|user| user.name == name) {
            return wrong("duplicate user: remove one of the two lines");
        }
        let bcrypt = ["$2y$", "$2b$", "$2a$"].iter().any(|begin| hash.starts_with(begin)) && hash.len() == 60;
        let argon2 = ["$argon2id$", "$argon2i$"].iter().any(|begin| hash.starts_with(begin));
        if !bcrypt && !argon2 {
            return wrong(
                "unsupported hash: expected bcrypt or argon2, since other schemes are too fast to resist guessing; use `htpasswd -nB name`",
            );
        }
        users.push(User { name: name.to_owned(), hash: hash.to_owned() });
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(value: &[u8]) -> Option<Credentials> {
        let mut fields = Fields::new();
        fields.push(b"Authorization", value);
        credentials(&fields)
    }

    #[test]
    fn what_is_no_basic_authentication() {
        for value in [
            &b"Bearer abc"[..],
            b"Basic",
            b"Basic ",
            b"Basic QQ",
            b"Basic QQ==",
            b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
            b"Basic Q!==",
            b"Basic ====",
            b"Basic QR==",
            b"Basic YQE6Yg==",
        ] {
            assert_eq!(of(value), None, "{}", value.escape_ascii());
        }
        let mut twice = Fields::new();
        twice.push(b"Authorization", b"Basic YTpi");
        twice.push(b"Authorization", b"Basic YTpi");
        assert_eq!(credentials(&twice), None);
        assert_eq!(of(b"bASIC YTpi").unwrap().user, "a");
        assert!(!format!("{:?}", of(b"Basic YTpzZWNyZXQ=").unwrap()).contains("secret"));
    }

    #[test]
    fn files_of_users() {
        let bcrypt = format!("$2y$10${}", "a".repeat(53));
        let text = format!("# people\n\nann:{bcrypt}\nbob:$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\n");
        let names: Vec<_> = users(&text).unwrap().into_iter().map(|user| user.name).collect();
        assert_eq!(names, ["ann", "bob"]);
        for (text, line, word) in [
            ("ann", 1, "name:hash"),
            (":x", 1, "no user name"),
            ("\nann:{SHA}x", 2, "too fast"),
            ("ann:$apr1$a$b", 1, "too fast"),
            (&format!("ann:{bcrypt}\nann:{bcrypt}"), 2, "duplicate user"),
        ] {
            let why = users(text).unwrap_err();
            assert_eq!(why.line, line);
            assert!(why.to_string().contains(word), "{why}");
            assert!(!why.to_string().contains("$2y$10$aaa"));
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(user in "[^:\\x00-\\x1f\\x7f]{0,20}", password in "[^\\x00-\\x1f\\x7f]{0,40}") {
            let joined = format!("{user}:{password}");
            let encoded = encode(joined.as_bytes());
            let found = of(format!("Basic {encoded}").as_bytes()).unwrap();
            prop_assert_eq!(found.user, user);
            prop_assert_eq!(found.password, password.into_bytes());
        }

        #[test]
        fn any_value_is_survived(value in "[ -~]{0,60}") {
            let _ = of(value.as_bytes());
        }
    }

    fn encode(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for part in bytes.chunks(3) {
            let mut three = [0; 3];
            three[..part.len()].copy_from_slice(part);
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
                text.push(if at <= part.len() { digit as char } else { '=' });
            }
        }
        text
    }
}
