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

/// The fields that edge-proxyd copies from the responses of known services unless `copy` names others.
const COPIED: [(&str, &[&str]); 2] = [
    ("authelia", &["Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email"]),
    (
        "authentik",
        &[
            "X-Authentik-Username",
            "X-Authentik-Groups",
            "X-Authentik-Entitlements",
            "X-Authentik-Email",
            "X-Authentik-Name",
            "X-Authentik-Uid",
            "X-Authentik-Jwt",
            "X-Authentik-Meta-Jwks",
            "X-Authentik-Meta-Outpost",
            "X-Authentik-Meta-Provider",
            "X-Authentik-Meta-App",
            "X-Authentik-Meta-Version",
        ],
    ),
];

impl Service {
    /// Returns the fields of `copy` if nginx copies these: for a known service its own ones and the others, so that no
    /// client can write any of them. Empty if edge-proxyd copies them by itself.
    pub(super) fn copied(&self, fields: Vec<String>) -> Vec<String> {
        let Some((_, usual)) = COPIED.iter().find(|(name, _)| Some(*name) == self.known) else {
            return fields;
        };
        let is_usual = |field: &String| usual.iter().any(|one| one.eq_ignore_ascii_case(field));
        let others: Vec<String> = fields.into_iter().filter(|field| !is_usual(field)).collect();
        if others.is_empty() {
            return others;
        }
        usual.iter().map(|one| (*one).to_owned()).chain(others).collect()
    }
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

#[cfg(test)]
mod tests {
    use super::COPIED;
    use edge_proxy::config::Auth;

    /// Compares the fields with those that the reader of the configuration sets.
    #[test]
    fn fields_of_known_services_are_those_of_the_configuration() {
        for (service, fields) in COPIED {
            let text = format!(
                "[[listen]]\naddress = '127.0.0.1:80'\n[[site]]\nhosts = 'a.test'\nplain = 'serve'\nupstream = 'http://127.0.0.1:1'\n\
                 auth = {{ service = '{service}', upstream = 'asked' }}\n[upstream.asked]\ntargets = 'http://127.0.0.1:2'\n"
            );
            let (settings, _) = crate::config::read("edge.toml", &text).expect("a configuration");
            let Some(Auth::Forward(auth)) = &settings.proxy.sites[0].auth else { panic!("{service}") };
            assert_eq!(auth.copy, fields, "{service}");
        }
    }
}
