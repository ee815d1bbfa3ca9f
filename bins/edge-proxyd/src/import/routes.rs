//! The routes of a site: for each path that the locations of a server name, the handling that nginx chooses.

use super::action::{Action, Handling};
use super::location::Location;
use super::matching::{Matching, encode_path};
use super::notes::Notes;
use super::parse::Directive;
use super::pattern::{PatternSuffix, Shape};
use super::phase::Override;
use super::route::{EffectOf, Paths, Route, is_spelling_of, merge};
use super::scope::{Scope, reason};
use std::collections::BTreeSet;

/// A location by regular expression, or the paths of a redirect or response that precedes locations.
struct Pattern<'l> {
    /// The alternatives of the expression. `None` if they cannot be converted.
    shapes: Option<&'l [Shape]>,
    /// True if letter case is ignored.
    ignore_case: bool,
    /// The handling of the paths that the expression matches.
    handling: Handling,
    /// The path of the enclosing location. `None` at the level of the server, and for paths that precede locations.
    within: Option<&'l str>,
    /// The directive, for notes.
    directive: &'l Directive,
}

impl<'l> Pattern<'l> {
    /// Returns the paths that a rewrite phase handles, in a server with this scope.
    fn of_override(one: &'l Override, scope: &Scope) -> Self {
        Self {
            shapes: Some(&one.paths.shapes),
            ignore_case: one.paths.ignore_case,
            handling: Handling { action: one.action.clone(), scope: scope.clone() }
                .with_any_case(one.paths.ignore_case),
            within: None,
            directive: &one.directive,
        }
    }
}

/// How much of a set of paths a pattern matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// All of the paths.
    All,
    /// Some of the paths, or the pattern is not known well enough.
    Some,
    /// None of the paths.
    None,
}

/// Returns the routes of a server, with the handling that nginx chooses for each. A route is left out if the longest
/// prefix route that contains its path has the same effect. An exact path for which nginx has no location is answered
/// 404 if a prefix route contains it.
pub(super) fn routes(
    locations: &[Location],
    overrides: &[Override],
    scope: &Scope,
    effect: &EffectOf<'_>,
    notes: &mut Notes,
) -> Vec<Route> {
    let decided = Patterns {
        before: overrides.iter().map(|one| Pattern::of_override(one, scope)).collect(),
        inside: locations
            .iter()
            .flat_map(|location| {
                location.overrides.iter().map(move |one| (location, Pattern::of_override(one, scope)))
            })
            .collect(),
        expressions: locations
            .iter()
            .filter_map(|location| match &location.place {
                Matching::Pattern(shapes, ignore_case) => Some(Pattern {
                    shapes: shapes.as_deref(),
                    ignore_case: *ignore_case,
                    handling: location.handling.with_any_case(*ignore_case),
                    within: location.within.as_deref(),
                    directive: &location.directive,
                }),
                Matching::Exact(_) | Matching::Prefix(..) => None,
            })
            .collect(),
        locations,
        effect,
    };
    let mut found: Vec<Route> = Vec::new();
    let mut unanswered = Vec::new();
    let cells = decided.cells();
    let mut find = |paths: Paths, found: &mut Vec<Route>| match (decided.handling_at(&paths, notes), paths) {
        (Some(handling), paths) => found.push(Route { paths, handling }),
        (None, Paths::Exact(path)) => unanswered.push(path),
        (None, Paths::Begins(_)) => {}
    };
    for paths in &cells {
        find(paths.clone(), &mut found);
    }
    for paths in decided.spellings(&cells, &found) {
        find(paths, &mut found);
    }
    // `^/a/.+` does not match /a/ itself, which the route of its beginning would answer.
    for path in unanswered {
        let begins =
            |route: &&Route| matches!(&route.paths, Paths::Begins(begin) if path.starts_with(begin.as_str()));
        let Some(around) = found.iter().find(begins) else { continue };
        let any_case = around.handling.scope.any_case;
        let action = Action::Respond { status: 404, body: String::new(), content_type: "text/plain".into() };
        let handling = Handling { action, scope: scope.clone() }.with_any_case(any_case);
        found.push(Route { paths: Paths::Exact(path), handling });
    }
    merge(found, effect)
}

