//! The cookie that binds a client to its target.

use crate::config::StickyCookie;
use edge_http::Fields;

/// Removes the cookie of this name from a request, and returns the target identity in it. `None` if the cookie is
/// missing or malformed; a malformed one is removed as well.
pub fn take(name: &str, fields: &mut Fields) -> Option<u64> {
    let mut found = None;
    let mut rest: Vec<Vec<u8>> = Vec::new();
    let mut changed = false;
    for field in fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"cookie")) {
        let (mine, others): (Vec<&[u8]>, Vec<&[u8]>) =
            field.value.split(|byte| *byte == b';').partition(|pair| value(pair, name).is_some());
        changed |= !mine.is_empty();
        found = found.or_else(|| mine.iter().find_map(|pair| parse_identity(value(pair, name)?)));
        let others: Vec<&[u8]> = others.into_iter().map(<[u8]>::trim_ascii).collect();
        if others.iter().any(|pair| !pair.is_empty()) {
            rest.push(others.join(&b"; "[..]));
        }
    }
    if changed {
        fields.remove_named(b"cookie");
        rest.iter().for_each(|value| fields.push(b"Cookie", value));
    }
    found
}

/// Returns the value in a cookie pair `NAME=VALUE` if it has this name. `None` otherwise.
fn value<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Parses the identity of a target. `None` unless it is exactly 16 hexadecimal digits.
fn parse_identity(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() == 16)?;
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(text, 16).ok())?
}

/// Returns the Set-Cookie value that binds a client to the target with this identity: `Path=/`, HttpOnly, SameSite=Lax,
/// Max-Age if the cookie has a lifetime, and Secure if `secure` is true.
pub fn set(cookie: &StickyCookie, identity: u64, secure: bool) -> String {
    let mut value = format!("{}={identity:016x}; Path=/; HttpOnly; SameSite=Lax", cookie.name);
    if let Some(lifetime) = cookie.lifetime {
        value.push_str(&format!("; Max-Age={}", lifetime.as_secs()));
    }
    if secure {
        value.push_str("; Secure");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn taken(values: &[&str]) -> (Option<u64>, Vec<String>) {
        let mut fields: Fields = values.iter().map(|value| (&b"cookie"[..], value.as_bytes())).collect();
        let found = take("at", &mut fields);
        let left = fields.iter().map(|field| String::from_utf8_lossy(field.value).into_owned());
        (found, left.collect())
    }

    #[test]
    fn the_cookie_is_read_and_taken_out() {
        let id = "00000000000000ff";
        assert_eq!(taken(&[&format!("a=b; at={id}; c=d")]), (Some(255), vec!["a=b; c=d".into()]));
        assert_eq!(taken(&["a=b", &format!("at={id}")]), (Some(255), vec!["a=b".into()]));
        assert_eq!(taken(&["a=b;c=d"]), (None, vec!["a=b;c=d".into()]));
        assert_eq!(taken(&["at=x; cat=1"]), (None, vec!["cat=1".into()]));
        assert_eq!(taken(&["at=+0000000000000ff"]), (None, vec![]));
        let cookie = StickyCookie::new("at");
        assert_eq!(set(&cookie, 255, true), "at=00000000000000ff; Path=/; HttpOnly; SameSite=Lax; Secure");
        let lasting = StickyCookie { lifetime: Some(Duration::from_secs(60)), ..cookie };
        assert_eq!(
            set(&lasting, 255, false),
            "at=00000000000000ff; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"
        );
        assert_eq!(taken(&[set(&lasting, 7, true).split(';').next().unwrap()]), (Some(7), vec![]));
    }
}
