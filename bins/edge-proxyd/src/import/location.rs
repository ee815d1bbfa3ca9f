//! Conversion of `location`.

use super::action::{Action, Handling, refusal};
use super::content::Content;
use super::forward::forward;
use super::matching::{Matching, place};
use super::notes::Notes;
use super::parse::Directive;
use super::pattern::{PatternSuffix, Shape};
use super::phase::{self, Override};
use super::ranges;
use super::scope::{Scope, reason};
use super::upstream::Upstreams;
use super::variables::Variables;
use std::collections::BTreeMap;

/// A location, with its converted handling.
#[derive(Clone, Debug)]
pub(super) struct Location {
    /// The paths that the location matches, percent-encoded.
    pub(super) place: Matching,
    /// The path of the enclosing location. `None` at the level of the server.
    pub(super) within: Option<String>,
    /// The handling of its requests.
    pub(super) handling: Handling,
    /// Paths of its requests that are handled otherwise, by redirects or responses in its rewrite phase. They hold
    /// where nginx chooses this location.
    pub(super) overrides: Vec<Override>,
    /// True if the location has `proxy_pass`, `grpc_pass`, `fastcgi_pass`, `uwsgi_pass` or `scgi_pass`, with which
    /// nginx redirects `/a` to `/a/` if `/a/` is the path of the location.
    pub(super) completes: bool,
    /// The `location` directive.
    pub(super) directive: Directive,
}

/// The number of named locations that may lead to each other, as in nginx; it answers 500 after that.
const MAX_NAMED: usize = 10;

/// The locations of a server, including nested ones.
#[derive(Debug, Default)]
pub(super) struct Locations<'d> {
    /// All locations except named ones (`@NAME`); each is followed by the locations within it.
    pub(super) all: Vec<Location>,
    /// The named locations, by their name with `@`.
    named: BTreeMap<&'d str, &'d Directive>,
    /// The settings of the server, in which overrides are answered.
    server: Scope,
    /// The number of named locations that led to the one that is converted, at most [`MAX_NAMED`].
    led: usize,
}

impl<'d> Locations<'d> {
    /// Reads the locations of a server. `scope` and `variables` are those of the server. Upstreams are added to
    /// `upstreams`.
    pub(super) fn read(
        block: &'d [Directive],
        (scope, variables): (&Scope, &Variables),
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) -> Self {
        let mut found = Self { server: scope.clone(), ..Self::default() };
        found.names(block);
        found.block(block, None, (scope, variables), upstreams, notes);
        found
    }

    /// Records the named locations of a block and of the blocks in it.
    fn names(&mut self, block: &'d [Directive]) {
        for directive in block.iter().filter(|directive| directive.name == "location") {
            if directive.first().starts_with('@') {
                self.named.insert(directive.first(), directive);
            }
            self.names(directive.inner());
        }
    }

    /// Converts the locations of a block, and recursively those within them. `within` is the path of the location that
    /// the block belongs to, `None` for the server. A regular expression with locations within is closed, and noted.
    fn block(
        &mut self,
        block: &'d [Directive],
        within: Option<&str>,
        (scope, variables): (&Scope, &Variables),
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) {
        for directive in block.iter().filter(|directive| directive.name == "location") {
            let Some(place) = place(directive, notes) else { continue };
            let (handling, overrides, inherited) =
                self.handling(directive, &place, (scope, variables), upstreams, notes);
            let path = match &place {
                Matching::Exact(path) | Matching::Prefix(path, _) => Some(path.clone()),
                Matching::Pattern(..) => None,
            };
            self.all.push(Location {
                place,
                within: within.map(String::from),
                handling,
                overrides,
                completes: directive.inner().iter().any(|one| {
                    matches!(
                        one.name.as_str(),
                        "proxy_pass" | "grpc_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass"
                    )
                }),
                directive: directive.clone(),
            });
            if directive.inner().iter().any(|inner| inner.name == "location") {
                match path {
                    Some(path) => {
                        self.block(directive.inner(), Some(&path), (&inherited, variables), upstreams, notes);
                    }
                    None => {
                        let why = "locations within an expression are not supported";
                        notes.closed(directive, why);
                        if let Some(last) = self.all.last_mut() {
                            last.handling.scope.closed.push(reason(directive, why));
                        }
                    }
                }
            }
        }
    }

