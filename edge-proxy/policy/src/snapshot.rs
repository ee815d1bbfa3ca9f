//! Snapshots: validated and indexed configurations.

mod check;
mod host_map;

pub use check::nearest;

use crate::config::{Action, Auth, Config, ListenerKind, PathMatch, Protocol, Site};
use crate::decide::route;
use edge_http::host::{HostKind, HostPattern, normalize, split_authority};
use host_map::HostMap;
use std::fmt;
use std::net::IpAddr;

/// A validated [`Config`], indexed for the lookups of every request. A snapshot is immutable; a changed configuration
/// is a new snapshot.
///
/// ```
/// use edge_policy::Snapshot;
/// use edge_policy::config::{Config, Route, Site};
///
/// let site = Site::new("git", vec!["git.example.org".parse().unwrap()]).route(Route::forward("forgejo"));
/// let errors = Snapshot::new(Config { sites: vec![site], ..Config::default() }).unwrap_err();
/// assert!(errors.to_string().contains("unknown upstream"));
/// ```
#[derive(Debug)]
pub struct Snapshot {
    /// The validated configuration.
    config: Config,
    /// The indexes of the sites by exact name of a host, in the order of the configuration.
    exact: HostMap<Vec<usize>>,
    /// True if an authority that is equal to an exact name is valid, has no port, and is normalized.
    exact_are_normalized: bool,
    /// The indexes of the sites by the name behind `*.` in their patterns, in the order of the configuration.
    below: HostMap<Vec<usize>>,
    /// The indexes of the sites with the pattern `*`.
    any: Vec<usize>,
    /// The index of each site, in the order of the configuration.
    sites: Vec<SiteIndex>,
    /// The names of the fields that carry identities on any site, sorted and without duplicates.
    identities: Vec<String>,
    /// True if a site passes TLS through.
    passes_through: bool,
}

/// Returns whether this name of a site is also a valid authority, which is split and normalized to the same text. False
/// for an IPv6 address, which an authority has in brackets.
fn is_normalized_authority(name: &str) -> bool {
    match split_authority(name) {
        Some((host, None, HostKind::Name)) => normalize(host) == name,
        Some((host, None, HostKind::Address)) => {
            host.parse::<IpAddr>().is_ok_and(|address| address.to_string() == name)
        }
        _ => false,
    }
}

/// The lookup data of one site.
#[derive(Debug)]
struct SiteIndex {
    /// The indexes of the routes, the most specific first.
    by_specificity: Vec<usize>,
    /// The index in [`Config::upstreams`] of the upstream of each route. `None` if its action has none.
    upstreams: Vec<Option<usize>>,
    /// True if access to the site depends on the path, because a route restricts it, so that ambiguous paths must be
    /// refused.
    path_decides_access: bool,
    /// True if a listener with HTTP/3 serves the site, which must have neither passthrough nor client certificates.
    http3: bool,
}

impl Snapshot {
    /// Validates and indexes a configuration.
    ///
    /// # Errors
    /// [`ConfigErrors`] with all errors of the configuration.
    pub fn new(config: Config) -> Result<Self, ConfigErrors> {
        let errors = check::all(&config);
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        let (mut exact, mut below, mut any) = (HostMap::default(), HostMap::default(), Vec::new());
        for (i, site) in config.sites.iter().enumerate() {
            for host in &site.hosts {
                let (names, name) = match host {
                    HostPattern::Any => {
                        any.push(i);
                        continue;
                    }
                    HostPattern::Exact(name) => (&mut exact, name),
                    HostPattern::Below(name) => (&mut below, name),
                };
                let sites: &mut Vec<usize> = names.entry(name.clone()).or_default();
                sites.push(i);
            }
        }
        let exact_are_normalized = exact.keys().all(|name: &String| is_normalized_authority(name));
        let sites = config.sites.iter().map(|site| SiteIndex::new(&config, site)).collect();
        let identities = identities(&config);
        let passes_through = config.sites.iter().any(|site| site.passthrough.is_some());
        Ok(Self { config, exact, exact_are_normalized, below, any, sites, identities, passes_through })
    }

    /// Returns the validated configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the index of the site for this host at a listener: of the sites with exactly this name, or else those
    /// with the longest `*.` pattern that covers it, or else those with `*`, the first that is served at the listener.
    /// `None` if there is none. The host must be normalized by [`host::normalize`](edge_http::host::normalize).
    /// `listener` is the name of the listener, `None` for one without a name.
    ///
    /// The most specific pattern is determined first, then the listener. If a name belongs to a site at other
    /// listeners only, it is therefore unknown at this one, even if a wildcard of another site covers it.
    pub fn site_at(&self, normalized_host: &str, listener: Option<&str>) -> Option<usize> {
        let sites = self.sites_of(normalized_host)?;
        sites.iter().copied().find(|site| self.serves(*site, listener))
    }

