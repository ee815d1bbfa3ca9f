//! The rewriting of field values and cookies by the rules of a site or a route.

use crate::config::{CookieRules, PrefixRule};
use edge_http::Fields;

/// Returns the value with its prefix replaced by the rule with the longest matching prefix. Prefixes are compared
/// exactly. `None` if no rule matches.
fn replace_longest_prefix(value: &[u8], rules: &[PrefixRule]) -> Option<Vec<u8>> {
    let matching = rules.iter().filter(|rule| value.starts_with(rule.from.as_bytes()));
    let rule = matching.max_by_key(|rule| rule.from.len())?;
    Some([rule.to.as_bytes(), &value[rule.from.len()..]].concat())
}

/// Replaces the prefix of each value of the field `name` by the rule with the longest matching prefix. Values without
/// one are retained.
pub(super) fn replace(name: &str, rules: &[PrefixRule], fields: &mut Fields) {
    map_values(fields, name.as_bytes(), |value| replace_longest_prefix(value, rules));
}

/// Rewrites Path and Domain of the Set-Cookie fields of a response. No effect without rules.
pub(super) fn cookies(rules: &CookieRules, fields: &mut Fields) {
    if !rules.is_empty() {
        map_values(fields, b"set-cookie", |value| rewrite_cookie(value, rules));
    }
}

/// Replaces each value of the field `name` by the result of `change`; a value for which that is `None` is retained.
/// The order of the fields of this name is preserved, but they move behind all others. Nothing is done if no value
/// changes.
fn map_values(fields: &mut Fields, name: &[u8], change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let own = |field: &edge_http::Field<'_>| field.name.eq_ignore_ascii_case(name);
    if !fields.iter().any(|field| own(&field) && change(field.value).is_some()) {
        return;
    }
    let values: Vec<(Vec<u8>, Vec<u8>)> = fields
        .iter()
        .filter(own)
        .map(|field| (field.name.to_vec(), change(field.value).unwrap_or_else(|| field.value.to_vec())))
        .collect();
    fields.remove_named(name);
    for (name, value) in values {
        fields.push(&name, &value);
    }
}

/// Returns a Set-Cookie value with its Path and Domain rewritten; an attribute whose replacement is empty is removed.
/// `None` if no rule matches.
fn rewrite_cookie(value: &[u8], rules: &CookieRules) -> Option<Vec<u8>> {
    let mut parts = value.split(|byte| *byte == b';');
    let mut written = parts.next().unwrap_or_default().to_vec();
    let mut changed = false;
    for part in parts {
        let (name, text) = attribute(part);
        let other = if name.eq_ignore_ascii_case(b"path") {
            replace_longest_prefix(text, &rules.path)
        } else if name.eq_ignore_ascii_case(b"domain") {
            rewrite_domain(text, &rules.domain)
        } else {
            None
        };
        match other {
            Some(text) if text.is_empty() => changed = true,
            Some(text) => {
                changed = true;
                written.extend_from_slice(b"; ");
                written.extend_from_slice(name);
                written.push(b'=');
                written.extend_from_slice(&text);
            }
            None => {
                written.push(b';');
                written.extend_from_slice(part);
            }
        }
    }
    changed.then_some(written)
}

/// Returns the name and value of a cookie's attribute, without surrounding whitespace. The value is empty without `=`.
fn attribute(part: &[u8]) -> (&[u8], &[u8]) {
    let at = part.iter().position(|byte| *byte == b'=');
    let (name, value) = at.map_or((part, &b""[..]), |at| (&part[..at], &part[at + 1..]));
    (name.trim_ascii(), value.trim_ascii())
}

/// Returns the replacement of the first rule for this whole domain, compared without a leading dot and without regard
/// to letter case. `None` if no rule matches.
fn rewrite_domain(value: &[u8], rules: &[PrefixRule]) -> Option<Vec<u8>> {
    let bare = |name: &[u8]| name.strip_prefix(b".").unwrap_or(name).to_ascii_lowercase();
    let rule = rules.iter().find(|rule| bare(rule.from.as_bytes()) == bare(value))?;
    Some(rule.to.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(from: &str, to: &str) -> PrefixRule {
        PrefixRule::new(from, to)
    }

    #[test]
    fn cookies_of_a_service_below_a_prefix() {
        let rules = CookieRules {
            path: vec![rule("/", "/app/"), rule("/deep", "/app/x")],
            domain: vec![rule("app.local", "example.org"), rule("gone.local", "")],
        };
        for (set, wanted) in [
            ("a=1; Path=/; HttpOnly", "a=1; Path=/app/; HttpOnly"),
            ("a=1; path=/deep/b", "a=1; path=/app/x/b"),
            ("a=1;Domain=.APP.local;Secure", "a=1; Domain=example.org;Secure"),
            ("a=1; Domain=gone.local; Path=/x", "a=1; Path=/app/x"),
            ("a=1; Domain=other.local", "a=1; Domain=other.local"),
            ("path=/; Secure", "path=/; Secure"),
            ("a=1; Path", "a=1; Path"),
            ("a=1", "a=1"),
        ] {
            let mut fields: Fields = [(&b"Set-Cookie"[..], set.as_bytes())].into_iter().collect();
            cookies(&rules, &mut fields);
            let got = String::from_utf8_lossy(fields.get_named(b"set-cookie").unwrap()).into_owned();
            assert_eq!(got, wanted, "{set}");
        }
    }

    #[test]
    fn the_longest_beginning_is_replaced() {
        let rules = [rule("http://app/", "/app/"), rule("http://app/old/", "/new/")];
        let mut fields: Fields =
            [(&b"Location"[..], &b"http://app/old/x"[..]), (b"X", b"http://app/old/x")].into_iter().collect();
        replace("location", &rules, &mut fields);
        assert_eq!(fields.get_named(b"location"), Some(&b"/new/x"[..]));
        assert_eq!(fields.get_named(b"x"), Some(&b"http://app/old/x"[..]));
    }

    proptest! {
        /// A cookie keeps its name, its value and every attribute that no rule is for.
        #[test]
        fn cookies_keep_what_no_rule_is_for(value in "[ -~]{0,60}") {
            let rules = CookieRules { path: vec![rule("/", "/app/")], domain: vec![rule("a", "b")] };
            let written = rewrite_cookie(value.as_bytes(), &rules).unwrap_or_else(|| value.clone().into_bytes());
            let first = |text: &[u8]| text.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
            prop_assert_eq!(first(&written), first(value.as_bytes()));
            let count = |text: &[u8]| text.iter().filter(|byte| **byte == b';').count();
            prop_assert_eq!(count(&written), count(value.as_bytes()));
        }
    }
}
