//! The rewrite phase of a server or a location: evaluates `set`, `if`, `return`, `rewrite` and `break` in their order.

use super::action::{Action, Prefix};
use super::condition::{METHODS, Verdict, verdict, verdict_with_port};
use super::notes::Notes;
use super::parse::Directive;
use super::pattern::{PathSet, Shape};
use super::ranges::Rule;
use super::redirect::{Rewrite, convert_return, rewrite};
use super::scope::{Scope, reason};
use super::variables::Variables;

/// Paths that are redirected, answered or dropped before any location is considered.
#[derive(Clone, Debug)]
pub(super) struct Override {
    /// The paths to which the override applies.
    pub(super) paths: PathSet,
    /// The action for requests with such a path.
    pub(super) action: Action,
    /// The `rewrite` or `if` from which the override comes.
    pub(super) directive: Directive,
    /// True if a condition of the same block precedes it that refuses some requests, with these paths too.
    pub(super) is_conditional: bool,
}

/// The result of nginx's rewrite phase for a block.
#[derive(Debug, Default)]
pub(super) struct Phase {
    /// The action for every request, by `return`. `None` if there is none, so that locations or the content of the
    /// location decide.
    pub(super) action: Option<Action>,
    /// The change of the path by a `rewrite … break`. `None` if the path is not changed.
    pub(super) prefix: Option<Prefix>,
    /// Paths with an action of their own, by `rewrite` and `if`.
    pub(super) overrides: Vec<Override>,
    /// The reasons for which access is denied to everyone: directives that could not be evaluated or converted.
    closed: Vec<String>,
    /// True once a condition has restricted access: by address, method or certificate.
    restricts: bool,
    /// The directives that are not of the rewrite phase, in their order, including those in an `if` whose condition is
    /// always true.
    pub(super) settings: Vec<Directive>,
    /// True after `return`, `break` or `rewrite … break`: further directives of the phase have no effect.
    done: bool,
    /// True if the location has content by `try_files` only, which an `if` does not inherit.
    tries_files: bool,
}

/// Evaluates the rewrite phase of a block. `set` changes `variables`. Conditions that restrict access change `scope`,
/// and reasons for which everyone is denied are appended to its `closed`.
pub(super) fn run(
    block: &[Directive],
    variables: &mut Variables,
    scope: &mut Scope,
    notes: &mut Notes,
) -> Phase {
    Phase::default().run(block, variables, scope, notes)
}

/// Evaluates the rewrite phase of a location as [`run`] does. If `try_files` alone leads to the content of the location,
/// an `if` is answered 404 even if it only has settings: nginx serves what matches from a location of its own, which
/// inherits no `try_files`, so that only existing files are found.
pub(super) fn run_in_location(
    block: &[Directive],
    variables: &mut Variables,
    scope: &mut Scope,
    notes: &mut Notes,
) -> Phase {
    let has = |name: &str| block.iter().any(|directive| directive.name == name);
    let passes = block.iter().any(|directive| directive.name.ends_with("_pass"));
    let tries_files = has("try_files") && !has("error_page") && !passes;
    Phase { tries_files, ..Phase::default() }.run(block, variables, scope, notes)
}

/// Returns true if the block of an `if` has no directives other than `set` and `break`. True if it is empty.
fn sets_only(directive: &Directive) -> bool {
    directive.inner().iter().all(|inner| matches!(inner.name.as_str(), "set" | "break"))
}

/// The presence of the file of an `if` that answers every request 503 while the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilePresence {
    /// The file does not exist.
    Missing,
    /// The file exists.
    Exists,
    /// Its path on this machine is not known, or it cannot be examined.
    Unknown,
}

/// Returns the state of the file of an `if` that answers every request 503 while a file exists. `None` for any other
/// `if`, and if the path of the file depends on the request.
fn maintenance_file(directive: &Directive, action: &Action, variables: &Variables) -> Option<FilePresence> {
    let condition = directive.arguments.join(" ");
    let condition = condition.trim_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
    let file = ["-f ", "-e "].iter().find_map(|test| condition.strip_prefix(test))?.trim();
    let file = variables.constant(file);
    let is_constant = !file.replace("$document_root", "").replace("$realpath_root", "").contains('$');
    if !is_constant || !matches!(action, Action::Respond { status: 503, .. }) {
        return None;
    }
    Some(match variables.files.find(&file).map(|path| path.try_exists()) {
        Some(Ok(true)) => FilePresence::Exists,
        Some(Ok(false)) => FilePresence::Missing,
        Some(Err(_)) | None => FilePresence::Unknown,
    })
}