    /// Returns the index of the site for this authority at a listener if the authority is, letter by letter, an exact
    /// name of the site, which makes it valid. `None` does not mean that no site has the host: the authority must then be
    /// split and normalized for [`Self::site_at`].
    pub(crate) fn site_spelt(&self, authority: &str, listener: Option<&str>) -> Option<usize> {
        let sites = self.exact.get(authority).filter(|_| self.exact_are_normalized)?;
        sites.iter().copied().find(|site| self.serves(*site, listener))
    }

    /// Returns whether the site with this index is served at the listener with this name, `None` for a listener
    /// without a name. A site that is bound to no listeners is served at all.
    ///
    /// # Panics
    /// If there is no such site.
    pub fn serves(&self, site: usize, listener: Option<&str>) -> bool {
        let bound = &self.config.sites[site].listen;
        bound.is_empty() || listener.is_some_and(|name| bound.iter().any(|bound| bound == name))
    }

    /// Returns the indexes of the sites with the most specific pattern that covers this host; no two of them are
    /// served at the same listener. `None` if no pattern covers it.
    fn sites_of(&self, normalized_host: &str) -> Option<&[usize]> {
        if let Some(sites) = self.exact.get(normalized_host) {
            return Some(sites);
        }
        let any = Some(self.any.as_slice()).filter(|any| !any.is_empty() && !normalized_host.is_empty());
        if self.below.is_empty() {
            return any;
        }
        let mut rest = normalized_host;
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(sites) = self.below.get(above) {
                return Some(sites);
            }
            rest = above;
        }
        any
    }

    /// Returns whether the TLS of any site is passed through to an upstream ([`Site::passthrough`]).
    pub const fn passes_through(&self) -> bool {
        self.passes_through
    }

    /// Returns whether the site with this index is served over HTTP/3 by some listener.
    pub(crate) fn has_http3(&self, site: usize) -> bool {
        self.sites[site].http3
    }

    /// Returns the indexes of a site's routes, the most specific first: exact paths, then prefixes from the longest to
    /// the shortest; of equal ones, those that consider letter case first.
    pub(crate) fn by_specificity(&self, site: usize) -> &[usize] {
        &self.sites[site].by_specificity
    }

    /// Returns the index of the upstream that a route of a site forwards to. `None` if its action has none.
    pub(crate) fn upstream(&self, site: usize, route: usize) -> Option<usize> {
        self.sites[site].upstreams[route]
    }

    /// Returns the index of the upstream with this name. `None` if there is none.
    pub fn upstream_named(&self, name: &str) -> Option<usize> {
        self.config.upstreams.iter().position(|upstream| upstream.name == name)
    }

    /// Returns the index of the upstream with this name if its protocol is [`Protocol::Tcp`], as a listener with
    /// [`Forward`](crate::config::Forward) or a site with [`passthrough`](Site::passthrough) needs it. `None`
    /// otherwise.
    ///
    /// A connection that began before a reload may refer to a name that has become that of an upstream for HTTP.
    pub fn tcp_upstream_named(&self, name: &str) -> Option<usize> {
        self.upstream_named(name).filter(|at| self.config.upstreams[*at].protocol == Protocol::Tcp)
    }

    /// Returns the names of the fields that carry identities on any site, sorted and without duplicates.
    pub(crate) fn identities(&self) -> &[String] {
        &self.identities
    }

    /// Returns whether access to the site depends on the path, so that ambiguous paths must be refused.
    pub(crate) fn path_decides_access(&self, site: usize) -> bool {
        self.sites[site].path_decides_access
    }
}

/// Returns the names of the fields that carry identities on any site, sorted and without duplicates: of authentication,
/// client certificates, the tailnet and the request identifier.
fn identities(config: &Config) -> Vec<String> {
    let auths = config
        .sites
        .iter()
        .flat_map(|site| site.auth.iter().chain(site.routes.iter().filter_map(|route| route.auth.as_ref())));
    let mut names: Vec<String> = auths
        .flat_map(|auth| match auth {
            Auth::Open => &[],
            Auth::Basic(auth) => auth.user_field.as_slice(),
            Auth::Forward(auth) => &auth.copy,
        })
        .cloned()
        .collect();
    let certificates = config.sites.iter().filter_map(|site| site.client_certificates.as_ref());
    names.extend(certificates.flat_map(|asked| &asked.fields).map(|(name, _)| name.clone()));
    if config.tailnet.as_ref().is_some_and(|tailnet| tailnet.tell) {
        names.extend(crate::tailnet::FIELDS.map(String::from));
    }
    names.extend(config.request_id.clone());
    names.sort();
    names.dedup();
    names
}

