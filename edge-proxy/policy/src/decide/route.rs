//! Matching of paths to routes.

use crate::Snapshot;
use crate::config::{Access, Action, Auth, PathMatch, Route, Satisfy, Site};

/// Returns the index of the most specific route of this site for a path: an exact match, or else the longest prefix;
/// of equal ones, that which considers letter case. `None` if no route matches.
pub(super) fn most_specific(snapshot: &Snapshot, site: usize, path: &[u8]) -> Option<usize> {
    let routes = &snapshot.config().sites[site].routes;
    snapshot.by_specificity(site).iter().copied().find(|i| {
        let route = &routes[*i];
        matches(&route.path, path, route.ignores_case())
    })
}

/// Returns whether a pattern matches the path. A [`PathMatch::Prefix`] matches only up to the end of a path segment,
/// unless it ends in `/`; [`PathMatch::Begins`] matches anywhere. If `ignore_case` is true, ASCII letter case is
/// ignored.
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

/// The rules of a route that determine who has access, to be compared with those of other routes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct AccessRules<'s> {
    /// The address lists of the route.
    access: &'s Access,
    /// The combination of the route's address lists with authentication.
    satisfy: Satisfy,
    /// The authentication in force: the route's own, or else the site's. `None` if neither has one.
    auth: Option<&'s Auth>,
    /// True if a client that the site's address lists permit needs no authentication, by `satisfy = any` of the site.
    is_excused_by_site: bool,
    /// True if authentication can replace an address list of the site or of the route, by `satisfy = any`.
    may_stand_in: bool,
    /// The accepted methods. Empty if all are accepted.
    methods: &'s [String],
    /// True if a client certificate is required.
    requires_certificate: bool,
    /// The access decision of the route's action ([`access_decision`]). `None` if it does not restrict access.
    decides: Option<u16>,
}

impl<'s> AccessRules<'s> {
    /// Returns the access rules of a route of the site.
    fn of(site: &'s Site, route: &'s Route) -> Self {
        Self {
            access: &route.access,
            satisfy: route.satisfy,
            auth: route.auth.as_ref().or(site.auth.as_ref()),
            is_excused_by_site: route.auth.is_none() && site.satisfy == Satisfy::Any,
            may_stand_in: [(&site.access, site.satisfy), (&route.access, route.satisfy)]
                .into_iter()
                .any(|(access, satisfy)| satisfy == Satisfy::Any && !access.is_open()),
            methods: &route.methods,
            requires_certificate: route.require_certificate,
            decides: access_decision(route),
        }
    }

    /// Returns whether these rules deny every client that `other`, rules of the same site, deny. Also false if that
    /// cannot be determined.
    fn keeps_out_as(&self, other: &Self) -> bool {
        let same_lists =
            self.access == other.access && (self.satisfy == Satisfy::All || self.satisfy == other.satisfy);
        let asks = |rules: &Self| rules.auth.is_some_and(|auth| *auth != Auth::Open);
        let same_auth = self.auth == other.auth
            && self.is_excused_by_site == other.is_excused_by_site
            && (self.satisfy == Satisfy::All || same_lists);
        (other.access.is_open() || same_lists)
            // Without authentication nothing stands in for a list, which then refuses for good.
            && if asks(other) { same_auth } else { !(other.may_stand_in && asks(self)) }
            && (other.methods.is_empty() || self.methods == other.methods)
            && (!other.requires_certificate || self.requires_certificate)
            && other.decides.is_none()
    }
}

/// Returns the access rules that apply to a path of the site. `None` if no route matches.
pub(super) fn access_rules<'s>(snapshot: &'s Snapshot, site: usize, path: &[u8]) -> Option<AccessRules<'s>> {
    let found = most_specific(snapshot, site, path)?;
    let site = &snapshot.config().sites[site];
    Some(AccessRules::of(site, &site.routes[found]))
}

/// Returns whether a path is permitted by a route only because the route ignores letter case: compared exactly, the
/// path would belong to a route whose rules deny other clients, or to none. False for a route that refuses every
/// request.
///
/// Letter case is ignored so that a restriction holds for other spellings, never to replace another restriction.
pub(super) fn relaxes_by_case(snapshot: &Snapshot, site: usize, path: &[u8]) -> bool {
    let own = &snapshot.config().sites[site];
    let routes = snapshot.by_specificity(site).iter().map(|i| &own.routes[*i]);
    let mut matching = routes.filter(|route| matches(&route.path, path, route.ignores_case()));
    let Some(mut found) = matching.next() else { return false };
    while !matches(&found.path, path, false) {
        // Nobody is let in by a route that refuses every request.
        if found.refusal_status().is_some() {
            return false;
        }
        let Some(next) = matching.next() else { return true };
        if !AccessRules::of(own, found).keeps_out_as(&AccessRules::of(own, next)) {
            return true;
        }
        found = next;
    }
    false
}

/// The value of [`access_decision`] for a route with a handler.
const HANDLED: u16 = 1;

/// Returns the access decision that the action of a route makes by itself, as a number to be compared: the status with
/// which the action refuses every request, 0 if it drops them, [`HANDLED`] if a handler decides. `None` if the action
/// does not restrict access.
pub(crate) const fn access_decision(route: &Route) -> Option<u16> {
    match &route.action {
        Action::Handle { .. } => Some(HANDLED),
        _ => route.refusal_status(),
    }
}

/// Splits a request target into path and query. The query includes its `?`, and is empty without one.
pub(super) fn split(target: &str) -> (&str, &str) {
    // Bytes take half the time that characters take.
    let query = target.bytes().position(|byte| byte == b'?');
    target.split_at(query.unwrap_or(target.len()))
}

/// Returns the request target without the prefix of its path; a `/` at the end of the prefix is not removed. The
/// result begins with `/` and retains the query. If `ignore_case` is true, ASCII letter case is ignored. `None` if the
/// path does not have the prefix up to the end of a segment.
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
