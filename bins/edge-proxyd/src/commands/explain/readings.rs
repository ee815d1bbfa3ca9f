//! Other readings of an explained path: what a service may decode or normalise it to, and what the proxy would decide
//! about each.

use edge_proxy::config::PathMatch;
use edge_proxy::decide::{Decision, RequestContext, decide, other_readings};
use edge_proxy::{Reason, RequestHead, Snapshot};
use serde::Serialize;
use std::fmt;

/// A path that a service may read the path of the request as.
#[derive(Serialize)]
pub(super) struct Reading {
    /// The path after decoding or normalisation.
    path: String,
    /// The path of the route that matches this reading. `None` if no route does.
    route: Option<String>,
    /// True if the decision has the same route, and the same reason for a refusal or none, as that about the path of
    /// the request. Only the routes are compared if the request is refused because its path is ambiguous.
    same: bool,
}

/// Returns the readings of the request's path that differ from the path itself, each with its decision. Empty if there
/// are none, or more than the proxy considers.
pub(super) fn readings(
    snapshot: &Snapshot,
    facts: &RequestContext<'_>,
    head: &RequestHead,
    decision: &Decision<'_>,
) -> Vec<Reading> {
    let end = head.target.find('?').unwrap_or(head.target.len());
    let (path, query) = head.target.split_at(end);
    let ambiguous = decision.verdict.reason() == Some(Reason::AmbiguousPath);
    let readings = other_readings(path).unwrap_or_default().into_iter().map(|reading| {
        let mut other = head.clone();
        other.target = format!("{reading}{query}");
        let decided = decide(snapshot, facts, &other);
        let route = decided.route.map(|(_, route)| match &route.path {
            PathMatch::Begins(path) | PathMatch::Exact(path) | PathMatch::Prefix(path) => path.clone(),
        });
        let same = decided.route.map(|(at, _)| at) == decision.route.map(|(at, _)| at)
            && (ambiguous || decided.verdict.reason() == decision.verdict.reason());
        Reading { path: reading, route, same }
    });
    readings.collect()
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_it_came = if self.same { "decided alike" } else { "decided otherwise" };
        match &self.route {
            Some(route) => write!(f, "{}: the route {route}, {as_it_came}", self.path),
            None => write!(f, "{}: no route, {as_it_came}", self.path),
        }
    }
}
