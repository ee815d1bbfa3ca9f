//! The readers of the policies for browsers of a site, such as `hsts`.

use super::document::Table;
use super::keys::{Key, Kind};
use edge_proxy::config::{AllowedOrigin, Hsts, PermissionsPolicy, ResponsePolicies};

/// The keys of `hsts` of a site.
pub(super) static HSTS: &[Key] = &[
    Key::new("max_age", Kind::Duration),
    Key::new("include_subdomains", Kind::Boolean),
    Key::new("preload", Kind::Boolean),
];

/// The kind of value of `permissions` of a site: lists of origins by the name of a feature.
pub(super) const PERMISSIONS: Kind = Kind::Named(&Kind::List(&Kind::Text));

/// Reads the policies for browsers of a site.
pub(super) fn policies(table: &Table<'_, '_>) -> ResponsePolicies {
    let mut policies = ResponsePolicies::default();
    policies.hsts = table.table("hsts").map(|table| hsts(&table));
    policies.permissions = table.table("permissions").and_then(|table| permissions(&table));
    policies
}

/// Reads the table `hsts`. `max_age` is 365 days by default; the other keys are false.
fn hsts(table: &Table<'_, '_>) -> Hsts {
    let boolean = |key| table.get(key).and_then(|value| value.boolean()).unwrap_or(false);
    let hsts = Hsts {
        max_age: table
            .get("max_age")
            .and_then(|value| value.duration())
            .map_or(31_536_000, |duration| duration.as_secs()),
        include_subdomains: boolean("include_subdomains"),
        preload: boolean("preload"),
    };
    table.finish();
    hsts
}

/// Reads the table `permissions`. Features and origins that are not valid are reported. `None` if no feature is valid,
/// which is not reported once more.
fn permissions(table: &Table<'_, '_>) -> Option<PermissionsPolicy> {
    let mut policy = PermissionsPolicy::default();
    let mut reported = false;
    for (feature, value) in table.all() {
        let mut origins = Vec::new();
        for item in value.list() {
            let Some(text) = item.text() else { continue };
            match text.parse::<AllowedOrigin>() {
                Ok(origin) => origins.push(origin),
                Err(why) => item.report_error(&why.to_string()),
            }
        }
        if let Err(why) = policy.allow(feature, origins) {
            value.report_error(&why.to_string());
            reported = true;
        }
    }
    (!reported || !policy.is_empty()).then_some(policy)
}
