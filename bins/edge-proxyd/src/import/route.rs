//! The routes of a converted site, and the removal of redundant ones.

use super::action::Handling;

/// The paths of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paths {
    /// Paths that begin with this text, also within a segment.
    Begins(String),
    /// Exactly this path.
    Exact(String),
}

/// A route of a converted site.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The paths of the route.
    pub(super) paths: Paths,
    /// The handling of requests for them.
    pub(super) handling: Handling,
}

/// The effect of a handling, as texts without positions in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HandlingEffect {
    /// All keys of the route.
    pub(super) keys: String,
    /// Those of the keys that restrict access.
    pub(super) guard: String,
    /// The facts that the keys do not show, such as limits of rates.
    pub(super) beside: String,
}

/// A function that returns the effect of a handling.
pub(super) type EffectOf<'f> = dyn Fn(&Handling) -> HandlingEffect + 'f;

/// Removes each route that has the same effect as the prefix route with the longest other prefix of its path, unless a
/// route with another effect that ignores letter case would then match its path.
pub(super) fn merge(all: Vec<Route>, effect: &EffectOf<'_>) -> Vec<Route> {
    let effects: Vec<HandlingEffect> = all.iter().map(|route| effect(&route.handling)).collect();
    let path = |i: usize| {
        let (Paths::Begins(path) | Paths::Exact(path)) = &all[i].paths;
        path.as_str()
    };
    let begins = |i: &usize| matches!(all[*i].paths, Paths::Begins(_));
    let above = |i: usize| {
        let above = |j: &usize| *j != i && begins(j) && path(i).starts_with(path(*j));
        (0..all.len()).filter(above).max_by_key(|j| path(*j).len())
    };
    let is_covered = |i: usize| {
        let Some(above) = above(i).filter(|above| effects[i] == effects[*above]) else { return false };
        let takes = |j: &usize| {
            *j != i
                && all[*j].handling.scope.any_case
                && is_spelling_of(path(i), path(*j))
                && (path(*j).len() == path(i).len() || begins(j) && path(*j).len() >= path(above).len())
        };
        (0..all.len()).filter(takes).all(|j| effects[j] == effects[i])
    };
    let kept: Vec<bool> = (0..all.len()).map(|i| !is_covered(i)).collect();
    all.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(route, _)| route).collect()
}

/// Returns whether the path begins with `begin`, without regard to ASCII letter case.
pub(super) fn is_spelling_of(path: &str, begin: &str) -> bool {
    path.get(..begin.len()).is_some_and(|found| found.eq_ignore_ascii_case(begin))
}