/// Returns true if an alternative matches only paths below `/.well-known/acme-challenge/`.
fn is_challenge(shape: &Shape) -> bool {
    shape.anchored && shape.literal.starts_with("/.well-known/acme-challenge/")
}

impl Phase {
    /// Evaluates a block and appends the reasons for which everyone is denied to the `closed` of the scope.
    fn run(
        mut self,
        block: &[Directive],
        variables: &mut Variables,
        scope: &mut Scope,
        notes: &mut Notes,
    ) -> Self {
        self.take(block, variables, scope, notes);
        scope.closed.append(&mut self.closed);
        self
    }

    /// Evaluates directives in their order. The block of an `if` is evaluated if its condition is always true, and
    /// skipped if never; an `if` on paths of ACME challenges that only sets variables is skipped too. All directives of
    /// other phases are appended to `settings`.
    fn take(&mut self, block: &[Directive], variables: &mut Variables, scope: &mut Scope, notes: &mut Notes) {
        for directive in block {
            match directive.name.as_str() {
                "set" | "return" | "rewrite" | "break" | "if" if self.done => {}
                "set" => match directive.arguments.as_slice() {
                    [name, value] => variables.set(name, value),
                    _ => notes.different(directive, "not a variable and a value"),
                },
                "auth_request_set" => {
                    if let [name, value] = directive.arguments.as_slice() {
                        variables.set(name, value);
                    }
                }
                "break" => self.done = true,
                "return" => {
                    self.done = true;
                    match convert_return(directive, variables, scope.media_types.of_answer()) {
                        Ok(action) => self.action = Some(action),
                        Err(why) => self.close(directive, why, notes),
                    }
                }
                "rewrite" => match rewrite(directive, variables) {
                    Rewrite::Prefix(prefix) => {
                        self.prefix = Some(prefix);
                        self.done = true;
                    }
                    Rewrite::Redirect(paths, action) => {
                        self.push_override(paths, action, directive);
                    }
                    Rewrite::Other => {
                        self.close(directive, "paths are not rewritten but by removing a prefix", notes);
                    }
                },
                "if" => match verdict(directive, variables) {
                    Verdict::Always => self.take(directive.inner(), variables, scope, notes),
                    Verdict::Never => {
                        if verdict_with_port(directive, variables) != Verdict::Never {
                            notes.different(
                                directive,
                                "a Host with the port of the scheme is answered like one without",
                            );
                        }
                    }
                    // The test file of a certificate client, which is not served here.
                    Verdict::Paths(paths)
                        if sets_only(directive) && paths.shapes.iter().all(is_challenge) => {}
                    verdict => self.take_undecided(directive, &verdict, variables, scope, notes),
                },
                _ => self.settings.push(directive.clone()),
            }
        }
    }

    /// Adds an override for paths.
    fn push_override(&mut self, paths: PathSet, action: Action, directive: &Directive) {
        let is_conditional = self.restricts || !self.closed.is_empty();
        self.overrides.push(Override { paths, action, directive: directive.clone(), is_conditional });
    }

    /// Denies access to everyone, because a directive has no counterpart: notes the reason `why` as closed, and adds it
    /// to `closed`.
    fn close(&mut self, directive: &Directive, why: &str, notes: &mut Notes) {
        notes.closed(directive, format!("{why}: `deny` keeps everyone out until you decide"));
        self.closed.push(reason(directive, why));
    }

