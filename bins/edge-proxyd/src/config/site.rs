//! The readers of `[[site]]` and `[[site.route]]`.

use super::access;
use super::certificates;
use super::content::content;
use super::document::{Table, Value};
use super::keys::{Key, Kind, words};
use super::listen::{SITE_TIMEOUTS, site_timeouts};
use super::ranges;
use super::response;
use super::rewrite::{self, COOKIES, EDITS, edits};
use super::upstream::{REFERRED, tcp_upstream_name, upstream_name};
use edge_proxy::config::{
    Action, CaseSensitivity, Maintenance, PathMatch, PlainHttp, Reject, Response, Route, RouteCompression,
    Satisfy, Site, Timeouts, Upstream,
};
use edge_proxy::{CertificateFiles, ConfigPath};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The keys of `[[site]]`.
pub(super) static SITE: &[Key] = &[
    Key::required("hosts", Kind::List(&Kind::Form("^[^/\\s]+$"))),
    Key::new("name", Kind::Text),
    Key::new("listen", Kind::List(&Kind::Text)),
    Key::new("plain", Kind::Word(&const { words(&PLAINS) })),
    Key::new("allow", Kind::List(&Kind::Range)),
    Key::new("deny", Kind::List(&Kind::Range)),
    Key::new("satisfy", SATISFY),
    Key::new("certificate", Kind::Path),
    Key::new("key", Kind::Path),
    Key::new("client_certificates", Kind::Table(certificates::KEYS)),
    Key::new("reject", REJECT),
    Key::new("early_data", Kind::Boolean),
    Key::new("body_limit", Kind::Size),
    Key::new("timeouts", Kind::Table(SITE_TIMEOUTS)),
    Key::new("auth", access::AUTH),
    Key::new("rate", Kind::Table(access::RATES)),
    Key::new("hsts", Kind::Table(response::HSTS)),
    Key::new("permissions", response::PERMISSIONS),
    Key::new("compression", access::COMPRESSION),
    Key::new("maintenance", Kind::Table(MAINTENANCE)),
    Key::new("error_page", Kind::Tables(rewrite::ERROR_PAGE)),
    Key::new("upgrade", Kind::List(&Kind::Text)),
    Key::new("request_headers", Kind::Table(EDITS)),
    Key::new("response_headers", Kind::Table(EDITS)),
    Key::new("passthrough", REFERRED),
    Key::new("upstream", REFERRED),
    Key::new("redirect", Kind::Text),
    Key::new("status", REDIRECT_STATUS),
    Key::new("respond", Kind::Table(RESPOND)),
    Key::new("drop", Kind::Boolean),
    Key::new("route", Kind::Tables(ROUTE)),
];

/// The keys that are valid in a route.
static ROUTE: &[Key] = &[
    Key::new("path", Kind::Text),
    Key::new("exact", Kind::Text),
    Key::new("begins", Kind::Text),
    Key::new("case", Kind::Word(&const { words(&CASES) })),
    Key::new("allow", Kind::List(&Kind::Range)),
    Key::new("deny", Kind::List(&Kind::Range)),
    Key::new("satisfy", SATISFY),
    Key::new("require_certificate", Kind::Boolean),
    Key::new("methods", Kind::List(&Kind::Text)),
    Key::new("auth", access::AUTH),
    Key::new("upgrade", Kind::List(&Kind::Text)),
    Key::new("strip_prefix", Kind::Text),
    Key::new("add_prefix", Kind::Text),
    Key::new("cookies", Kind::Table(COOKIES)),
    Key::new("timeouts", Kind::Table(SITE_TIMEOUTS)),
    Key::new("compression", access::COMPRESSION),
    Key::new("body_limit", Kind::Size),
    Key::new("request_headers", Kind::Table(EDITS)),
    Key::new("response_headers", Kind::Table(EDITS)),
    Key::new("upstream", REFERRED),
    Key::new("redirect", Kind::Text),
    Key::new("status", REDIRECT_STATUS),
    Key::new("respond", Kind::Table(RESPOND)),
    Key::new("drop", Kind::Boolean),
];

/// The kind of the status of a redirect.
const REDIRECT_STATUS: Kind = Kind::Number(300, 399);
/// The kind of the status of a response that the configuration defines.
const ANSWER_STATUS: Kind = Kind::Number(200, 599);

