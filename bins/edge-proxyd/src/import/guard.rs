//! Access conditions of a route: addresses, passwords, authentication services, methods and certificates.

use super::auth::Services;
use super::notes::Notes;
use super::parse::Directive;
use super::passwords::{self, Passwords, passwords};
use super::quote::{list, quoted};
use super::ranges::{Lists, Rule, everyone, lists};
use super::real_ip::RealIp;
use super::scope::Scope;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The access restrictions of a route as TOML keys, and the reasons for which it is closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Guard {
    /// The keys, such as `allow = […]`.
    pub(super) keys: Vec<String>,
    /// The reasons for which access is denied to everyone. Empty if all restrictions could be converted.
    pub(super) comments: Vec<String>,
}

/// The folders and rate zones to which access settings refer.
#[derive(Debug, Default)]
pub(super) struct Guards<'a> {
    /// The absolute folder against which relative paths are resolved.
    pub(super) folder: &'a str,
    /// The folder on this machine in which absolute paths are looked up. `None` for `/`.
    pub(super) root: Option<&'a Path>,
    /// The rates of zones that count requests per client, by the name of the zone, such as `10/s`.
    pub(super) zones: BTreeMap<String, String>,
}

impl Guards<'_> {
    /// Records the rate of a `limit_req_zone` that counts requests per client address, in requests per second or
    /// minute. Others are ignored.
    pub(super) fn zone(&mut self, directive: &Directive) {
        let option = |name: &str| directive.arguments.iter().find_map(|one| one.strip_prefix(name));
        let client = matches!(directive.first(), "$binary_remote_addr" | "$remote_addr");
        if let (true, Some(zone), Some(rate)) = (client, option("zone="), option("rate=")) {
            let zone = zone.split(':').next().unwrap_or_default();
            let rate = rate.replace("r/", "/");
            if rate.split_once('/').is_some_and(|(count, unit)| {
                count.parse::<u32>().is_ok_and(|n| n > 0) && matches!(unit, "s" | "m")
            }) {
                self.zones.insert(zone.to_owned(), rate);
            }
        }
    }

    /// Converts a `limit_req` into the key `rate`, with the burst of nginx plus 1, at most 1,000,000. `None` if its
    /// zone was not recorded.
    pub(super) fn rate(&self, directive: &Directive) -> Option<String> {
        let option = |name: &str| directive.arguments.iter().find_map(|one| one.strip_prefix(name));
        let rate = self.zones.get(option("zone=")?)?;
        let burst = option("burst=")
            .and_then(|burst| burst.parse::<u32>().ok())
            .map_or(1, |burst| burst.saturating_add(1));
        Some(format!("rate = {{ client = {}, client_burst = {} }}", quoted(rate), burst.min(1_000_000)))
    }

    /// Returns the access restrictions of a scope for requests that are forwarded: addresses, authentication, client
    /// certificate and methods. `written` are the trusted proxies of the converted configuration. If a restriction
    /// cannot be converted, everyone is denied, with the reason as a comment.
    pub(super) fn guard_of(&self, scope: &Scope, services: &Services, written: &RealIp) -> Guard {
        let mut guard = Guard { comments: scope.closed.clone(), keys: Vec::new() };
        let by_address = !scope.access.is_empty() || !scope.conditional.is_empty();
        if by_address && !scope.real_ip.is_equivalent(written) {
            guard.comments.push(
                "closed: nginx took the client's address from elsewhere here than [trust] does for all sites, and the address lists need it".into(),
            );
        }
        let verified = scope.verifies_clients();
        if scope.require_certificate && !verified {
            guard.comments.push("closed: clients had to show a certificate that nginx did not verify".into());
        }
        let is_required = scope.verify_client.as_ref().is_some_and(|verify| verify.first() == "on");
        if is_required && !verified {
            guard.comments.push(
                "closed: clients had to show a certificate, and `ssl_client_certificate` does not say of whom".into(),
            );
        }
        let refused = matches!(self.passwords(scope), Some(Passwords::Refused(_)));
        if let Some(users) = scope.users.as_ref().filter(|_| refused) {
            guard.comments.push(super::scope::reason(users, passwords::WHY));
        }
        let auth = self.auth(scope, services).filter(|_| !refused);
        match (&auth, scope.auth_request.is_some() || scope.realm.is_some() && scope.users.is_some()) {
            (None, true) if !refused => guard
                .comments
                .push("closed: clients had to authenticate at a place that import cannot find".into()),
            _ if scope.auth_request.is_some() && scope.realm.is_some() && scope.users.is_some() => {
                guard.comments.push("closed: clients had to authenticate twice".into());
            }
            _ => {}
        }
        let lists = addresses(scope, auth.is_some());
        if lists.is_none() {
            guard.comments.push("closed: its address rules do not combine into `allow` and `deny`".into());
        }
        let mut lists = lists.unwrap_or_default();
        let any = lists.1;
        // Everyone has an address that is enough.
        let auth = auth.filter(|_| !any || lists.0 != Lists::default());
        if !guard.comments.is_empty() {
            lists.0 = Lists::deny_all();
        }
        if lists.0.denies_all() {
            guard.keys.push("deny = [\"0.0.0.0/0\", \"::/0\"]".into());
        } else {
            if !lists.0.allow.is_empty() {
                guard.keys.push(format!("allow = {}", list(&lists.0.allow)));
            }
            if !lists.0.deny.is_empty() {
                guard.keys.push(format!("deny = {}", list(&lists.0.deny)));
            }
            if any && auth.is_some() {
                guard.keys.push("satisfy = \"any\"".into());
            }
        }
        guard.keys.extend(auth);
        if scope.require_certificate && verified {
            guard.keys.push("require_certificate = true".into());
        }
        let methods: Vec<&String> =
            scope.methods.iter().filter(|method| !matches!(method.as_str(), "TRACE" | "CONNECT")).collect();
        if !methods.is_empty() {
            guard.keys.push(format!("methods = {}", list(&methods)));
        }
        guard
    }

    /// Returns the key `auth` for the authentication service of a scope, or else for its password file. `None` if it
    /// has neither, or the service is not in `services`.
    fn auth(&self, scope: &Scope, services: &Services) -> Option<String> {
        if let Some(asked) = &scope.auth_request {
            let service = services.get(asked.first())?;
            let upstream = quoted(&service.upstream);
            let copied = service.copied(copied_fields(scope));
            let copy = if copied.is_empty() { String::new() } else { format!(", copy = {}", list(&copied)) };
            if let Some(known) = service.known {
                return Some(format!(
                    "auth = {{ service = {}, upstream = {upstream}{copy} }}",
                    quoted(known)
                ));
            }
            return Some(format!(
                "auth = {{ upstream = {upstream}, path = {}{copy} }}",
                quoted(&service.path)
            ));
        }
        let (Some(realm), Some(users)) = (&scope.realm, &scope.users) else { return None };
        let fine = |c: &char| (' '..='~').contains(c) && !matches!(c, '"' | '\\');
        let realm: String = realm.chars().filter(fine).collect();
        let realm = if realm.is_empty() || realm.contains('$') { "restricted" } else { realm.as_str() };
        let file = self.file(users);
        let user = user_field(scope);
        let user = user.map(|one| format!(", user_header = {}", quoted(one.first()))).unwrap_or_default();
        Some(format!(
            "auth = {{ realm = {}, users = {}{user} }}",
            quoted(realm),
            quoted(&file.display().to_string())
        ))
    }

    /// Returns the path that the first argument of a directive names, relative to the folder of the configuration.
    fn file(&self, directive: &Directive) -> PathBuf {
        Path::new(self.folder).join(directive.first())
    }

    /// Reads the password file of a scope. `None` if the scope has no realm or no password file.
    fn passwords(&self, scope: &Scope) -> Option<Passwords> {
        let users = scope.users.as_ref().filter(|_| scope.realm.is_some())?;
        Some(passwords(&self.file(users), self.root))
    }

    /// Notes a password file of a scope that has passwords which edge-proxyd does not accept, or that is not found.
    pub(super) fn note_passwords(&self, scope: &Scope, notes: &mut Notes) {
        let Some(users) = &scope.users else { return };
        match self.passwords(scope) {
            Some(Passwords::Refused(names)) => notes.closed(users, passwords::note(&names, users)),
            Some(Passwords::Unknown) => notes.different(
                users,
                "the file is not found here: only passwords kept by bcrypt or argon2 are taken (htpasswd -B)",
            ),
            Some(Passwords::Taken) | None => {}
        }
    }
}