/// The locations of a server, and the redirects and responses that precede them.
struct Patterns<'l, 'f> {
    /// The redirects and responses that precede every location.
    before: Vec<Pattern<'l>>,
    /// The conditions of single locations, which precede their content only.
    inside: Vec<(&'l Location, Pattern<'l>)>,
    /// The locations by regular expression.
    expressions: Vec<Pattern<'l>>,
    /// All locations of the server.
    locations: &'l [Location],
    /// The function by which handlings are compared.
    effect: &'f EffectOf<'f>,
}

impl Patterns<'_, '_> {
    /// Returns the paths and prefixes that locations, redirects and responses name, percent-encoded, and `/a` for each
    /// `/a/`. Any other path is handled as the longest of these prefixes.
    fn cells(&self) -> BTreeSet<Paths> {
        let mut cells = BTreeSet::new();
        for location in self.locations {
            let path = match &location.place {
                Matching::Exact(path) => {
                    cells.insert(Paths::Exact(path.clone()));
                    path
                }
                Matching::Prefix(path, _) => {
                    cells.insert(Paths::Begins(path.clone()));
                    path
                }
                Matching::Pattern(..) => continue,
            };
            // nginx sends /a to /a/, if /a/ is forwarded.
            if path.len() > 1 && path.ends_with('/') {
                cells.insert(Paths::Exact(path.trim_end_matches('/').to_owned()));
            }
        }
        let inside = self.inside.iter().map(|(_, pattern)| pattern);
        for pattern in self.before.iter().chain(&self.expressions).chain(inside) {
            for shape in pattern.shapes.unwrap_or_default() {
                let path = encode_path(&shape.literal);
                let mut add = |path: String| {
                    if shape.rest == PatternSuffix::AtLeastOne {
                        cells.insert(Paths::Exact(path.clone()));
                    }
                    cells.insert(match shape.rest {
                        PatternSuffix::Nothing if shape.anchored => Paths::Exact(path),
                        _ => Paths::Begins(path),
                    });
                };
                // As the location around it is spelt, where letter case does not count.
                let rest = pattern.within.filter(|_| pattern.ignore_case).and_then(|within| {
                    let (begin, rest) = path.split_at_checked(within.len())?;
                    begin.eq_ignore_ascii_case(within).then(|| format!("{within}{rest}"))
                });
                rest.into_iter().for_each(&mut add);
                if path.starts_with('/') {
                    add(path);
                }
            }
        }
        cells.retain(|paths| !matches!(paths, Paths::Exact(path) if path.is_empty()));
        cells
    }

    /// Returns further cells for patterns that are anchored and ignore letter case: the pattern's text with the case of
    /// every letter swapped, and with its beginning spelled as in each prefix cell. Omits patterns whose own spelling
    /// has a route in `found` that ignores letter case, and cells that are in `cells`.
    fn spellings(&self, cells: &BTreeSet<Paths>, found: &[Route]) -> BTreeSet<Paths> {
        let mut more = BTreeSet::new();
        let inside = self.inside.iter().map(|(_, pattern)| pattern);
        let folding = self.before.iter().chain(&self.expressions).chain(inside).filter(|one| one.ignore_case);
        for shape in folding.flat_map(|one| one.shapes.unwrap_or_default()).filter(|shape| shape.anchored) {
            let cell = |path: String| match shape.rest {
                PatternSuffix::Nothing => Paths::Exact(path),
                _ => Paths::Begins(path),
            };
            let literal = encode_path(&shape.literal);
            let own = cell(literal.clone());
            if !literal.starts_with('/')
                || found.iter().any(|route| route.paths == own && route.handling.scope.any_case)
            {
                continue;
            }
            let changed = |c: char| match c.is_ascii_lowercase() {
                true => c.to_ascii_uppercase(),
                false => c.to_ascii_lowercase(),
            };
            more.insert(cell(literal.chars().map(changed).collect()));
            more.extend(cells.iter().filter_map(|known| match known {
                Paths::Begins(begin) if is_spelling_of(&literal, begin) => {
                    Some(cell(format!("{begin}{}", &literal[begin.len()..])))
                }
                Paths::Begins(_) | Paths::Exact(_) => None,
            }));
        }
        more.retain(|paths| !cells.contains(paths));
        more
    }

