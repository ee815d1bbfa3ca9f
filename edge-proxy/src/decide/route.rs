//! Matching of paths to routes.

use crate::Snapshot;
use crate::config::PathMatch;

/// Returns the position of the most specific route of the site for a path: an exact match, or else the longest matching
/// prefix.
pub(super) fn find(snapshot: &Snapshot, site: usize, path: &str) -> Option<usize> {
    let routes = &snapshot.config().sites[site].routes;
    snapshot.by_specificity(site).iter().copied().find(|i| matches(&routes[*i].path, path))
}

fn matches(pattern: &PathMatch, path: &str) -> bool {
    match pattern {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => match path.strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
            None => false,
        },
    }
}

/// Splits a target into path and query; the query keeps its `?`.
pub(super) fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// Removes a prefix from the path of a target. The result begins with `/`.
pub(super) fn without_prefix(target: &str, prefix: &str) -> Option<String> {
    let (path, query) = split(target);
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix)?;
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
        let prefix = |prefix: &str, path| matches(&PathMatch::Prefix(prefix.into()), path);
        assert!(prefix("/a", "/a") && prefix("/a", "/a/b") && !prefix("/a", "/ab"));
        assert!(prefix("/a/", "/a/b") && !prefix("/a/", "/a"));
        assert!(prefix("/", "/") && prefix("/", "//x") && !prefix("/", "*"));
    }

    #[test]
    fn strip_prefix() {
        assert_eq!(without_prefix("/a/b?c", "/a").as_deref(), Some("/b?c"));
        assert_eq!(without_prefix("/a?c", "/a").as_deref(), Some("/?c"));
        assert_eq!(without_prefix("/a/", "/a/").as_deref(), Some("/"));
        assert_eq!(without_prefix("/ab", "/a"), None);
    }
}
