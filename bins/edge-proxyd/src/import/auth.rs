//! Conversion of `auth_request` into `auth` with an upstream.

use super::action::{Action, Prefix};
use super::location::Locations;
use super::matching::Matching;
use super::notes::Notes;
use super::parse::Directive;
use super::scope::Scope;
use super::upstream::Upstreams;
use super::variables::Variables;
use std::collections::BTreeMap;

/// The service to which an `auth_request` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// The name of the upstream in the converted configuration.
    pub(super) upstream: String,
    /// `authelia` or `authentik`, for which edge-proxyd knows the path and the fields. `None` for another service.
    pub(super) known: Option<&'static str>,
    /// The path of authentication requests, with a query if the service needs one.
    pub(super) path: String,
}

/// Authentication services, by the URI in `auth_request`.
pub(super) type Services = BTreeMap<String, Service>;

/// Returns the authentication service for each `auth_request` of a server and its locations whose URI leads to one: by
/// the `proxy_pass` of the location for it, or by a location that forwards it unchanged. `settings` are the directives
/// of the server, and `scope` its settings. Upstreams are added to `upstreams`. Notes an `error_page 401`, unless the
/// service is a known one.
pub(super) fn services(
    settings: &[Directive],
    scope: &Scope,
    locations: &Locations<'_>,
    variables: &Variables,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Services {
    let mut found = Services::new();
    let scopes = locations.all.iter().map(|location| &location.handling.scope).chain([scope]);
    let asked: Vec<String> =
        scopes.filter_map(|scope| scope.auth_request.as_ref()).map(|one| one.first().to_owned()).collect();
    for uri in asked {
        if found.contains_key(&uri) {
            continue;
        }
        let path = uri.split('?').next().unwrap_or_default();
        let longest = locations
            .all
            .iter()
            .filter_map(|location| match &location.place {
                Matching::Exact(exact) if exact == path => Some((usize::MAX, location)),
                Matching::Prefix(prefix, _) if path.starts_with(prefix.as_str()) => {
                    Some((prefix.len(), location))
                }
                _ => None,
            })
            .max_by_key(|(length, _)| *length);
        let Some((_, location)) = longest else { continue };
        let service = of_location(&location.directive, path, scope, variables, upstreams, notes);
        // A location that is forwarded as a whole answers for the path itself.
        let service = service.or_else(|| match &location.handling.action {
            Action::Forward { upstream, prefix } if *prefix == Prefix::default() => {
                Some(Service { upstream: upstream.clone(), known: None, path: path.to_owned() })
            }
            _ => None,
        });
        if let Some(service) = service {
            let signs_in = settings.iter().find(|one| one.name == "error_page" && one.first() == "401");
            if let (Some(at), None) = (signs_in, service.known) {
                notes.different(at, "401 of the authentication service reaches the client: its own answer has to lead to the sign-in page");
            }
            found.insert(uri, service);
        }
    }
    found
}

/// Returns the service to which a location leads by its `proxy_pass`. `asked` is the path of the request, which is used
/// if the address has none. Parameters with variables are dropped. `None` without a `proxy_pass`, if it cannot be
/// converted, or if its query has literal parameters beside variables.
fn of_location(
    directive: &Directive,
    asked: &str,
    scope: &Scope,
    variables: &Variables,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Option<Service> {
    let block = directive.inner();
    let mut variables = variables.clone();
    for one in block.iter().filter(|one| one.name == "set") {
        if let [name, value] = one.arguments.as_slice() {
            variables.set(name, value);
        }
    }
    let pass = block.iter().find(|one| one.name == "proxy_pass")?;
    let mut inner = scope.enter(block);
    for one in block.iter().filter(|one| matches!(one.name.as_str(), "proxy_set_header")) {
        inner.take(one, &variables, notes);
    }
    let url = variables.expand(pass.first());
    let (url, query) = url.split_once('?').unwrap_or((&url, ""));
    // Parameters with variables are of nginx's own making. Literal ones may say whom the service admits, and cannot be
    // kept without the others.
    let literal = query.split('&').filter(|one| one.contains('=') && !one.contains('$')).count();
    if literal > 0 && query.contains('$') {
        return None;
    }
    let url = url.split('$').next().unwrap_or_default();
    let passed = upstreams.pass(pass, url, &inner, notes).ok()?;
    let mut path = passed.path.unwrap_or_else(|| asked.to_owned());
    if literal > 0 {
        path = format!("{path}?{query}");
    }
    let known = match path.as_str() {
        path if path.starts_with("/api/verify") || path.starts_with("/api/authz/") => Some("authelia"),
        path if path.starts_with("/outpost.goauthentik.io/auth/") => Some("authentik"),
        _ => None,
    };
    Some(Service { upstream: passed.upstream, known, path })
}
