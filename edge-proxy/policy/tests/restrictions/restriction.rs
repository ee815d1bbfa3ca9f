//! Restrictions, and how a configuration gets them.

use crate::common::{password, portal};
use crate::generated::{ask_for_certificates, asks};
use edge_policy::config::{
    Auth, CaseSensitivity, CertificateMode, Config, PathMatch, PlainHttp, Route, Satisfy, Site,
};
use proptest::prelude::*;

/// A restriction that is added to a configuration.
#[derive(Clone, Debug)]
pub(crate) enum Restriction {
    AllOfRoute,
    AllOfSite,
    AllowRoute,
    AllowSite,
    AuthOfRoute(Auth),
    AuthOfSite(Auth),
    CertificateOfRoute,
    CertificateOfSite,
    DenyRoute,
    DenySite,
    Listen,
    Maintenance,
    Methods,
    NewRoute(PathMatch, CaseSensitivity),
    NoEarlyData,
    Passthrough,
    Plain,
}

pub(crate) fn any_restriction() -> impl Strategy<Value = Restriction> {
    let path = || {
        let text = || prop_oneof![Just("/in".to_owned()), Just("/in/x".to_owned())];
        prop_oneof![
            text().prop_map(PathMatch::Prefix),
            text().prop_map(PathMatch::Exact),
            text().prop_map(PathMatch::Begins),
        ]
    };
    let case = prop_oneof![2 => Just(CaseSensitivity::Guarded), 1 => Just(CaseSensitivity::Exact)];
    let auth = || prop_oneof![Just(password()), Just(portal())];
    prop_oneof![
        1 => Just(Restriction::AllOfRoute),
        1 => Just(Restriction::AllOfSite),
        1 => Just(Restriction::AllowRoute),
        1 => Just(Restriction::AllowSite),
        1 => auth().prop_map(Restriction::AuthOfRoute),
        1 => auth().prop_map(Restriction::AuthOfSite),
        1 => Just(Restriction::CertificateOfRoute),
        1 => Just(Restriction::CertificateOfSite),
        1 => Just(Restriction::DenyRoute),
        1 => Just(Restriction::DenySite),
        1 => Just(Restriction::Listen),
        1 => Just(Restriction::Maintenance),
        1 => Just(Restriction::Methods),
        3 => (path(), case).prop_map(|(path, case)| Restriction::NewRoute(path, case)),
        1 => Just(Restriction::NoEarlyData),
        1 => Just(Restriction::Passthrough),
        1 => Just(Restriction::Plain),
    ]
}

/// The path of a pattern as it is written.
pub(crate) const fn text(path: &PathMatch) -> &String {
    let (PathMatch::Begins(text) | PathMatch::Exact(text) | PathMatch::Prefix(text)) = path;
    text
}

/// Adds a restriction to the first site and its last route. One that would replace a rule by another adds nothing.
pub(crate) fn restrict(config: &mut Config, restriction: Restriction) {
    let range = || "10.0.0.0/16".parse().expect("a range");
    let site = &mut config.sites[0];
    let route = site.routes.last_mut().expect("a route");
    match restriction {
        Restriction::AllOfRoute => route.satisfy = Satisfy::All,
        Restriction::AllOfSite => site.satisfy = Satisfy::All,
        Restriction::AllowRoute if route.access.allow.is_empty() => route.access.allow.push(range()),
        Restriction::AllowSite if site.access.allow.is_empty() => site.access.allow.push(range()),
        // With `satisfy = any` a list would gain the partner that it lacked.
        Restriction::AuthOfRoute(auth)
            if !asks(route.auth.as_ref().or(site.auth.as_ref()))
                && [site.satisfy, route.satisfy] == [Satisfy::All; 2] =>
        {
            route.auth = Some(auth);
        }
        Restriction::AuthOfSite(auth) if !asks(site.auth.as_ref()) => site.auth = Some(auth),
        Restriction::CertificateOfRoute => route.require_certificate = site.client_certificates.is_some(),
        Restriction::CertificateOfSite => match &mut site.client_certificates {
            None => ask_for_certificates(site, Some(CertificateMode::Required)),
            Some(asked) => asked.mode = CertificateMode::Required,
        },
        Restriction::DenyRoute => route.access.deny.push(range()),
        Restriction::DenySite => site.access.deny.push(range()),
        Restriction::Listen => site.listen = vec!["tailnet".into()],
        Restriction::Maintenance => site.under_maintenance = true,
        Restriction::Methods => route.methods = vec!["GET".into()],
        Restriction::NewRoute(path, case) => add_route(site, path, case),
        Restriction::NoEarlyData => site.early_data = false,
        Restriction::Passthrough => {
            (site.passthrough, site.plain) = (Some("raw".into()), PlainHttp::Refuse);
            (site.auth, site.satisfy, site.client_certificates) = (None, Satisfy::All, None);
            site.early_data = false;
            site.routes.clear();
        }
        Restriction::Plain if site.plain == PlainHttp::Serve => site.plain = PlainHttp::Redirect,
        Restriction::Plain => site.plain = PlainHttp::Refuse,
        Restriction::AllowRoute
        | Restriction::AllowSite
        | Restriction::AuthOfRoute(_)
        | Restriction::AuthOfSite(_) => {}
    }
}

/// Adds a route that has the rules of the one whose paths it takes over, and an address list in addition.
pub(crate) fn add_route(site: &mut Site, path: PathMatch, case: CaseSensitivity) {
    let covers = |route: &Route| match &route.path {
        PathMatch::Exact(exact) => matches!(&path, PathMatch::Exact(path) if path == exact),
        PathMatch::Begins(begin) => text(&path).starts_with(begin.as_str()),
        PathMatch::Prefix(prefix) if prefix == "/" => true,
        // Of what begins with `/in`, only what is below `/in/`.
        PathMatch::Prefix(prefix) => {
            text(&path).starts_with(&format!("{prefix}/"))
                || matches!(&path, PathMatch::Exact(path) | PathMatch::Prefix(path) if path == prefix)
        }
    };
    // What begins with `/in` would take over what a route has below `/in`, and more paths with it.
    let takes_over = |route: &Route| matches!((&route.path, &path), (PathMatch::Prefix(prefix), PathMatch::Begins(begin)) if prefix == begin);
    if site.routes.iter().any(|route| route.path == path || takes_over(route)) {
        return;
    }
    // The most specific one is the last.
    let Some(found) = site.routes.iter().rev().find(|route| covers(route)) else { return };
    let mut route = found.clone();
    (route.path, route.case) = (path, case);
    route.access.deny.push("10.0.0.0/16".parse().expect("a range"));
    site.routes.push(route);
}
