//! Values that must not be shown, by key and by form.

/// Tells if a key of any section holds a secret.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    let words = ["PASS", "PWD", "SECRET", "TOKEN", "KEY", "CONN_STR", "PROVIDER_CONFIG", "CREDENTIAL", "DSN"];
    words.iter().any(|word| key.contains(word)) && !key.ends_with("_URI") && !key.ends_with("_FILE")
}

/// Tells if a value carries credentials whatever its key: `user:password@` in a URL or a connection string, or
/// `password=`.
#[must_use]
pub fn carries_credentials(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    if ["password=", "passwd=", "pwd=", "secret=", "token="].iter().any(|word| lower.contains(word)) {
        return true;
    }
    value.split([' ', '\t', '\n', ',', '"', '\'']).any(|word| {
        let Some((before, _)) = word.rsplit_once('@') else { return false };
        let user = before.rsplit_once("://").map_or(before, |(_, user)| user);
        // A token alone may stand before the @ of a URL, as may user:password of anything.
        user.contains(':') || before.contains("://")
    })
}

/// Returns a value that may be shown beside its key.
#[must_use]
pub fn shown<'v>(key: &str, value: &'v str) -> Option<&'v str> {
    let misused =
        key.to_ascii_uppercase().ends_with("_URI") && !value.starts_with("file:") && !value.is_empty();
    let hidden = is_secret_key(key) || carries_credentials(value) || misused;
    (!hidden).then_some(value)
}

/// Returns a value that is shown without its key, such as a host; a stand-in for one that carries credentials.
pub(crate) fn visible(value: &str) -> &str {
    if carries_credentials(value) { "(not shown)" } else { value }
}