/// The keys of `respond`.
static RESPOND: &[Key] = &[
    Key::new("status", ANSWER_STATUS),
    Key::new("content_type", Kind::Text),
    Key::new("body", Kind::Text),
    Key::new("file", Kind::Path),
];

/// The keys of `maintenance`.
static MAINTENANCE: &[Key] = &[
    Key::new("status", ANSWER_STATUS),
    Key::new("content_type", Kind::Text),
    Key::new("body", Kind::Text),
    Key::new("file", Kind::Path),
    Key::new("retry_after", Kind::Duration),
];

/// The kind of `satisfy`.
const SATISFY: Kind = Kind::Word(&const { words(&SATISFIES) });

/// The kind of `reject`.
pub(super) const REJECT: Kind = Kind::Word(&const { words(&REJECTS) });

/// The words of `case`.
const CASES: [(&str, CaseSensitivity); 2] =
    [("exact", CaseSensitivity::Exact), ("guarded", CaseSensitivity::Guarded)];
/// The words of `plain`.
const PLAINS: [(&str, PlainHttp); 3] =
    [("redirect", PlainHttp::Redirect), ("serve", PlainHttp::Serve), ("refuse", PlainHttp::Refuse)];
/// The words of `satisfy`.
const SATISFIES: [(&str, Satisfy); 2] = [("all", Satisfy::All), ("any", Satisfy::Any)];
/// The words of `reject`.
const REJECTS: [(&str, Reject); 2] = [("silent", Reject::Silent), ("alert", Reject::Alert)];

/// Reads the certificate files that the sites of a file name: appends them to `all` without repetitions, and the chain
/// of each site to `of_sites` by its name. `sites` are the sites of this file, in its order. A certificate without its
/// key, or a key without certificate, is reported.
pub(super) fn certificate_files(
    root: &Table<'_, '_>,
    sites: &[Site],
    all: &mut Vec<CertificateFiles>,
    of_sites: &mut BTreeMap<String, PathBuf>,
) {
    let mut sites = sites.iter();
    for table in root.get("site").map(|value| value.tables()).unwrap_or_default() {
        let site = sites.next();
        let path = |key| table.get(key).map(|value| value.path());
        match (path("certificate"), path("key")) {
            (Some(Some(certificate)), Some(Some(key))) => {
                if site.is_some_and(|site| site.passthrough.is_some()) {
                    table.report_error(
                        "certificate",
                        "has no effect beside `passthrough`, whose TLS does not end here: leave one of the two out",
                    );
                }
                of_sites.extend(site.map(|site| (site.name.clone(), certificate.clone())));
                let files = CertificateFiles { certificate, key };
                if !all.contains(&files) {
                    all.push(files);
                }
            }
            (Some(_), None) => {
                table.report_error("certificate", "needs `key`: write the path of its private key too");
            }
            (None, Some(_)) => {
                table.report_error("key", "needs `certificate`: write the path of its chain too");
            }
            (None, None) | (Some(None), Some(_)) | (Some(_), Some(None)) => {}
        }
    }
}

/// Reads the sites of a file and appends them to `sites`. Upstreams that are named by their addresses are appended to
/// `upstreams`. `global` are the timeouts that sites inherit.
pub(super) fn sites(
    root: &Table<'_, '_>,
    sites: &mut Vec<Site>,
    upstreams: &mut Vec<Upstream>,
    global: Timeouts,
) {
    for table in root.get("site").map(|value| value.tables()).unwrap_or_default() {
        sites.push(site(sites.len(), &table, upstreams, global));
    }
}

