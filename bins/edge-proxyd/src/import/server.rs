//! Conversion of a server, for one of its names on one of its listeners.

use super::access_log;
use super::action::{Action, Handling, refusal};
use super::auth;
use super::error_pages::ErrorPageScope;
use super::fields;
use super::location::{Location, Locations};
use super::notes::Notes;
use super::parse::Directive;
use super::phase;
use super::real_ip::{self, RealIp};
use super::render::{Guards, PathlessRoute, render, site_keys};
use super::route::{Paths, Route};
use super::routes::routes;
use super::scope::Scope;
use super::upstream::Upstreams;
use super::variables::Variables;
use std::path::Path;

/// The settings outside a server on which its conversion depends.
pub(super) struct HttpContext<'a> {
    /// The directives of `http`.
    pub(super) http: &'a [&'a Directive],
    /// The settings of `http`.
    pub(super) scope: &'a Scope,
    /// The trusted proxies of the converted configuration.
    pub(super) real_ip: &'a RealIp,
    /// The folders and rate zones to which access settings refer.
    pub(super) guards: &'a Guards<'a>,
}

/// The converted content of a server: the keys and routes of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// The lines with the keys of the site, without its hosts and listeners.
    pub(super) keys: Vec<String>,
    /// The routes, with their paths.
    pub(super) routes: Vec<(Paths, PathlessRoute)>,
    /// The path of its log file. `None` if it has none of its own.
    pub(super) log: Option<String>,
    /// The target to which every request is redirected, apart from those for ACME challenges. `None` if there is no
    /// such redirect.
    pub(super) redirect: Option<String>,
    /// True if the server has neither locations nor a `return`, `rewrite` or `if` that answers, as in the default
    /// configuration of a distribution.
    pub(super) nothing: bool,
}

