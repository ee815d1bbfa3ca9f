//! Routes and sites as TOML keys.

use super::action::{Action, Handling, Prefix};
use super::auth::Services;
use super::beside::beside_keys;
use super::fields;
pub(super) use super::guard::Guards;
use super::notes::Notes;
use super::quote::quoted;
use super::real_ip::RealIp;
use super::route::{HandlingEffect, Paths, Route};
use super::scope::Scope;
use super::times::duration;

/// A route as lines of TOML, without the key of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathlessRoute {
    /// The reasons for which the route is closed to everyone. Empty if the route is not closed.
    pub(super) comments: Vec<String>,
    /// The lines with keys that restrict access.
    pub(super) guard: Vec<String>,
    /// The lines with the other keys; those of the action are last.
    pub(super) keys: Vec<String>,
    /// True if all keys are also valid in `[[site]]`, so that a single route for `/` needs no section of its own.
    pub(super) of_a_site: bool,
    /// True if the path is compared without regard to case.
    pub(super) any_case: bool,
}

impl Guards<'_> {
    /// Returns the effect of a handling. `written` are the trusted proxies of the converted configuration.
    pub(super) fn effect(
        &self,
        handling: &Handling,
        services: &Services,
        written: &RealIp,
    ) -> HandlingEffect {
        let one = self.render_handling(handling, services, written);
        let guard = one.guard.join("\n");
        // Of what is open in the answer itself, only a refusal is a guard.
        let keys = format!("{guard}\n{}", one.keys.join("\n"));
        HandlingEffect { keys, guard, beside: beside_keys(handling, &one.comments) }
    }

    /// Converts a handling into keys. `written` are the trusted proxies of the converted configuration. An action other
    /// than a forward has only the restrictions of `if`, methods and certificates, as nginx returns before the access
    /// phase; if it is closed, it becomes a refusal.
    fn render_handling(&self, handling: &Handling, services: &Services, written: &RealIp) -> PathlessRoute {
        let scope = &handling.scope;
        let forwards = matches!(handling.action, Action::Forward { .. });
        let mut keys = Vec::new();
        let mut guard = super::guard::Guard::default();
        if forwards {
            guard = self.guard_of(scope, services, written);
            keys.extend(scope.body_limit().map(|limit| format!("body_limit = {}", quoted(&limit))));
            let edits = fields::request(scope);
            if edits.no_upgrade {
                keys.push("upgrade = []".into());
            } else if edits.any_upgrade && scope.headscale {
                keys.push(fields::OF_HEADSCALE.into());
            }
            keys.extend(edits.key("request_headers", "set", &[]));
            keys.extend(scope.cookies());
            keys.extend(of_route(scope));
        } else {
            // nginx returns before it asks who the client is, but after conditions; what is closed says why.
            let conditional =
                !scope.conditional.is_empty() || !scope.methods.is_empty() || scope.require_certificate;
            if conditional && scope.closed.is_empty() {
                let mut before = scope.clone();
                before.access.clear();
                before.realm = None;
                before.auth_request = None;
                guard = self.guard_of(&before, services, written);
            }
            guard.comments.extend(scope.closed.iter().cloned());
        }
        let location = if forwards { scope.location.as_slice() } else { &[] };
        keys.extend(fields::response(scope).key("response_headers", "add", location));
        let action =
            if !forwards && !scope.closed.is_empty() { &super::action::refusal() } else { &handling.action };
        keys.extend(self::action(action));
        let of_a_site = scope.methods.is_empty()
            && !matches!(&handling.action, Action::Forward { prefix, .. } if *prefix != Prefix::default())
            && scope.cookies.is_empty()
            && !scope.require_certificate;
        PathlessRoute {
            comments: guard.comments,
            guard: guard.keys,
            keys,
            of_a_site,
            any_case: scope.any_case,
        }
    }
}

/// Converts a route into keys, and notes what its keys do not express: fields of requests and responses, and passwords.
/// If the route does not lie within the prefix that a forward removes, it is closed and refused.
pub(super) fn render(
    route: &Route,
    guards: &Guards<'_>,
    services: &Services,
    written: &RealIp,
    notes: &mut Notes,
) -> PathlessRoute {
    let mut handling = route.handling.clone();
    let (Paths::Begins(path) | Paths::Exact(path)) = &route.paths;
    if let Action::Forward { prefix: Prefix { strip: Some(prefix), .. }, .. } = &mut handling.action {
        let bare = prefix.as_str();
        let inside = path.strip_prefix(bare).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !inside {
            let prefix = prefix.clone();
            handling.action = super::action::refusal();
            handling
                .scope
                .closed
                .push(format!("closed: nginx removed {prefix} from some of these paths only"));
        }
    }
    fields::response(&handling.scope).note(notes);
    if matches!(handling.action, Action::Forward { .. }) {
        fields::request(&handling.scope).note(notes);
        guards.note_passwords(&handling.scope, notes);
    }
    guards.render_handling(&handling, services, written)
}