/// Reads a site. `i` is its index among the sites of all files. Its name is by default its first host, or `site N` with
/// its number from 1. An action outside the routes becomes the last route, for the prefix `/`. Errors are reported, and
/// values that are not valid left out.
fn site(i: usize, table: &Table<'_, '_>, upstreams: &mut Vec<Upstream>, global: Timeouts) -> Site {
    table.place(ConfigPath::Site(i));
    let hosts = table.get("hosts").map(|value| value.list()).unwrap_or_default();
    let host = "not a valid host: expected a name such as example.org or *.example.org, or * for what no other site has, without scheme, port or path";
    let hosts: Vec<_> = hosts.iter().filter_map(|value| value.parse(host)).collect();
    let name = table.get("name").and_then(|value| value.text()).map(String::from);
    let name =
        name.or_else(|| hosts.first().map(ToString::to_string)).unwrap_or_else(|| format!("site {}", i + 1));
    let mut site = Site::new(name, hosts);
    site.plain = table.get("plain").and_then(|value| value.one_of(&PLAINS)).unwrap_or_default();
    site.listen = texts(table, "listen");
    if site.listen.is_empty() && table.get("listen").is_some_and(|value| value.value.is_array()) {
        table.report_error(
            "listen",
            "is empty: name the listeners that serve the site, or leave it out for all",
        );
    }
    site.access = ranges::access(table);
    site.satisfy = satisfy(table);
    site.client_certificates = certificates::read(table);
    site.reject = reject(table);
    site.early_data = table.get("early_data").and_then(|value| value.boolean()).unwrap_or(false);
    site.request_fields = edits(table, "request_headers");
    site.response_fields = edits(table, "response_headers");
    site.body_limit = table.get("body_limit").and_then(|value| value.size());
    site.passthrough = table.get("passthrough").and_then(|value| tcp_upstream_name(&value, upstreams));
    if let Some(protocols) = upgrade(table) {
        site.upgrade = protocols;
    }
    access::read(table, &mut site, upstreams);
    site.response_policies = response::policies(table);
    site.maintenance = table.table("maintenance").map(|table| maintenance(&table));
    site.error_pages = rewrite::error_pages(table);
    site.timeouts = table.table("timeouts").map(|timeouts| {
        if site.passthrough.is_some() {
            report_timeouts_of_requests(&timeouts);
        }
        site_timeouts(&timeouts, global)
    });
    let inherited = site.timeouts.unwrap_or(global);
    for table in table.get("route").map(|value| value.tables()).unwrap_or_default() {
        table.place(ConfigPath::Route(i, site.routes.len()));
        site.routes.push(route(&table, upstreams, inherited));
    }
    // The action of a site outside its routes becomes one more route, for every path.
    if let Some(action) = action(table, upstreams) {
        table.place(ConfigPath::Route(i, site.routes.len()));
        site.routes.push(Route::new(PathMatch::Prefix("/".into()), action));
    }
    table.finish();
    site
}

/// Reports the timeouts that a site with `passthrough` cannot have, since they concern requests.
fn report_timeouts_of_requests(timeouts: &Table<'_, '_>) {
    for value in ["body", "response"].into_iter().filter_map(|key| timeouts.get(key)) {
        value.report_error(
            "has no effect beside `passthrough`, whose requests are never seen here: write `connect` or `tunnel`, or leave it out",
        );
    }
}

/// Reads a route. `inherited` are the timeouts of its site. A route without a path or an action is reported, and gets
/// the prefix `/` or the action `drop` in its place. Several paths are reported too.
fn route(table: &Table<'_, '_>, upstreams: &mut Vec<Upstream>, inherited: Timeouts) -> Route {
    let text = |key| table.get(key).and_then(|value| value.text()).map(String::from);
    let path = match (text("path"), text("exact"), text("begins")) {
        (Some(prefix), None, None) => PathMatch::Prefix(prefix),
        (None, Some(exact), None) => PathMatch::Exact(exact),
        (None, None, Some(begin)) => PathMatch::Begins(begin),
        (None, None, None) => {
            table.report_error("path", "missing: write path = \"/prefix\", or exact = \"/path\"");
            PathMatch::Prefix("/".into())
        }
        (path, exact, _) => {
            let key = if path.is_some() && exact.is_some() { "exact" } else { "begins" };
            table.report_error(key, "one of several paths: `path`, `exact` and `begins` exclude each other");
            PathMatch::Prefix(path.or(exact).unwrap_or_default())
        }
    };
    let mut route = Route::new(
        path,
        action(table, upstreams).unwrap_or_else(|| {
            table.report_error(
                "upstream",
                "missing: a route needs one of upstream, redirect, respond and drop",
            );
            Action::Drop
        }),
    );
    route.case = table.get("case").and_then(|value| value.one_of(&CASES)).unwrap_or_default();
    route.access = ranges::access(table);
    route.satisfy = satisfy(table);
    route.require_certificate =
        table.get("require_certificate").and_then(|value| value.boolean()).unwrap_or(false);
    route.methods = texts(table, "methods");
    if route.methods.is_empty() && table.get("methods").is_some_and(|value| value.value.is_array()) {
        table.report_error(
            "methods",
            "is empty: write the methods that the route takes, or leave it out for all",
        );
    }
    route.strip_prefix = text("strip_prefix");
    route.add_prefix = text("add_prefix");
    route.cookies = rewrite::cookies(table);
    route.timeouts = table.table("timeouts").map(|table| site_timeouts(&table, inherited));
    if let Some(value) = table.get("compression") {
        route.compression = access::compression(&value).map_or(RouteCompression::Off, RouteCompression::On);
    }
    route.request_fields = edits(table, "request_headers");
    route.response_fields = edits(table, "response_headers");
    route.auth = access::auth(table, upstreams);
    route.upgrade = upgrade(table);
    route.body_limit = table.get("body_limit").and_then(|value| value.size());
    table.finish();
    route
}

