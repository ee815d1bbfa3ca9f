//! The readers of `auth`, `rate` and `compression` of a site, and of `rate` of a listener.

use super::document::{Table, Value};
use super::keys::{Key, Kind, words};
use super::upstream::{REFERRED, upstream_name};
use edge_policy::auth::basic::users;
use edge_policy::rate::Rate;
use edge_proxy::config::{
    Auth, BasicAuth, Coding, Compression, ConnectionLimits, ForwardAuth, RateLimits, Site, Upstream,
};

/// Known authentication services: the name, the path of the authentication request, and the response fields that are
/// copied to the request, both unless configured otherwise.
const SERVICES: [(&str, &str, &[&str]); 2] = [
    ("authelia", "/api/authz/forward-auth", &["Remote-User", "Remote-Groups", "Remote-Name", "Remote-Email"]),
    (
        "authentik",
        "/outpost.goauthentik.io/auth/caddy",
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

/// The kinds of value of `auth`: the word `open`, or a table.
pub(super) const AUTH: Kind = Kind::Either(&[
    Kind::Word(&const { words(&OPEN) }),
    Kind::Table(&[
        Key::new("users", Kind::Path),
        Key::new("realm", Kind::Text),
        Key::new("user_header", Kind::Text),
        Key::new("upstream", REFERRED),
        Key::new("service", Kind::Word(&const { words(&NAMES) })),
        Key::new("path", Kind::Text),
        Key::new("copy", Kind::List(&Kind::Text)),
    ]),
]);

/// The kind of a rate, such as `10/s`.
const RATE: Kind = Kind::Form(r"^\s*\d+\s*/\s*(s|m|h|d)\s*$");
/// The kind of a burst: the number of requests or connections that are admitted at once.
const BURST: Kind = Kind::Number(1, 1_000_000);
/// The kind of a limit of concurrent requests or connections.
const CONCURRENT: Kind = Kind::Number(1, u32::MAX as u64);

/// The keys of `rate` of a site.
pub(super) static RATES: &[Key] = &[
    Key::new("client", RATE),
    Key::new("client_burst", BURST),
    Key::new("site", RATE),
    Key::new("site_burst", BURST),
    Key::new("concurrent", CONCURRENT),
];

/// The keys of `rate` of a listener.
pub(super) static CONNECTION_LIMITS: &[Key] = &[
    Key::new("client", RATE),
    Key::new("client_burst", BURST),
    Key::new("client_concurrent", CONCURRENT),
    Key::new("concurrent", CONCURRENT),
];

/// The kinds of value of `compression`: a boolean, or a table.
pub(super) const COMPRESSION: Kind = Kind::Either(&[
    Kind::Boolean,
    Kind::Table(&[
        Key::new("codings", Kind::List(&Kind::Word(&const { words(&CODINGS) }))),
        Key::new("least", Kind::Size),
    ]),
]);

/// The word of `auth` that admits everyone.
const OPEN: [(&str, ()); 1] = [("open", ())];
/// The words of `service`, each with its index in [`SERVICES`].
const NAMES: [(&str, usize); 2] = [(SERVICES[0].0, 0), (SERVICES[1].0, 1)];
/// The words of `codings`, the content codings of compression.
const CODINGS: [(&str, Coding); 3] = [("zstd", Coding::Zstd), ("br", Coding::Brotli), ("gzip", Coding::Gzip)];

/// Reads `auth`, `rate` and `compression` of a site into `site`. An upstream that `auth` names by its address
/// is appended to `upstreams`.
pub(super) fn read(table: &Table<'_, '_>, site: &mut Site, upstreams: &mut Vec<Upstream>) {
    site.auth = auth(table, upstreams);
    site.rate = table.table("rate").map(|rate| rates(&rate)).unwrap_or_default();
    site.compression = table.get("compression").and_then(|value| compression(&value));
}

/// Reads the key `auth`: `"open"`, or a table with `users` for passwords, or with `upstream` for an authentication
/// service. `None` if the key is missing or not valid, or has neither or both; all but the first are reported.
pub(super) fn auth(table: &Table<'_, '_>, upstreams: &mut Vec<Upstream>) -> Option<Auth> {
    let value = table.get("auth")?;
    if value.value.as_str().is_some() {
        return value.one_of(&OPEN).map(|()| Auth::Open);
    }
    let table = value.table()?;
    let auth = match (table.get("users"), table.get("upstream")) {
        (Some(file), None) => basic(&table, &file),
        (None, Some(upstream)) => forward(&table, &upstream, upstreams),
        (Some(_), Some(_)) => {
            table.report_error("users", "excludes `upstream`: a request is authenticated by one of them");
            None
        }
        (None, None) => {
            table.report_error(
                "users",
                "missing: write users = \"/path/of/htpasswd\", or upstream for an authentication service",
            );
            None
        }
    };
    table.finish();
    auth
}

/// Reads authentication by password: `file` is the value of `users`, the path of a file in the format of htpasswd,
/// which is read. The realm is `restricted` by default. `None` if the file cannot be read or is not valid, which is
/// reported.
fn basic(table: &Table<'_, '_>, file: &Value<'_, '_>) -> Option<Auth> {
    let text = |key| table.get(key).and_then(|value| value.text()).map(String::from);
    let (realm, user_field) = (text("realm"), text("user_header"));
    let path = file.path()?;
    let found = std::fs::read_to_string(&path).map_err(|why| format!("cannot be read: {why}"));
    match found.and_then(|text| users(&text).map_err(|why| why.to_string())) {
        Ok(users) => {
            let realm = realm.unwrap_or_else(|| "restricted".into());
            Some(Auth::Basic(BasicAuth { realm, users, user_field }))
        }
        Err(why) => {
            file.report_error(&why);
            None
        }
    }
}

/// Reads authentication by a service. `path` and `copy` have defaults for a known `service`; otherwise nothing is
/// copied by default. An upstream that is named by its address is appended to `upstreams`. `None` if the path is
/// missing or the upstream is not valid, which is reported.
fn forward(table: &Table<'_, '_>, upstream: &Value<'_, '_>, upstreams: &mut Vec<Upstream>) -> Option<Auth> {
    let service = table.get("service").and_then(|value| value.one_of(&NAMES)).map(|at| SERVICES[at]);
    let path = table.get("path").and_then(|value| value.text());
    let copy = table.get("copy").map(|value| {
        let names = value.list();
        names.iter().filter_map(Value::text).map(String::from).collect()
    });
    let Some(path) = path.or(service.map(|(_, path, _)| path)) else {
        table.report_error(
            "path",
            "missing: write the path of the authentication request, or service = \"authelia\" or \"authentik\"",
        );
        return None;
    };
    let usual = || service.map(|(_, _, names)| names.iter().map(|name| (*name).to_owned()).collect());
    let upstream = upstream_name(upstream, upstreams)?;
    let copy = copy.or_else(usual).unwrap_or_default();
    Some(Auth::Forward(ForwardAuth { upstream, path: path.to_owned(), copy }))
}

/// Reads the table `rate` of a site. A limit that is missing or not valid is `None`; the latter is reported.
fn rates(table: &Table<'_, '_>) -> RateLimits {
    let limits = RateLimits {
        client: rate(table, "client", "client_burst"),
        site: rate(table, "site", "site_burst"),
        concurrent: count(table, "concurrent"),
    };
    table.finish();
    limits
}

/// Reads the table `rate` of a listener that forwards TCP. A limit that is missing or not valid is `None`; the latter
/// is reported.
pub(super) fn connection_limits(table: &Table<'_, '_>) -> ConnectionLimits {
    let limits = ConnectionLimits {
        client: rate(table, "client", "client_burst"),
        client_concurrent: count(table, "client_concurrent"),
        concurrent: count(table, "concurrent"),
    };
    table.finish();
    limits
}

/// Reads a rate under `key`, and its burst under `burst_key`; without a burst it is that of the rate by default. `None`
/// without a valid rate. A burst without a rate is reported.
fn rate(table: &Table<'_, '_>, key: &'static str, burst_key: &'static str) -> Option<Rate> {
    let form = "not a valid rate: expected one such as 10/s, 600/m or 100/h";
    let rate: Option<Rate> = table.get(key).and_then(|value| value.parse(form));
    let burst = table.get(burst_key);
    if burst.is_some() && table.get(key).is_none() {
        table.report_error(burst_key, &format!("has no effect without `{key}`: add it, or leave this out"));
    }
    match (rate, burst.and_then(|value| value.number())) {
        (Some(rate), Some(burst)) => Some(rate.with_burst(burst as u32)),
        (rate, _) => rate,
    }
}

/// Reads a whole number. `None` if the key is missing or the value not valid, which is reported.
fn count(table: &Table<'_, '_>, key: &'static str) -> Option<u32> {
    table.get(key).and_then(|value| value.number()).map(|count| count as u32)
}

/// Reads the value of `compression`: `true` for the defaults, `false`, or a table, whose missing keys have the
/// defaults. `None` if it is `false` or not valid; the latter is reported.
pub(super) fn compression(value: &Value<'_, '_>) -> Option<Compression> {
    if let Some(on) = value.value.as_bool() {
        return on.then(Compression::default);
    }
    let table = value.table()?;
    let mut compression = Compression::default();
    if let Some(value) = table.get("codings") {
        compression.codings = value.list().iter().filter_map(|coding| coding.one_of(&CODINGS)).collect();
    }
    if let Some(least) = table.get("least").and_then(|value| value.size()) {
        compression.least = least;
    }
    table.finish();
    Some(compression)
}
