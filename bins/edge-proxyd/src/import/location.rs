//! Conversion of `location`.

use super::action::{Action, Handling, Prefix, refusal};
use super::notes::Notes;
use super::parse::Directive;
use super::pattern::{IGNORE_CASE, PatternSuffix, Shape, shapes};
use super::phase::{self, Override};
use super::ranges;
use super::scope::{Scope, reason};
use super::upstream::Upstreams;
use super::variables::Variables;
use std::collections::BTreeMap;

/// The paths that a location matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Matching {
    /// Exactly this path.
    Exact(String),
    /// Paths with this prefix. The boolean is true with the modifier `^~`: regular expressions of the same level are
    /// not tried.
    Prefix(String, bool),
    /// Paths that a regular expression matches: its alternatives, or `None` if they cannot be converted. The boolean is
    /// true if letter case is ignored.
    Pattern(Option<Vec<Shape>>, bool),
}

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
        for one in &phase.settings {
            if !content.take(one, &variables) {
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
        } else if let Some(pass) = &content.pass {
            // The other protocol's fields are not sent.
            let own = if pass.name == "grpc_pass" { "grpc_set_header" } else { "proxy_set_header" };
            scope.request.retain(|one| one.name == own);
            match forward(pass, place, phase.prefix, &mut scope, upstreams, notes) {
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

/// The directives of a location that determine the content of responses.
#[derive(Debug, Default)]
struct Content {
    /// The last `proxy_pass` or `grpc_pass`; its last argument is its address after the expansion of variables, which
    /// is appended to those written. `None` without one.
    pass: Option<Directive>,
    /// The named location (`@NAME`) of `try_files`, or of `error_page` for 404, which serves requests for which there
    /// is no file. `None` without one.
    fallback: Option<String>,
    /// A directive whose content is not converted, such as `alias`, and the reason; of several, the last one that
    /// passes to another protocol, or else the first. `None` without one.
    unsupported: Option<(Directive, &'static str)>,
}

impl Content {
    /// Records a directive that determines content: a `…_pass`, `try_files`, `error_page`, or one that serves files or
    /// a page of a module. Returns true for those and for `location`, so that nothing else reads them; for `error_page`
    /// only if its last argument is a named location.
    fn take(&mut self, directive: &Directive, variables: &Variables) -> bool {
        match directive.name.as_str() {
            "proxy_pass" | "grpc_pass" => {
                let mut pass = directive.clone();
                // The address with its constants, and whether it had variables, which changes what its path means.
                pass.arguments.push(variables.expand(directive.first()));
                self.pass = Some(pass);
            }
            "location" => {}
            "try_files" => {
                let last = directive.arguments.last().filter(|last| last.starts_with('@'));
                self.fallback = last.cloned();
                self.unsupported.get_or_insert((directive.clone(), "files are not served"));
            }
            "error_page" => {
                let last = directive.arguments.last().filter(|last| last.starts_with('@'));
                if directive.arguments.iter().any(|code| code == "404") && self.fallback.is_none() {
                    self.fallback = last.cloned();
                }
                return last.is_some();
            }
            "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "memcached_pass" => {
                self.unsupported = Some((directive.clone(), "only HTTP is forwarded"));
            }
            "alias" | "autoindex" | "stub_status" | "empty_gif" | "mp4" | "flv" | "dav_methods"
            | "random_index" => {
                self.unsupported.get_or_insert((directive.clone(), "files are not served"));
            }
            _ => return false,
        }
        true
    }
}

/// Returns the modifier of a `location`, `=`, `^~`, `~*` or `~`, and its path or regular expression. The modifier is
/// empty if there is none. `None` if there are other than one or two arguments.
pub(super) fn modifier_and_path(directive: &Directive) -> Option<(&str, &str)> {
    match directive.arguments.as_slice() {
        [modifier, path] => Some((modifier, path)),
        // nginx accepts modifiers without a space too.
        [path] => Some(
            ["=", "^~", "~*", "~"]
                .into_iter()
                .find_map(|modifier| Some((modifier, path.strip_prefix(modifier)?)))
                .unwrap_or(("", path)),
        ),
        _ => None,
    }
}

/// Returns the paths that a `location` matches, percent-encoded unless it is a regular expression. `None` for a named
/// location; and, with a note, for one with other than one or two arguments, or whose path does not begin with `/`.
fn place(directive: &Directive, notes: &mut Notes) -> Option<Matching> {
    let Some((modifier, path)) = modifier_and_path(directive) else {
        notes.closed(directive, "not a location that import can read: left out");
        return None;
    };
    if path.starts_with('@') {
        return None;
    }
    if matches!(modifier, "~" | "~*") {
        return Some(Matching::Pattern(shapes(path), modifier == "~*" || path.starts_with(IGNORE_CASE)));
    }
    if !path.starts_with('/') {
        notes.harmless(directive, "never matches a path, since paths begin with /");
        return None;
    }
    let path = encode_path(path);
    Some(match modifier {
        "=" => Matching::Exact(path),
        "^~" => Matching::Prefix(path, true),
        _ => Matching::Prefix(path, false),
    })
}

/// Percent-encodes a path of the configuration, since nginx compares decoded paths and edge-proxyd encoded ones. `%`
/// itself and bytes other than printable ASCII are encoded, and also `?#"<>\^` , `` ` `` and `{|}`.
pub(super) fn encode_path(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'%' | b'?' | b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
            )
        {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Converts a `proxy_pass` or `grpc_pass` whose last argument is the address after the expansion of variables.
/// `rewritten` is the change of the path by an earlier `rewrite`, `None` without one. The rewriting of `Location` in
/// responses is set in `scope`.
///
/// # Errors
/// A reason if the address cannot be converted, the path sent is the same for every request, one exact path is
/// forwarded as another, the path is rewritten twice, or a prefix would be removed from some of the paths only.
fn forward(
    pass: &Directive,
    place: &Matching,
    rewritten: Option<Prefix>,
    scope: &mut Scope,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Result<Action, &'static str> {
    let (written, url) = (pass.first(), pass.arguments.last().map_or("", String::as_str));
    let mut shown = pass.clone();
    shown.arguments.pop();
    let passed = upstreams.pass(&shown, url, scope, notes)?;
    let variable = written.contains('$');
    let (path, exact) = match place {
        Matching::Exact(path) => (path.as_str(), true),
        Matching::Prefix(path, _) => (path.as_str(), false),
        Matching::Pattern(..) => ("", false),
    };
    let to = passed.path.as_deref();
    let prefix = match to {
        None => rewritten.unwrap_or_default(),
        Some("$request_uri" | "$uri$is_args$args" | "$uri?$args") => Prefix::default(),
        // With variables the path is sent as it is written, whatever was asked for.
        Some(to) if variable && !(exact && to == path) => {
            return Err("its path is the same for every request");
        }
        _ if rewritten.is_some() => return Err("the path is rewritten twice"),
        Some(to) if to == path => Prefix::default(),
        Some(_) if exact => return Err("one path is forwarded as another"),
        Some(to) => prefix_replacement(path, to, &shown, notes)?,
    };
    if let Some(strip) = &prefix.strip
        && !matches!(place, Matching::Pattern(..))
        && !path.strip_prefix(strip.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return Err("removes a prefix of some of its paths only");
    }
    // A service that is told the client's host builds its redirects from it.
    let default = !variable && (!passed.keeps_host || to.is_some());
    scope.redirects(&shown, url, to, path, default, notes);
    Ok(Action::Forward { upstream: passed.upstream, prefix })
}

/// Returns the change of the path for a location with the prefix `path` whose `proxy_pass` has the path `to`. Notes it
/// if `path` has no final `/`, where nginx also replaces a part of a segment.
///
/// # Errors
/// A reason if `to` is not an absolute path without query, fragment, variable and space, or if only one of both ends in
/// `/` and `to` is not `/`.
fn prefix_replacement(
    path: &str,
    to: &str,
    pass: &Directive,
    notes: &mut Notes,
) -> Result<Prefix, &'static str> {
    if to.contains(['?', '#', '$', ' ']) || !to.starts_with('/') {
        return Err("a prefix is replaced by something else than a path");
    }
    if path.ends_with('/') != to.ends_with('/') && to != "/" {
        return Err("the rest of the path is joined to another without a / between them");
    }
    if !path.ends_with('/') {
        notes
            .different(pass, format!("{path}/x reaches the service as nginx sends it, but {path}x does not"));
    }
    let some = |path: &str| Some(path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty());
    Ok(Prefix { strip: some(path), add: some(to) })
}