    /// Returns the handling of a path or prefix, chosen as in nginx: redirects and responses that precede locations,
    /// exact locations, and regular expressions from the innermost level outwards, before the longest prefix. `None` if
    /// no location matches.
    ///
    /// Expressions that match only some of the paths are passed to [`narrow`](Self::narrow); if nothing else matches,
    /// they are noted as closed.
    fn handling_at(&self, paths: &Paths, notes: &mut Notes) -> Option<Handling> {
        let (Paths::Begins(path) | Paths::Exact(path)) = paths;
        let exact = matches!(paths, Paths::Exact(_));
        let mut perhaps: Vec<&Pattern<'_>> = Vec::new();
        for pattern in &self.before {
            match relation(pattern, path, exact) {
                Relation::All => return Some(self.narrow(pattern.handling.clone(), &perhaps, notes)),
                Relation::Some => perhaps.push(pattern),
                Relation::None => {}
            }
        }
        // At each level the longest prefix, and within it the next level.
        let mut chain: Vec<&Location> = Vec::new();
        let mut level: Option<&str> = None;
        loop {
            let at = |location: &&Location| location.within.as_deref() == level;
            if exact && let Some(handling) = self.exact_handling(path, &at, &mut perhaps) {
                return Some(self.narrow(handling, &perhaps, notes));
            }
            let prefix = |location: &&Location| match &location.place {
                Matching::Prefix(begin, _) if path.starts_with(begin.as_str()) => Some(begin.len()),
                _ => None,
            };
            let found = self.locations.iter().filter(at).filter(|one| prefix(one).is_some());
            let Some(next) = found.max_by_key(prefix) else { break };
            let begin = match &next.place {
                Matching::Prefix(begin, _) => begin.as_str(),
                Matching::Exact(_) | Matching::Pattern(..) => break,
            };
            chain.push(next);
            if level == Some(begin) {
                break;
            }
            level = Some(begin);
        }
        // Expressions of the innermost level first; `^~` keeps out those of its own level.
        let mut order: Vec<&Pattern<'_>> = Vec::new();
        for depth in (0..=chain.len()).rev() {
            let within = depth.checked_sub(1).map(|at| &chain[at].place).and_then(|place| match place {
                Matching::Prefix(begin, _) => Some(begin.as_str()),
                Matching::Exact(_) | Matching::Pattern(..) => None,
            });
            let first = chain.get(depth).is_some_and(|next| matches!(next.place, Matching::Prefix(_, true)));
            if !first {
                order.extend(self.expressions.iter().filter(|pattern| pattern.within == within));
            }
        }
        for pattern in order {
            match relation(pattern, path, exact) {
                Relation::All => return Some(self.narrow(pattern.handling.clone(), &perhaps, notes)),
                Relation::Some => perhaps.push(pattern),
                Relation::None => {}
            }
        }
        let handling = chain.last().map(|location| self.handling_in(location, path, exact, &mut perhaps));
        if handling.is_none() && !perhaps.is_empty() {
            for pattern in &perhaps {
                notes.closed(
                    pattern.directive,
                    "is not the beginning of paths, and nothing else answers for them",
                );
            }
        }
        Some(self.narrow(handling?, &perhaps, notes))
    }

