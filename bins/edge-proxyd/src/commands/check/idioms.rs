//! Warnings about values that are valid, but that mean something else here than in nginx and other proxies.

use super::findings::Findings;
use edge_proxy::config::{Action, Config, ListenerKind, PathMatch};

/// Variables of nginx, each with its placeholder in a redirect. Longer ones do not precede shorter ones; the first that
/// a text contains counts.
const VARIABLES: &[(&str, &str)] = &[
    ("$host", "{host}"),
    ("$http_host", "{host}"),
    ("$server_name", "{host}"),
    ("$request_uri", "{path}{query}"),
    ("$uri", "{path}"),
    ("$is_args$args", "{query}"),
];

/// Adds a warning for each host `_`, each path that ends in `*`, and each redirect with `$`; and one if there are no
/// sites although a listener serves HTTP.
pub(super) fn find(config: &Config, findings: &mut Findings) {
    let serves = |kind: ListenerKind| !matches!(kind, ListenerKind::Tcp);
    if config.sites.is_empty() && config.listeners.iter().any(|listener| serves(listener.kind)) {
        findings.warning("there is no [[site]], so that every request is refused");
    }
    for site in &config.sites {
        let name = &site.name;
        if site.hosts.iter().any(|host| host.to_string() == "_") {
            findings.warning(format!(
                "site `{name}`: hosts = [\"_\"] is a host named _, not every host: requests for other names are refused as \
                 `reject` says"
            ));
        }
        for route in &site.routes {
            if let PathMatch::Exact(path) | PathMatch::Prefix(path) = &route.path
                && path.ends_with('*')
            {
                findings.warning(format!(
                    "site `{name}`: the path {path} is taken literally: write path = \"{}\", which is everything below it",
                    path.trim_end_matches('*')
                ));
            }
            if let Action::Redirect { to, .. } = &route.action
                && to.contains('$')
            {
                let known = VARIABLES.iter().find(|(variable, _)| to.contains(variable));
                let fix = known.map_or_else(
                    || "placeholders are {host}, {path} and {query}".to_owned(),
                    |(variable, ours)| format!("write {ours} in place of {variable}"),
                );
                findings.warning(format!("site `{name}`: redirect = \"{to}\" is sent as it is: {fix}"));
            }
        }
    }
}