/// Returns the lines with the keys of an action.
fn action(action: &Action) -> Vec<String> {
    match action {
        Action::Drop => vec!["drop = true".into()],
        Action::Forward { upstream, prefix } => {
            let mut keys: Vec<String> =
                prefix.strip.iter().map(|prefix| format!("strip_prefix = {}", quoted(prefix))).collect();
            keys.extend(prefix.add.iter().map(|prefix| format!("add_prefix = {}", quoted(prefix))));
            keys.push(format!("upstream = {}", quoted(upstream)));
            keys
        }
        Action::Redirect { status, to } => {
            vec![format!("redirect = {}", quoted(to)), format!("status = {status}")]
        }
        Action::Respond { status, body, .. } if body.is_empty() => {
            vec![format!("respond = {{ status = {status} }}")]
        }
        Action::Respond { status, body, content_type } => vec![format!(
            "respond = {{ status = {status}, content_type = {}, body = {} }}",
            quoted(content_type),
            quoted(body)
        )],
    }
}

/// Returns the keys `timeouts` and `compression` of a route, as far as they differ from those of its site.
fn of_route(scope: &Scope) -> Vec<String> {
    let own = scope.defaults();
    let times: Vec<_> =
        own.timeouts.iter().filter(|time| !scope.site.timeouts.contains(time)).copied().collect();
    let mut keys: Vec<String> = timeouts(&times).into_iter().collect();
    if own.compression != scope.site.compression {
        keys.push(own.compression.as_deref().map_or_else(|| "compression = false".into(), compression));
    }
    keys
}

/// Returns the key `compression` with gzip, for content of at least the size `least`.
fn compression(least: &str) -> String {
    format!("compression = {{ codings = [\"gzip\"], least = {} }}", quoted(least))
}

/// Returns the key `timeouts` with durations in milliseconds. `None` if `times` is empty.
pub(super) fn timeouts(times: &[(&'static str, u64)]) -> Option<String> {
    let all: Vec<_> =
        times.iter().map(|(key, time)| format!("{key} = {}", quoted(&duration(*time)))).collect();
    (!all.is_empty()).then(|| format!("timeouts = {{ {} }}", all.join(", ")))
}

/// Returns the keys of a site: `reject` if a route has access restrictions, `compression`, `timeouts`,
/// `client_certificates` and `rate`. `scope` are the settings of the server, `locations` those of its locations and
/// routes, and `rendered` its converted routes; the boolean is true with TLS. Notes each `limit_req` that is not
/// converted or belongs to a location only.
pub(super) fn site_keys(
    scope: &Scope,
    locations: &[&Scope],
    (rendered, tls): (&[(Paths, PathlessRoute)], bool),
    guards: &Guards<'_>,
    notes: &mut Notes,
) -> Vec<String> {
    let mut keys = Vec::new();
    if rendered.iter().any(|(_, one)| !one.guard.is_empty()) {
        // nginx answers 403.
        keys.push("reject = \"alert\"".into());
    }
    let scopes = || locations.iter().copied().chain([scope]);
    keys.extend(scope.site.compression.as_deref().map(compression));
    keys.extend(timeouts(&scope.site.timeouts));
    keys.extend(client_certificates(scope, &mut scopes(), tls, notes));
    let of_site = scope.rate.as_ref().and_then(|rate| guards.rate(rate));
    for rate in scopes().filter_map(|scope| scope.rate.as_ref()) {
        if of_site.is_none() || Some(rate) != scope.rate.as_ref() {
            notes.open(
                rate,
                "requests are no longer limited here: write [site.rate], such as client = \"10/s\"",
            );
        }
    }
    keys.extend(of_site);
    keys
}

/// Returns the key `client_certificates` of a server. `None` without TLS, if the server does not request certificates,
/// or if it names no authority. `scopes` are the settings of the server and its locations, whose fields with parts of
/// the certificate become `headers`. Of several parts for one field the first counts, and the others are noted.
fn client_certificates(
    scope: &Scope,
    scopes: &mut dyn Iterator<Item = &Scope>,
    tls: bool,
    notes: &mut Notes,
) -> Option<String> {
    let verify = scope.verify_client.as_ref().filter(|_| tls)?;
    let mode = if verify.first() == "on" { "required" } else { "optional" };
    let ca = quoted(scope.client_ca.as_deref()?);
    let crl = scope.crl.as_ref().map(|crl| format!(", crl = {}", quoted(crl))).unwrap_or_default();
    let mut headers: Vec<String> = Vec::new();
    for directive in scopes.flat_map(|scope| &scope.request) {
        let value = directive.arguments.get(1).map_or("", String::as_str);
        if let Some(word) = fields::certificate_field(value) {
            let pair = format!("{} = {}", quoted(directive.first()), quoted(word));
            let name = format!("{} = ", quoted(&directive.first().to_ascii_lowercase()));
            match headers.iter().find(|known| known.to_ascii_lowercase().starts_with(&name)) {
                None => headers.push(pair),
                Some(known) if known.eq_ignore_ascii_case(&pair) => {}
                Some(_) => notes.different(
                    directive,
                    "the field has another part of the certificate elsewhere, and has it here too: `headers` are of the site",
                ),
            }
        }
    }
    let headers = format!(", headers = {{ {} }}", headers.join(", ")).replace("{  }", "{}");
    Some(format!("client_certificates = {{ ca = {ca}, mode = \"{mode}\"{crl}{headers} }}"))
}