/// Reads the key `upgrade`, the protocols to which clients may switch; an empty list forbids all. `None` if the key is
/// missing.
fn upgrade(table: &Table<'_, '_>) -> Option<Vec<String>> {
    let list = table.get("upgrade")?.list();
    Some(list.iter().filter_map(Value::text).map(String::from).collect())
}

/// Reads the action of a site or a route: `upstream`, `redirect`, `respond` or `drop = true`. `None` if there is none.
/// Several actions are reported, and the first in this order is returned. A redirect has the status 308 by default;
/// `status` without `redirect` is reported.
fn action(table: &Table<'_, '_>, upstreams: &mut Vec<Upstream>) -> Option<Action> {
    let mut actions = Vec::new();
    if let Some(value) = table.get("upstream") {
        actions.push(Action::Forward { upstream: upstream_name(&value, upstreams).unwrap_or_default() });
    }
    let status = table.get("status");
    if let Some(value) = table.get("redirect") {
        let status = status.as_ref().map_or(Some(308), Value::number).unwrap_or(308);
        let to = value.text().unwrap_or_default();
        actions.push(Action::Redirect { status: status as u16, to: to.into() });
    } else if let Some(status) = status {
        status.report_error("has no effect without `redirect`");
    }
    if let Some(table) = table.table("respond") {
        actions.push(Action::Respond(response(&table, 200)));
        table.finish();
    }
    if table.get("drop").and_then(|value| value.boolean()) == Some(true) {
        actions.push(Action::Drop);
    }
    if actions.len() > 1 {
        table.report_error(
            "upstream",
            "one of several actions: upstream, redirect, respond and drop exclude each other",
        );
    }
    actions.into_iter().next()
}

/// Reads a response: its status, `usual` if it is missing or not valid, and its content.
fn response(table: &Table<'_, '_>, usual: u64) -> Response {
    let status = table.get("status").map_or(Some(usual), |status| status.number()).unwrap_or(usual);
    let (body, content_type) = content(table);
    Response { status: status as u16, content_type, body }
}

/// Reads the table `maintenance`. The status is 503 by default, and `retry_after` is rounded down to whole seconds.
fn maintenance(table: &Table<'_, '_>) -> Maintenance {
    let response = response(table, 503);
    let retry_after = table.get("retry_after").and_then(|value| value.duration());
    table.finish();
    Maintenance {
        response,
        retry_after: retry_after.map(|after| after.as_secs().min(u32::MAX.into()) as u32),
    }
}

/// Reads the key `reject`. The default is that of [`Reject`].
pub(super) fn reject(table: &Table<'_, '_>) -> Reject {
    table.get("reject").and_then(|value| value.one_of(&REJECTS)).unwrap_or_default()
}

/// Reads the key `satisfy`. The default is that of [`Satisfy`].
fn satisfy(table: &Table<'_, '_>) -> Satisfy {
    table.get("satisfy").and_then(|value| value.one_of(&SATISFIES)).unwrap_or_default()
}

/// Reads a list of strings. Empty if the key is missing. Items that are not strings are reported and left out.
fn texts(table: &Table<'_, '_>, key: &'static str) -> Vec<String> {
    let values = table.get(key).map(|value| value.list()).unwrap_or_default();
    values.iter().filter_map(Value::text).map(String::from).collect()
}