impl SiteIndex {
    /// Creates the lookup data of a site of the configuration.
    fn new(config: &Config, site: &Site) -> Self {
        let mut by_specificity: Vec<usize> = (0..site.routes.len()).collect();
        // At the same length, a path that is written in this very case comes first.
        by_specificity.sort_by_key(|i| match &site.routes[*i].path {
            PathMatch::Exact(_) => (0, 0, site.routes[*i].ignores_case()),
            PathMatch::Begins(prefix) | PathMatch::Prefix(prefix) => {
                (1, usize::MAX - prefix.len(), site.routes[*i].ignores_case())
            }
        });
        let upstream = |action: &Action| match action {
            Action::Forward { upstream } | Action::Handle { upstream: Some(upstream), .. } => {
                config.upstreams.iter().position(|u| u.name == *upstream)
            }
            Action::Handle { upstream: None, .. }
            | Action::Redirect { .. }
            | Action::Respond(_)
            | Action::Drop => None,
        };
        let http3 = site.passthrough.is_none()
            && site.client_certificates.is_none()
            && config.listeners.iter().any(|listener| {
                listener.kind == ListenerKind::Tls { http3: true }
                    && (site.listen.is_empty()
                        || listener.name.as_ref().is_some_and(|name| site.listen.contains(name)))
            });
        Self {
            http3,
            by_specificity,
            upstreams: site.routes.iter().map(|route| upstream(&route.action)).collect(),
            path_decides_access: site.routes.iter().any(|route| {
                !route.access.is_open()
                    || route.require_certificate
                    || !route.methods.is_empty()
                    || route.auth.is_some()
                    || route::access_decision(route).is_some()
            }),
        }
    }
}

/// The location of a wrong setting, by indexes from 0 into the lists of [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigPath {
    /// A setting that belongs to no listener, site or upstream.
    Config,
    /// A listener: `listeners[i]`.
    Listener(usize),
    /// A site: `sites[i]`.
    Site(usize),
    /// A route: `sites[i].routes[j]`.
    Route(usize, usize),
    /// An upstream: `upstreams[i]`.
    Upstream(usize),
}

/// One error in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The location of the setting.
    pub place: ConfigPath,
    /// The location as text for messages, such as ``site `git`, route `/api` ``.
    pub part: String,
    /// The key of the setting within its part, as in the configuration file: `hosts`, `health.path`.
    pub key: &'static str,
    /// The rejected value as text. Empty if a value is missing or the setting as a whole is rejected.
    pub value: String,
    /// The problem, and mostly how to solve it.
    pub fix: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} = `{}`: {}", self.part, self.key, self.value, self.fix)
    }
}

/// All errors of a configuration, in the order listeners, global settings, sites with their routes, upstreams. Not
/// empty when [`Snapshot::new`] returns them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Route;

    #[test]
    fn the_rest_is_of_the_site_with_an_asterisk() {
        let site = |name: &str, host: &str| {
            Site::new(name, vec![host.parse().unwrap()])
                .route(Route::new(PathMatch::Prefix("/".into()), Action::Drop))
        };
        let mut git = site("git", "git.example.org");
        git.listen = vec!["tailnet".into()];
        let listener = crate::config::Listener::plain(([127, 0, 0, 1], 80).into()).named("tailnet");
        let config = Config {
            sites: vec![site("rest", "*"), site("org", "*.example.org"), git],
            listeners: vec![listener],
            ..Config::default()
        };
        let snapshot = Snapshot::new(config.clone()).unwrap();
        for (host, listener, found) in [
            ("example.com", None, Some(0)),
            ("192.0.2.1", None, Some(0)),
            ("::1", None, Some(0)),
            ("wiki.example.org", None, Some(1)),
            ("git.example.org", Some("tailnet"), Some(2)),
            // What its owner keeps to a listener is nobody else's at the others.
            ("git.example.org", None, None),
            ("", None, None),
        ] {
            assert_eq!(snapshot.site_at(host, listener), found, "{host}");
        }
        let twice = Config { sites: vec![site("a", "*"), site("b", "*")], ..Config::default() };
        assert!(Snapshot::new(twice).is_err());
        assert!("*".parse::<HostPattern>().is_ok_and(|any| any.to_string() == "*"));
        assert!("*x".parse::<HostPattern>().is_err() && "*.".parse::<HostPattern>().is_err());
    }

    #[test]
    fn exact_then_the_longest_suffix() {
        let site = |name: &str, host: &str| {
            Site::new(name, vec![host.parse().unwrap()])
                .route(Route::new(PathMatch::Prefix("/".into()), Action::Drop))
        };
        let sites = vec![site("a", "*.org"), site("b", "*.example.org"), site("c", "git.example.org")];
        let snapshot = Snapshot::new(Config { sites, ..Config::default() }).unwrap();
        assert_eq!(snapshot.site_at("git.example.org", None), Some(2));
        assert_eq!(snapshot.site_at("x.y.example.org", None), Some(1));
        assert_eq!(snapshot.site_at("x.git.example.org", None), Some(1));
        assert_eq!(snapshot.site_at("example.org", None), Some(0));
        assert_eq!(snapshot.site_at("org", None), None);
        assert_eq!(snapshot.site_at("example.com", None), None);
        assert_eq!(snapshot.site_at("", None), None);
    }
}