/// Converts the block of a server for the host and listener in `variables`. Upstreams are added to `upstreams`. If no
/// request would be answered, every path gets 403, which is noted.
pub(super) fn convert(
    block: &[Directive],
    around: &HttpContext<'_>,
    mut variables: Variables,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Body {
    let mut scope = around.scope.enter(block);
    scope.headscale = fields::serves_headscale(block);
    variables.files.machine = around.guards.root.map(Path::to_owned);
    for one in around.http.iter().copied() {
        variables.files.enter(std::slice::from_ref(one));
    }
    variables.files.enter(block);
    scope.media_types = around.scope.media_types.within(block, None);
    let phase = phase::run(block, &mut variables, &mut scope, notes);
    let mut early = false;
    let mut files = None;
    for directive in &phase.settings {
        match directive.name.as_str() {
            "listen"
            | "server_name"
            | "ssl_certificate"
            | "ssl_certificate_key"
            | "location"
            | "ssl"
            | "access_log" => {}
            "ssl_early_data" => early = directive.first() == "on",
            // Read by the pages of the site.
            "error_page" | "proxy_intercept_errors" => {}
            "try_files" | "root" => files = Some(directive.clone()),
            _ => scope.take(directive, &variables, notes),
        }
    }
    if !variables.context.tls {
        // Without TLS there are no certificates, and fields with parts of one are empty.
        scope.verify_client = None;
    }
    scope.site = scope.defaults();
    let locations = Locations::read(&phase.settings, (&scope, &variables), upstreams, notes);
    let overrides = phase.overrides;
    let found = auth::services(&phase.settings, &scope, &locations, &variables, upstreams, notes);
    // Those of locations that have no route of their own count too.
    let reached: &[Location] = if phase.action.is_none() { &locations.all } else { &[] };
    for location in reached {
        let of = &location.handling.scope;
        let by_address = !of.access.is_empty() || !of.conditional.is_empty();
        real_ip::note_of_location(&location.directive, by_address, &of.real_ip, around.real_ip, notes);
    }
    let nothing = phase.action.is_none() && locations.all.is_empty() && overrides.is_empty();
    let all = if let Some(action) = phase.action {
        // It precedes every location.
        let handling = Handling { action, scope: scope.clone() };
        let whole = Route { paths: Paths::Begins("/".into()), handling };
        let before = routes(
            &[],
            &overrides,
            &scope,
            &|handling| around.guards.effect(handling, &found, around.real_ip),
            notes,
        );
        before.into_iter().filter(|route| route.paths != whole.paths).chain([whole.clone()]).collect()
    } else {
        routes(
            &locations.all,
            &overrides,
            &scope,
            &|handling| around.guards.effect(handling, &found, around.real_ip),
            notes,
        )
    };
    let mut all: Vec<Route> = all;
    if all.is_empty() {
        if let Some(at) = files.or_else(|| phase.settings.first().cloned()) {
            notes.closed(&at, "no service answers here, and files are not served: the site answers 403");
        }
        all.push(Route {
            paths: Paths::Begins("/".into()),
            handling: Handling { action: refusal(), scope: scope.clone() },
        });
    }
    let redirect = redirect_of_all(&all, &scope);
    // A route for every path is written as the site.
    if let [Route { paths: Paths::Begins(path), handling }] = all.as_mut_slice()
        && path == "/"
    {
        handling.scope.site = handling.scope.defaults();
        scope.site.clone_from(&handling.scope.site);
    }
    let rendered: Vec<(Paths, PathlessRoute)> = all
        .iter()
        .map(|route| {
            let one = render(route, around.guards, &found, around.real_ip, notes);
            (route.paths.clone(), one)
        })
        .collect();
    let scopes = all.iter().map(|route| &route.handling.scope);
    let scopes: Vec<&Scope> = scopes.chain(reached.iter().map(|one| &one.handling.scope)).collect();
    let mut keys = site_keys(&scope, &scopes, (&rendered, variables.context.tls), around.guards, notes);
    if early {
        keys.insert(0, "early_data = true".into());
    }
    let pages = ErrorPageScope {
        http: around.http,
        server: block,
        folder: around.guards.folder,
        root: around.guards.root,
    };
    keys.extend(pages.key(notes));
    Body { keys, routes: rendered, log: access_log::file(block), redirect, nothing }
}

/// Returns the target to which every request is redirected, apart from those for ACME challenges. `None` if there is no
/// such redirect, or the server has settings that could not be converted.
fn redirect_of_all(all: &[Route], scope: &Scope) -> Option<String> {
    // Challenges of a certificate client beside it do not count.
    let is_challenge = |route: &&Route| {
        let (Paths::Begins(path) | Paths::Exact(path)) = &route.paths;
        path.starts_with("/.well-known/acme-challenge")
            && matches!(route.handling.action, Action::Respond { .. })
    };
    let others: Vec<&Route> = all.iter().filter(|route| !is_challenge(route)).collect();
    match others.as_slice() {
        [Route { paths: Paths::Begins(path), handling }] if path == "/" => match &handling.action {
            Action::Redirect { to, .. } if scope.closed.is_empty() => Some(to.clone()),
            _ => None,
        },
        _ => None,
    }
}

impl Body {
    /// Returns true if a route forwards, redirects, or responds with a status 2xx; false if clients get only refusals.
    pub(super) fn shows(&self) -> bool {
        let keys = || self.routes.iter().flat_map(|(_, one)| &one.keys);
        keys().any(|key| {
            ["upstream = ", "redirect = ", "respond = { status = 2"]
                .iter()
                .any(|begin| key.starts_with(begin))
        })
    }

    /// Returns the content of a site that redirects every request to HTTPS with the status 308, preserving host, path
    /// and query.
    pub(super) fn redirect_to_https() -> Self {
        let to = "https://{host}{path}{query}";
        let keys = vec![format!("redirect = \"{to}\""), "status = 308".into()];
        let rendered =
            PathlessRoute { comments: Vec::new(), guard: Vec::new(), keys, of_a_site: true, any_case: false };
        Self {
            keys: Vec::new(),
            routes: vec![(Paths::Begins("/".into()), rendered)],
            log: None,
            redirect: Some(to.into()),
            nothing: false,
        }
    }
}
