//! Redaction of values that must not be displayed, by key and by form.

use std::net::Ipv6Addr;

/// Returns `true` if the name of a key, in any case, contains PASS, PWD, SECRET, TOKEN, KEY, CONN_STR, PROVIDER_CONFIG,
/// CREDENTIAL or DSN, so that its value is a secret. Keys that end in `_URI` or `_FILE` do not count.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    let words = ["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CONN_STR", "PROVIDER_CONFIG", "CREDENTIAL", "DSN"];
    words.iter().any(|word| key.contains(word)) && !key.ends_with("_URI") && !key.ends_with("_FILE")
}

/// Returns `true` if a value contains credentials, whatever its key: `user:password@` in a URL or connection string, a
/// user or token in a URL, or one of `password=`, `passwd=`, `pwd=`, `secret=` and `token=` in any case.
#[must_use]
pub fn carries_credentials(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    if ["password=", "passwd=", "pwd=", "secret=", "token="].iter().any(|word| lower.contains(word)) {
        return true;
    }
    value.split([' ', '\t', '\n', ',', '"', '\'']).any(|word| {
        let Some((before, _)) = word.rsplit_once('@') else { return false };
        let user = before.rsplit_once("://").map_or(before, |(_, user)| user);
        // A URL may have a token alone before the `@`, any other text `user:password`.
        without_addresses(user).contains(':') || before.contains("://")
    })
}

/// Removes bracketed IPv6 addresses from a text, since their colons do not separate user and password.
fn without_addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        rest = after;
        match after.split_once(']') {
            Some((inner, end)) if inner.trim_start_matches("IPv6:").parse::<Ipv6Addr>().is_ok() => rest = end,
            _ => out.push('['),
        }
    }
    out + rest
}

/// Returns the value if it may be displayed next to its key. `None` if the key is that of a secret ([`is_secret_key`]),
/// the value contains credentials ([`carries_credentials`]), or a key that ends in `_URI` has a value that does not
/// begin with `file:`, since it may be the password itself.
#[must_use]
pub fn visible_value<'v>(key: &str, value: &'v str) -> Option<&'v str> {
    let misused =
        key.to_ascii_uppercase().ends_with("_URI") && !value.starts_with("file:") && !value.is_empty();
    let hidden = is_secret_key(key) || carries_credentials(value) || misused;
    (!hidden).then_some(value)
}

/// Returns a value for display without its key, or `(not shown)` if it contains credentials.
pub(crate) fn visible(value: &str) -> &str {
    if carries_credentials(value) { "(not shown)" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_from_addresses() {
        for hidden in [
            "smtps://forge:pw@mail",
            "root:pw@/session",
            "root:pw@[::1]:25",
            "https://token@host",
            "host password=x",
            "root:[pw]@host",
            "[root:pw]@host",
            "[root:pw@[::1]",
        ] {
            assert!(carries_credentials(hidden), "{hidden}");
        }
        for shown in [
            "Forge <a@b>",
            "a@[::1]",
            "Forge <a@[::1]@b>",
            "a@[IPv6:2001:db8::1]@b",
            "mail:25",
            "[::1]:25",
            "smtp://mail:465",
        ] {
            assert!(!carries_credentials(shown), "{shown}");
        }
    }
}