/// Returns the first `proxy_set_header` or `grpc_set_header` that sets a field to `$remote_user`, which becomes
/// `user_header`. `None` if there is none, or if no password has to be right for a name: without a password file, with
/// an authentication service, and where an address that everyone has is enough.
pub(super) fn user_field(scope: &Scope) -> Option<&Directive> {
    let authenticates = scope.realm.is_some() && scope.users.is_some() && scope.auth_request.is_none();
    let is_free = addresses(scope, true).is_some_and(|(lists, any)| any && lists == Lists::default());
    let is_user = |one: &&Directive| one.arguments.get(1).is_some_and(|value| value == "$remote_user");
    scope.request.iter().find(is_user).filter(|_| authenticates && !is_free)
}

/// Returns the names of request fields that `proxy_set_header` or `grpc_set_header` sets to the field of the same name
/// in the response of the authentication service (`$upstream_http_NAME`), in their order. Empty without a service, as
/// the fields are empty in nginx then.
pub(super) fn copied_fields(scope: &Scope) -> Vec<String> {
    if scope.auth_request.is_none() {
        return Vec::new();
    }
    let same = |name: &str, value: &str| {
        let folded = format!("$upstream_http_{}", name.to_ascii_lowercase().replace('-', "_"));
        value == folded
    };
    let found =
        scope.request.iter().filter(|one| one.arguments.get(1).is_some_and(|value| same(one.first(), value)));
    let mut names: Vec<String> = found.map(|one| one.first().to_owned()).collect();
    names.dedup();
    names
}

/// Returns the address lists of a scope, and true if either a listed address or authentication is enough.
/// `authenticates` tells whether the scope has authentication. `None` if the rules cannot be expressed by lists, or
/// come both from `allow` or `deny` and from `if`.
fn addresses(scope: &Scope, authenticates: bool) -> Option<(Lists, bool)> {
    let access = &scope.access;
    if !scope.satisfy_any || !authenticates {
        return match (access.is_empty(), scope.conditional.is_empty()) {
            (_, true) => Some((lists(access)?, false)),
            (true, false) => Some((lists(&scope.conditional)?, false)),
            (false, false) => None,
        };
    }
    // One of both is enough: only an address that a rule names is one.
    let mut rules: Vec<Rule> = access.clone();
    rules.extend(everyone().map(|range| Rule { allows: false, range }));
    let named = lists(&rules)?;
    if named.denies_all() {
        return Some((lists(&scope.conditional)?, false));
    }
    scope.conditional.is_empty().then_some((named, true))
}
