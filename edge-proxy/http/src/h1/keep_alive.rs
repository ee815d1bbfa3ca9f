//! The Keep-Alive field of responses, such as `Keep-Alive: timeout=5`: the time for which a server keeps an idle
//! connection open (RFC 2068 §19.7.1.1, as sent by Apache, Node and others).

use crate::grammar::{decimal, list};
use crate::{Fields, Name};
use std::time::Duration;

/// Returns the shortest `timeout` in the Keep-Alive fields of a response, which is in seconds. `None` if there is no
/// valid one.
///
/// ```
/// use edge_http::{Fields, h1};
///
/// let mut fields = Fields::new();
/// assert_eq!(h1::keep_alive_timeout(&fields), None);
/// fields.push(b"Keep-Alive", b"timeout=5, max=100");
/// assert_eq!(h1::keep_alive_timeout(&fields), Some(std::time::Duration::from_secs(5)));
/// ```
pub fn keep_alive_timeout(fields: &Fields) -> Option<Duration> {
    let parameters = fields.all(Name::KeepAlive).flat_map(list);
    let timeouts = parameters.filter_map(|parameter| {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (parameter[..equals].trim_ascii(), parameter[equals + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(b"timeout").then(|| decimal(value)).flatten()
    });
    timeouts.min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_services_say() {
        let timeout =
            |value: &str| keep_alive_timeout(&[(&b"keep-alive"[..], value.as_bytes())].into_iter().collect());
        assert_eq!(timeout("timeout=5"), Some(Duration::from_secs(5)));
        assert_eq!(timeout("max=3, Timeout = \"15\""), Some(Duration::from_secs(15)));
        assert_eq!(timeout("timeout=0"), Some(Duration::ZERO));
        for nothing in ["", "115", "timeout", "timeout=", "timeout=-1", "timeout=1.5"] {
            assert_eq!(timeout(nothing), None, "{nothing}");
        }
    }
}