    /// Returns the handling of paths for which nginx chooses this location. Conditions that match some of them are
    /// added to `perhaps`.
    fn handling_in<'s>(
        &'s self,
        location: &Location,
        path: &str,
        exact: bool,
        perhaps: &mut Vec<&'s Pattern<'s>>,
    ) -> Handling {
        for (_, pattern) in self.inside.iter().filter(|(of, _)| std::ptr::eq(*of, location)) {
            match relation(pattern, path, exact) {
                Relation::All => return pattern.handling.clone(),
                Relation::Some => perhaps.push(pattern),
                Relation::None => {}
            }
        }
        location.handling.clone()
    }

    /// Returns the handling of an exact path among the locations for which `at` is true: that of the location `= path`;
    /// or, if only a location for `path/` exists and passes requests on, a redirect with 301 to `path/`, or its own
    /// handling if that is not a forward. `None` if neither applies. Conditions of the location that match the path
    /// perhaps are added to `perhaps`.
    fn exact_handling<'s>(
        &'s self,
        path: &str,
        at: &dyn Fn(&&Location) -> bool,
        perhaps: &mut Vec<&'s Pattern<'s>>,
    ) -> Option<Handling> {
        let find =
            |place: &Matching| self.locations.iter().filter(at).find(|location| location.place == *place);
        if let Some(location) = find(&Matching::Exact(path.to_owned())) {
            return Some(self.handling_in(location, path, true, perhaps));
        }
        // `location /a/` or `location = /a/` with a service: nginx completes /a.
        let folder = format!("{path}/");
        let of = |path: &str| [true, false].map(|first| Matching::Prefix(path.to_owned(), first));
        let whole = find(&Matching::Exact(folder.clone()));
        let location = whole.or_else(|| of(&folder).iter().find_map(find))?;
        if !location.completes || of(path).iter().any(|place| find(place).is_some()) {
            return None;
        }
        if !matches!(location.handling.action, Action::Forward { .. }) {
            return Some(location.handling.clone());
        }
        let to = format!("{folder}{{query}}");
        let mut scope = Scope { real_ip: location.handling.scope.real_ip.clone(), ..Scope::default() };
        scope.response.clone_from(&location.handling.scope.response);
        Some(Handling { action: Action::Redirect { status: 301, to }, scope })
    }

    /// Returns the handling after a comparison with the patterns `perhaps`, which match some of its paths. If the
    /// handling answers with content, and a pattern refuses or has other access restrictions, the handling is closed to
    /// everyone. Every pattern is noted.
    fn narrow(&self, mut handling: Handling, perhaps: &[&Pattern<'_>], notes: &mut Notes) -> Handling {
        for pattern in perhaps {
            let (one, other) = ((self.effect)(&pattern.handling), (self.effect)(&handling));
            if one.keys == other.keys {
                notes.harmless(pattern.directive, "answers as the location around it");
                continue;
            }
            let refuses = match &pattern.handling.action {
                Action::Drop => true,
                Action::Respond { status, .. } => (400..600).contains(status),
                Action::Forward { .. } | Action::Redirect { .. } => false,
            };
            let shows = match &handling.action {
                Action::Forward { .. } => true,
                Action::Respond { status, .. } => (200..300).contains(status),
                Action::Drop | Action::Redirect { .. } => false,
            };
            if !refuses && (one.guard.is_empty() || one.guard == other.guard) || !shows {
                notes.different(
                    pattern.directive,
                    "expressions are taken over as beginnings of paths; what matches within others goes the way of the others",
                );
            } else if handling.scope.closed.is_empty() {
                let why = "guards paths by an expression that is not a beginning of them";
                handling.scope.close(pattern.directive, why, notes);
            } else {
                handling.scope.closed.push(reason(pattern.directive, "guards paths by an expression"));
            }
        }
        handling
    }
}

/// Returns how many of the paths a pattern matches: of those that begin with `path`, or of `path` alone if `exact`.
/// Paths that have a longer route of their own do not count. [`Relation::Some`] if the pattern could not be converted.
fn relation(pattern: &Pattern<'_>, path: &str, exact: bool) -> Relation {
    let Some(shapes) = pattern.shapes else { return Relation::Some };
    let same = |text: &str| if pattern.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let path = same(path);
    let mut found = Relation::None;
    for shape in shapes {
        let literal = same(&encode_path(&shape.literal));
        let one = match (shape.anchored, shape.rest) {
            (true, PatternSuffix::Anything) if path.starts_with(&literal) => Relation::All,
            // Paths with more of it are cells of their own.
            (true, PatternSuffix::Anything) => Relation::None,
            // The beginning alone is a cell of its own too.
            (true, PatternSuffix::AtLeastOne)
                if path.starts_with(&literal) && !(exact && path == literal) =>
            {
                Relation::All
            }
            (true, PatternSuffix::AtLeastOne) => Relation::None,
            (true, PatternSuffix::Nothing) if exact && path == literal => Relation::All,
            (true, PatternSuffix::Nothing) => Relation::None,
            (true, PatternSuffix::Some) if path.starts_with(&literal) => Relation::Some,
            (true, PatternSuffix::Some) => Relation::None,
            (false, PatternSuffix::Anything) if path.contains(&literal) => Relation::All,
            (false, PatternSuffix::AtLeastOne)
                if path.find(&literal).is_some_and(|at| at + literal.len() < path.len()) =>
            {
                Relation::All
            }
            (false, PatternSuffix::Nothing) if exact && path.ends_with(&literal) => Relation::All,
            (false, PatternSuffix::Anything | PatternSuffix::AtLeastOne | PatternSuffix::Nothing)
                if exact =>
            {
                Relation::None
            }
            (false, _) => Relation::Some,
        };
        found = match (found, one) {
            (Relation::All, _) | (_, Relation::All) => Relation::All,
            (Relation::Some, _) | (_, Relation::Some) => Relation::Some,
            _ => Relation::None,
        };
    }
    found
}
