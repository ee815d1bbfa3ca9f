//! The cookie that binds a client to its targets.

use super::hash;
use crate::config::StickyCookie;
use edge_http::Fields;

/// The highest number of upstreams for which one cookie binds the client. Beyond it, the least recent binding is
/// removed.
const MAX_BINDINGS: usize = 8;

/// The targets that a client is bound to by one cookie, at most one for each upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// The bindings: pairs of the key of an upstream and the identity of a target, the most recent first.
    entries: Vec<(u32, u64)>,
}

impl Bindings {
    /// Returns the identity of the target that the client is bound to at the upstream of this name. `None` if the
    /// client is not bound.
    pub fn target_of(&self, upstream: &str) -> Option<u64> {
        let key = key(upstream);
        self.entries.iter().find(|(known, _)| *known == key).map(|(_, identity)| *identity)
    }

    /// Binds the client to the target with this identity at the upstream of this name, in place of an earlier binding
    /// there. Beyond 8 upstreams, the least recent binding is removed.
    pub fn bind(&mut self, upstream: &str, identity: u64) {
        let key = key(upstream);
        self.entries.retain(|(known, _)| *known != key);
        self.entries.insert(0, (key, identity));
        self.entries.truncate(MAX_BINDINGS);
    }

    /// Adds the bindings in a cookie's value for upstreams that have none yet, up to [`MAX_BINDINGS`] in total.
    /// Malformed ones are ignored.
    fn read(&mut self, value: &[u8]) {
        for entry in value.split(|byte| *byte == b'.').take(MAX_BINDINGS) {
            if let Some((key, identity)) = parse_entry(entry)
                && self.entries.len() < MAX_BINDINGS
                && !self.entries.iter().any(|(known, _)| *known == key)
            {
                self.entries.push((key, identity));
            }
        }
    }
}

/// Removes all cookies of this name from a request and returns their bindings. Empty if there is no such cookie or all
/// are malformed. The other cookies remain.
pub fn take(name: &str, fields: &mut Fields) -> Bindings {
    let mut found = Bindings::default();
    let mut rest: Vec<Vec<u8>> = Vec::new();
    let mut changed = false;
    for field in fields.iter().filter(|field| field.name.eq_ignore_ascii_case(b"cookie")) {
        let (mine, others): (Vec<&[u8]>, Vec<&[u8]>) =
            field.value.split(|byte| *byte == b';').partition(|pair| value(pair, name).is_some());
        changed |= !mine.is_empty();
        mine.iter().filter_map(|pair| value(pair, name)).for_each(|value| found.read(value));
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

/// Returns the value in a cookie pair `NAME=VALUE` with this name, which is compared exactly. `None` for other pairs.
fn value<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Returns the key of an upstream in a cookie: the upper half of a hash of its name.
fn key(upstream: &str) -> u32 {
    (hash(upstream.as_bytes()) >> 32) as u32
}

/// Parses an entry of a cookie: the key of an upstream and the identity of a target. `None` unless it consists of
/// exactly 24 hexadecimal digits.
fn parse_entry(entry: &[u8]) -> Option<(u32, u64)> {
    let text = std::str::from_utf8(entry).ok().filter(|text| text.len() == 24)?;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (key, identity) = text.split_at_checked(8)?;
    u32::from_str_radix(key, 16).ok().zip(u64::from_str_radix(identity, 16).ok())
}

/// The schemes of the requests that a client sends a cookie with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieScheme {
    /// Both `http` and `https`.
    Any,
    /// `https` only: the cookie has the attribute Secure.
    Https,
}

/// Returns the Set-Cookie value that binds a client to these targets, with `Path=/`, HttpOnly and SameSite=Lax,
/// Max-Age if the cookie has a lifetime, and Secure as `scheme` says.
pub fn set(cookie: &StickyCookie, bindings: &Bindings, scheme: CookieScheme) -> String {
    let entries: Vec<String> =
        bindings.entries.iter().map(|(key, identity)| format!("{key:08x}{identity:016x}")).collect();
    let mut value = format!("{}={}; Path=/; HttpOnly; SameSite=Lax", cookie.name, entries.join("."));
    if let Some(lifetime) = cookie.lifetime {
        value.push_str(&format!("; Max-Age={}", lifetime.as_secs()));
    }
    if scheme == CookieScheme::Https {
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
        let found = take("at", &mut fields).target_of("app");
        let left = fields.iter().map(|field| String::from_utf8_lossy(field.value).into_owned());
        (found, left.collect())
    }

    fn bound(to: &[(&str, u64)]) -> Bindings {
        let mut all = Bindings::default();
        to.iter().for_each(|(upstream, identity)| all.bind(upstream, *identity));
        all
    }

    /// Returns the pair of a cookie with these bindings.
    fn pair(to: &[(&str, u64)]) -> String {
        let text = set(&StickyCookie::new("at"), &bound(to), CookieScheme::Https);
        text.split(';').next().expect("a pair").to_owned()
    }

    #[test]
    fn the_cookie_is_read_and_taken_out() {
        let id = pair(&[("app", 255)]);
        assert_eq!(taken(&[&format!("a=b; {id}; c=d")]), (Some(255), vec!["a=b; c=d".into()]));
        assert_eq!(taken(&["a=b", &id]), (Some(255), vec!["a=b".into()]));
        assert_eq!(taken(&["a=b;c=d"]), (None, vec!["a=b;c=d".into()]));
        assert_eq!(taken(&["at=x; cat=1"]), (None, vec!["cat=1".into()]));
        assert_eq!(taken(&["at=+0000000000000ff"]), (None, vec![]));
        assert_eq!(taken(&[&format!("at=x.{}", &id[3..])]), (Some(255), vec![]));
        let cookie = StickyCookie::new("at");
        let value = |cookie: &StickyCookie, scheme| set(cookie, &bound(&[("app", 255)]), scheme);
        assert_eq!(
            value(&cookie, CookieScheme::Https),
            format!("{id}; Path=/; HttpOnly; SameSite=Lax; Secure")
        );
        let lasting = StickyCookie { lifetime: Some(Duration::from_secs(60)), ..cookie };
        assert_eq!(
            value(&lasting, CookieScheme::Any),
            format!("{id}; Path=/; HttpOnly; SameSite=Lax; Max-Age=60")
        );
    }

    #[test]
    fn each_upstream_has_a_target_of_its_own() {
        let both = pair(&[("app", 1), ("api", 2)]);
        let mut fields: Fields = [(&b"cookie"[..], both.as_bytes())].into_iter().collect();
        let mut found = take("at", &mut fields);
        assert_eq!(
            (found.target_of("app"), found.target_of("api"), found.target_of("x")),
            (Some(1), Some(2), None)
        );
        found.bind("api", 3);
        assert_eq!(found, bound(&[("app", 1), ("api", 3)]));
        // Of two cookies, the first one that has the upstream; and no more upstreams than the bound.
        let first = pair(&[("app", 7)]);
        assert_eq!(taken(&[&format!("{first}; {both}")]).0, Some(7));
        let names: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
        let many: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 9)).collect();
        let many = bound(&many);
        assert_eq!((many.entries.len(), many.target_of("u19"), many.target_of("u0")), (8, Some(9), None));
        let long = format!("at={}", vec!["0".repeat(24); 4096].join("."));
        assert_eq!(taken(&[&long]), (None, vec![]));
    }
}
