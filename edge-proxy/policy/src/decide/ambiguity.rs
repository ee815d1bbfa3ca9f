//! The refusal of ambiguous paths: those of which another reading is decided differently.

use super::{path, route};
use crate::Snapshot;
use crate::config::Action;

/// The highest number of readings of one path, itself included, for which the authentication service is queried.
const MAX_AUTH_READINGS: usize = 4;

/// The error for a path that must be refused because of its readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// Checks the readings of a path, and returns the other request targets for which the authentication service must be
/// queried. `path` is the path of `target`. `asks` is true for forward authentication; otherwise the result is empty.
///
/// # Errors
/// [`Ambiguous`] if the path must be refused: a reading of it has other access rules, letter case would relax a rule,
/// it belongs to a handler and has other readings, or it has more readings than are computed or, with `asks`, than
/// [`MAX_AUTH_READINGS`].
pub(super) fn readings(
    snapshot: &Snapshot,
    site: usize,
    (target, path): (&str, &str),
    asks: bool,
) -> Result<Vec<String>, Ambiguous> {
    let readings = path::readings(path.as_bytes()).map_err(|_| Ambiguous)?;
    let rules = route::access_rules(snapshot, site, path.as_bytes());
    if readings.iter().any(|reading| route::access_rules(snapshot, site, reading) != rules) {
        return Err(Ambiguous);
    }
    if route::relaxes_by_case(snapshot, site, path.as_bytes()) {
        return Err(Ambiguous);
    }
    // The decisions of a handler are not known here, so it gets only paths with one reading.
    let handled = |path: &[u8]| {
        let found = route::most_specific(snapshot, site, path);
        let action = found.map(|found| &snapshot.config().sites[site].routes[found].action);
        matches!(action, Some(Action::Handle { .. }))
    };
    let other = |reading: &Vec<u8>| path::percent_encode(reading) != path;
    if handled(path.as_bytes()) && readings.iter().any(other) {
        return Err(Ambiguous);
    }
    if !asks {
        return Ok(Vec::new());
    }
    let query = route::split(target).1;
    let mut asked: Vec<String> = Vec::new();
    for reading in readings {
        let written = format!("{}{query}", path::percent_encode(&reading));
        if written != target && !asked.contains(&written) {
            asked.push(written);
        }
    }
    if asked.len() < MAX_AUTH_READINGS { Ok(asked) } else { Err(Ambiguous) }
}
