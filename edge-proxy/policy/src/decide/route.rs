//! Matching of paths to routes.

use crate::Snapshot;
use crate::config::{Access, Action, Auth, PathMatch, Route, Satisfy};

/// Returns the index of the most specific route of this site for a path: an exact match, or else the longest prefix.
/// `None` if no route matches.
pub(super) fn most_specific(snapshot: &Snapshot, site: usize, path: &[u8]) -> Option<usize> {
    let routes = &snapshot.config().sites[site].routes;
    snapshot.by_specificity(site).iter().copied().find(|i| {
        let route = &routes[*i];
        matches(&route.path, path, route.ignores_case())
    })
}

/// Returns whether a route of this pattern applies to the path.
fn matches(pattern: &PathMatch, path: &[u8], ignore_case: bool) -> bool {
    let same = |a: &[u8], b: &[u8]| if ignore_case { a.eq_ignore_ascii_case(b) } else { a == b };
    match pattern {
        PathMatch::Begins(begin) => {
            path.get(..begin.len()).is_some_and(|found| same(found, begin.as_bytes()))
        }
        PathMatch::Exact(exact) => same(path, exact.as_bytes()),
        PathMatch::Prefix(prefix) => {
            let Some((begin, rest)) = path.split_at_checked(prefix.len()) else { return false };
            same(begin, prefix.as_bytes())
                && (rest.is_empty() || rest.starts_with(b"/") || prefix.ends_with('/'))
        }
    }
}

/// The access rules of a path: the address lists of its route, the authentication, the methods, the requirement of a client
/// certificate, and the decision of the route itself ([`access_decision`]). `None` without a route.
pub(super) type AccessRules<'s> =
    Option<(&'s Access, Satisfy, Option<&'s Auth>, (&'s [String], bool), Option<u16>)>;

/// Returns the access rules of the route for a path.
pub(super) fn access_rules<'s>(snapshot: &'s Snapshot, site: usize, path: &[u8]) -> AccessRules<'s> {
    let found = most_specific(snapshot, site, path)?;
    let site = &snapshot.config().sites[site];
    let route = &site.routes[found];
    let auth = route.auth.as_ref().or(site.auth.as_ref());
    Some((
        &route.access,
        route.satisfy,
        auth,
        (&route.methods, route.require_certificate),
        access_decision(route),
    ))
}

/// Returns the decision about access that the action of a route makes by itself, as a number to compare: the status with which it
/// refuses every request, 0 if it drops them, 1 if a handler decides. `None` if the action does not restrict access.
pub(crate) const fn access_decision(route: &Route) -> Option<u16> {
    match &route.action {
        Action::Handle { .. } => Some(1),
        _ => route.refusal_status(),
    }
}

/// Splits a request target into path and query. The query includes its `?`.
pub(super) fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// Returns the request target without the prefix of its path. The result begins with `/`. `None` if the path does not have the
/// prefix on a segment boundary.
pub(super) fn strip_prefix(target: &str, prefix: &str, ignore_case: bool) -> Option<String> {
    let (path, query) = split(target);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let (begin, rest) = path.split_at_checked(prefix.len())?;
    if begin != prefix && !(ignore_case && begin.eq_ignore_ascii_case(prefix)) {
        return None;
    }
    match rest.as_bytes().first() {
        None => Some(format!("/{query}")),
        Some(b'/') => Some(format!("{rest}{query}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_segments() {
        let prefix =
            |prefix: &str, path: &str| matches(&PathMatch::Prefix(prefix.into()), path.as_bytes(), false);
        assert!(prefix("/a", "/a") && prefix("/a", "/a/b") && !prefix("/a", "/ab"));
        assert!(prefix("/a/", "/a/b") && !prefix("/a/", "/a"));
        assert!(prefix("/", "/") && prefix("/", "//x") && !prefix("/", "*"));
        let begins =
            |begin: &str, path: &str| matches(&PathMatch::Begins(begin.into()), path.as_bytes(), false);
        assert!(begins("/a", "/a") && begins("/a", "/a/b") && begins("/a", "/ab") && !begins("/a", "/"));
        assert!(!prefix("/a", "/A") && matches(&PathMatch::Prefix("/a".into()), b"/A/b", true));
        assert!(matches(&PathMatch::Exact("/Ab".into()), b"/aB", true));
    }

    #[test]
    fn a_prefix_is_stripped_at_a_segment() {
        let stripped = |target: &str, prefix: &str| strip_prefix(target, prefix, false);
        assert_eq!(stripped("/a/b?c", "/a").as_deref(), Some("/b?c"));
        assert_eq!(stripped("/a?c", "/a").as_deref(), Some("/?c"));
        assert_eq!(stripped("/a/", "/a/").as_deref(), Some("/"));
        assert_eq!(stripped("/ab", "/a"), None);
        assert_eq!(stripped("/A/b", "/a"), None);
        assert_eq!(strip_prefix("/A/b", "/a", true).as_deref(), Some("/b"));
    }
}