    /// Converts the content of a location. Returns its handling, and the settings that locations within inherit.
    ///
    /// In this order: a redirect or response for all of its paths, 404 with `internal`, the action of `return` or `if`,
    /// the target of `proxy_pass`, the named location of `try_files` or `error_page 404`, and else a refusal with 403,
    /// which is noted unless everyone is denied anyway. Paths of ACME challenges get 404 instead.
    fn handling(
        &mut self,
        directive: &Directive,
        place: &Matching,
        (outer, variables): (&Scope, &Variables),
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) -> (Handling, Vec<Override>, Scope) {
        let block = directive.inner();
        let mut inherited = outer.enter(block);
        inherited.methods.clone_from(&outer.methods);
        let (mut scope, mut variables) = (inherited.clone(), variables.clone());
        let exact = if let Matching::Exact(path) = place { Some(path.as_str()) } else { None };
        scope.media_types = outer.media_types.within(block, exact);
        variables.files.enter(block);
        let phase = phase::run_in_location(block, &mut variables, &mut scope, notes);
        let mut content = Content::default();
        let is_internal = outer.internal || block.iter().any(|one| one.name == "internal");
        for one in &phase.settings {
            // Requests to authentication services have no content anyway.
            let is_implied = is_internal && one.name == "proxy_pass_request_body";
            if !is_implied && !content.take(one, &variables) {
                inherited.take(one, &variables, notes);
                scope.take(one, &variables, notes);
            }
        }
        let prefix = match place {
            Matching::Prefix(path, _) | Matching::Exact(path) => path.as_str(),
            Matching::Pattern(..) => "",
        };
        // Redirects of some paths, which hold within this location only.
        let mut overrides = Vec::new();
        for one in phase.overrides {
            // Clients get 404 before any condition.
            if scope.internal {
                break;
            }
            let same = |text: &str| {
                if one.paths.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() }
            };
            let whole = one.paths.shapes.iter().any(|shape| {
                let begins = shape.anchored && same(prefix).starts_with(&same(&shape.literal));
                match shape.rest {
                    PatternSuffix::Anything => begins,
                    PatternSuffix::AtLeastOne => begins && prefix.len() > shape.literal.len(),
                    PatternSuffix::Nothing | PatternSuffix::Some => false,
                }
            });
            if whole && phase.action.is_none() {
                let handling = Handling { action: one.action, scope };
                return (handling, overrides, inherited);
            }
            let within = |shape: &Shape| shape.anchored && shape.literal.starts_with(prefix);
            if one.is_conditional {
                scope.close(&one.directive, "follows conditions that refuse some requests", notes);
            } else if one.paths.shapes.iter().all(within) && !prefix.is_empty() {
                overrides.push(one);
            } else {
                scope.close(&one.directive, "holds for some paths of the location only", notes);
            }
        }
        // Before anything that the location does itself.
        let action = if scope.internal {
            Action::Respond { status: 404, body: String::new(), content_type: "text/plain".into() }
        } else if let Some(action) = phase.action {
            action
        } else if let Some((pass, url)) = &content.pass {
            // The other protocol's fields are not sent.
            let own = if pass.name == "grpc_pass" { "grpc_set_header" } else { "proxy_set_header" };
            scope.request.retain(|one| one.name == own);
            match forward((pass, url), place, phase.prefix, &mut scope, upstreams, notes) {
                Ok(action) => action,
                Err(why) => {
                    notes.closed(pass, format!("{why}: its paths are answered 403"));
                    scope.closed.push(reason(pass, why));
                    refusal()
                }
            }
        } else if let Some(name) = content
            .fallback
            .as_deref()
            .filter(|_| self.led < MAX_NAMED)
            .and_then(|name| self.named.get(name).copied())
        {
            let (handling, of_named) =
                self.fallback((directive, name), place, &scope, (outer, &variables), upstreams, notes);
            overrides.extend(of_named);
            return (handling, overrides, inherited);
        } else {
            unserved(directive, prefix, &content, &mut scope, notes)
        };
        (Handling { action, scope }, overrides, inherited)
    }

    /// Converts the named location `name`, which serves the requests to the location `directive` since files are not
    /// served. `scope` contains the settings of that location, whose restrictions hold as well. Returns the handling,
    /// and the redirects of some paths.
    fn fallback(
        &mut self,
        (directive, name): (&Directive, &Directive),
        place: &Matching,
        scope: &Scope,
        around: (&Scope, &Variables),
        upstreams: &mut Upstreams,
        notes: &mut Notes,
    ) -> (Handling, Vec<Override>) {
        self.led += 1;
        let (mut handling, of_named, _) = self.handling(name, place, around, upstreams, notes);
        self.led -= 1;
        notes.different(directive, "no files are served: every request goes to the service");
        // nginx checks access to the location before it goes on to the other one.
        let is_open = scope.guards_as(&self.server) && scope.closed.len() == self.server.closed.len();
        let mut overrides = Vec::new();
        for one in of_named {
            if is_open {
                overrides.push(one);
            } else {
                let why = "holds after the restrictions of the location that leads here";
                handling.scope.close(&one.directive, why, notes);
            }
        }
        if !handling.scope.guards_as(scope) {
            let why = "is guarded otherwise than the location that it leads to";
            handling.scope.close(directive, why, notes);
        }
        // nginx limits a request once: by the location to which it came.
        if let Some(rate) = &scope.rate {
            handling.scope.rate = Some(rate.clone());
        }
        handling.scope.closed.extend(scope.closed.iter().cloned());
        (handling, overrides)
    }
}

/// Returns the action of a location that no service answers: 404 for paths of ACME challenges, and else a refusal with
/// 403, which is noted and recorded in `scope` unless everyone is denied anyway. `prefix` is the path of the location.
fn unserved(
    directive: &Directive,
    prefix: &str,
    content: &Content,
    scope: &mut Scope,
    notes: &mut Notes,
) -> Action {
    let denies = ranges::lists(&scope.access).is_some_and(|lists| lists.denies_all());
    if prefix.contains("/.well-known/acme-challenge") {
        notes.harmless(directive, "challenges over HTTP are not served: certificates come by [acme] and DNS");
        return Action::Respond { status: 404, body: String::new(), content_type: "text/plain".into() };
    }
    if !denies || scope.satisfy_any {
        let (at, why) =
            content.unsupported.as_ref().map_or((directive, "files are not served"), |(at, why)| (at, *why));
        notes.closed(at, format!("{why}: use an HTTP service for it; its paths are answered 403"));
        scope.closed.push(reason(at, why));
    }
    refusal()
}
