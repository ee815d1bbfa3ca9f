//! Conversion of a server, for one of its names at one of its listeners.

use super::access_log;
use super::action::{Action, Handling, refusal};
use super::auth;
use super::error_pages::ErrorPageScope;
use super::fields;
use super::location::Locations;
use super::notes::Notes;
use super::parse::Directive;
use super::phase;
use super::real_ip::RealIp;
use super::render::{Guards, PathlessRoute, render, site_keys};
use super::routes::{Paths, Route, routes};
use super::scope::Scope;
use super::upstream::Upstreams;
use super::variables::Variables;

/// The settings outside a server that its conversion depends on.
pub(super) struct HttpContext<'a> {
    /// The directives of `http`.
    pub(super) http: &'a [&'a Directive],
    pub(super) scope: &'a Scope,
    /// The trusted proxies of the result.
    pub(super) real_ip: &'a RealIp,
    pub(super) guards: &'a Guards<'a>,
}

/// The converted content of a server: the keys and routes of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// Keys of the site.
    pub(super) keys: Vec<String>,
    pub(super) routes: Vec<(Paths, PathlessRoute)>,
    /// The file of its log, if it has one of its own.
    pub(super) log: Option<String>,
    /// The redirect of every request, if that is all it does.
    pub(super) redirect: Option<String>,
    /// True if it is the files of a server that has not been set up.
    pub(super) nothing: bool,
}

/// Converts the block of a server into the keys and routes of a site.
pub(super) fn convert(
    block: &[Directive],
    around: &HttpContext<'_>,
    mut variables: Variables,
    upstreams: &mut Upstreams,
    notes: &mut Notes,
) -> Body {
    let mut scope = around.scope.enter(block);
    scope.headscale = fields::serves_headscale(block);
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
    let mut locations = Locations::read(&phase.settings, (&scope, &variables), upstreams, notes);
    let mut overrides = phase.overrides;
    overrides.append(&mut locations.overrides);
    let found = auth::services(&phase.settings, &scope, &locations, &variables, upstreams, notes);
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
    // Challenges of a certificate client beside it do not count.
    let is_challenge = |route: &&Route| {
        let (Paths::Begins(path) | Paths::Exact(path)) = &route.paths;
        path.starts_with("/.well-known/acme-challenge")
            && matches!(route.handling.action, Action::Respond { .. })
    };
    let others: Vec<&Route> = all.iter().filter(|route| !is_challenge(route)).collect();
    let redirect = match others.as_slice() {
        [Route { paths: Paths::Begins(path), handling }] if path == "/" => match &handling.action {
            Action::Redirect { to, .. } if scope.closed.is_empty() => Some(to.clone()),
            _ => None,
        },
        _ => None,
    };
    let rendered: Vec<(Paths, PathlessRoute)> = all
        .iter()
        .map(|route| {
            let one = render(route, around.guards, &found, around.real_ip, notes);
            (route.paths.clone(), one)
        })
        .collect();
    let mut keys = site_keys(&scope, &all, (&rendered, variables.context.tls), around.guards, notes);
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

impl Body {
    /// Returns a body that redirects every request to HTTPS.
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
