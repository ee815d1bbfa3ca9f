//! Conversion of `proxy_pass` and `grpc_pass`.

use super::action::{Action, Prefix};
use super::matching::Matching;
use super::notes::Notes;
use super::parse::Directive;
use super::scope::Scope;
use super::upstream::Upstreams;

/// Converts a `proxy_pass` or `grpc_pass`, with its address `url` after the expansion of variables. `rewritten` is the
/// change of the path by an earlier `rewrite`, `None` without one. The rewriting of `Location` in responses is set in
/// `scope`.
///
/// # Errors
/// A reason if the address cannot be converted, the path sent is the same for every request, one exact path is
/// forwarded as another, the path is rewritten twice, or a prefix would be removed from some of the paths only.
pub(super) fn forward(
    (pass, url): (&Directive, &str),
    place: &Matching,
    rewritten: Option<Prefix>,
    scope: &mut Scope,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Result<Action, &'static str> {
    let passed = upstreams.pass(pass, url, scope, notes)?;
    let variable = pass.first().contains('$');
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
        Some(to) => prefix_replacement(path, to, pass, notes)?,
    };
    if let Some(strip) = &prefix.strip
        && !matches!(place, Matching::Pattern(..))
        && !path.strip_prefix(strip.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return Err("removes a prefix of some of its paths only");
    }
    // A service that is told the client's host builds its redirects from it.
    let default = !variable && (!passed.keeps_host || to.is_some());
    scope.redirects(pass, url, to, path, default, notes);
    Ok(Action::Forward { upstream: passed.upstream, prefix })
}

/// Returns the change of the path for a location with the prefix `path` whose `proxy_pass` has the path `to`. If `path`
/// has no final `/`, notes the paths that nginx sends otherwise: it also replaces a part of a segment.
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
        let note = if to == "/" {
            format!(
                "the service receives {path}/x as /x, where nginx sends //x, and {path}x unchanged, where nginx sends /x"
            )
        } else {
            format!(
                "the service receives {path} as {to}/, where nginx sends {to}, and {path}x as {to}{path}x, where nginx sends {to}x"
            )
        };
        notes.different(pass, note);
    }
    let some = |path: &str| Some(path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty());
    Ok(Prefix { strip: some(path), add: some(to) })
}