    /// Evaluates the block of an `if` whose condition depends on the request. Variables that `set` changes in it are no
    /// longer known. The first `return`, `rewrite` or `…_pass` ends the evaluation: an action is applied by
    /// [`answer`](Self::answer), and anything else denies access to everyone. Without one, settings of the block are
    /// left out, which is noted.
    fn take_undecided(
        &mut self,
        directive: &Directive,
        verdict: &Verdict,
        variables: &mut Variables,
        scope: &mut Scope,
        notes: &mut Notes,
    ) {
        let mut ends = false;
        for inner in directive.inner() {
            match inner.name.as_str() {
                "set" if self.done => {}
                "set" => variables.forget(inner.first()),
                "return" => {
                    ends = true;
                    match convert_return(inner, variables, scope.media_types.of_answer()) {
                        Ok(action) => self.answer(directive, verdict, action, (scope, variables), notes),
                        Err(why) => self.close(directive, why, notes),
                    }
                }
                "rewrite" | "proxy_pass" | "grpc_pass" | "fastcgi_pass" | "uwsgi_pass" => {
                    ends = true;
                    let redirect = match rewrite(inner, variables) {
                        Rewrite::Redirect(_, action) if inner.name == "rewrite" => Some(action),
                        _ => None,
                    };
                    match redirect {
                        Some(action) => self.answer(directive, verdict, action, (scope, variables), notes),
                        None => self.close(directive, "sends some requests elsewhere", notes),
                    }
                }
                _ => {}
            }
            if ends {
                return;
            }
        }
        if self.tries_files {
            notes.different(
                directive,
                "nginx does not apply try_files to these requests: it serves existing files alone",
            );
            let action =
                Action::Respond { status: 404, body: String::new(), content_type: "text/plain".into() };
            self.answer(directive, verdict, action, (scope, variables), notes);
        } else if !sets_only(directive) {
            notes
                .different(directive, "conditions on a request are not supported: its settings are left out");
        }
    }

    /// Applies an action to the requests for which `verdict` holds. For paths it becomes an override. If the action
    /// refuses, it becomes a required certificate, rules by address or a list of accepted methods, as far as the scope
    /// does not have such a list yet, and else denies access to everyone. An action that does not refuse is left out,
    /// which is noted.
    fn answer(
        &mut self,
        directive: &Directive,
        verdict: &Verdict,
        action: Action,
        (scope, variables): (&mut Scope, &Variables),
        notes: &mut Notes,
    ) {
        let refuses = match &action {
            Action::Drop => true,
            // Clients that get any answer of nginx's own are kept from the service.
            Action::Respond { status, .. } => {
                *status >= 400 || matches!(verdict, Verdict::Clients(_) | Verdict::NoCertificate)
            }
            Action::Redirect { to, .. } => to != "https://{host}{path}{query}",
            Action::Forward { .. } => false,
        };
        let file = Some(verdict).filter(|verdict| matches!(verdict, Verdict::Files));
        let file = file.and_then(|_| maintenance_file(directive, &action, variables));
        match verdict {
            Verdict::Files if file == Some(FilePresence::Missing) => notes.different(
                directive,
                "no file switches a site to maintenance: `edge-proxyd maintenance on SITE` does",
            ),
            Verdict::Files if file == Some(FilePresence::Exists) => {
                self.close(directive, "the file exists, so that nginx answers 503", notes);
            }
            Verdict::Files if file.is_some() => {
                self.close(directive, "the path of the file is not known here, and it may exist", notes);
            }
            Verdict::NoCertificate if refuses => {
                self.restricts = true;
                scope.require_certificate = true;
            }
            Verdict::Paths(paths) => {
                self.push_override(paths.clone(), action, directive);
            }
            _ if !refuses => notes.different(
                directive,
                "conditions on a request are not supported: these requests are answered like the others",
            ),
            Verdict::Clients(holds) if scope.conditional.is_empty() => {
                let negated = |rule: &Rule| Rule { allows: !rule.allows, range: rule.range };
                self.restricts = true;
                scope.conditional = holds.iter().map(negated).collect();
            }
            Verdict::Methods(refused) if scope.methods.is_empty() => {
                let kept = METHODS.iter().map(|method| (*method).to_owned());
                self.accept(
                    directive,
                    kept.filter(|method| !refused.contains(method)).collect(),
                    scope,
                    notes,
                );
            }
            Verdict::OtherMethods(accepted) if scope.methods.is_empty() => {
                self.accept(directive, accepted.clone(), scope, notes);
            }
            _ => self.close(directive, "refuses some requests by a condition that is not supported", notes),
        }
    }

    /// Sets the accepted methods, sorted and without TRACE and CONNECT. Notes that HEAD is accepted too if only GET is
    /// among them. If no method remains, denies access to everyone.
    fn accept(
        &mut self,
        directive: &Directive,
        mut methods: Vec<String>,
        scope: &mut Scope,
        notes: &mut Notes,
    ) {
        methods.retain(|method| !matches!(method.as_str(), "TRACE" | "CONNECT"));
        methods.sort_unstable();
        methods.dedup();
        if methods.is_empty() {
            return self.close(directive, "refuses every method", notes);
        }
        let has = |name: &str| methods.iter().any(|method| method == name);
        if has("GET") && !has("HEAD") {
            notes.different(directive, "HEAD is accepted where GET is");
        }
        self.restricts = true;
        scope.methods = methods;
    }
}
