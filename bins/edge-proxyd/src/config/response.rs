//! The readers of the policies for browsers of a site, such as `hsts`.

use super::document::Table;
use super::keys::{Key, Kind};
use edge_proxy::config::{Hsts, ResponsePolicies};

/// The keys of `hsts` of a site.
pub(super) static HSTS: &[Key] = &[
    Key::new("max_age", Kind::Duration),
    Key::new("include_subdomains", Kind::Boolean),
    Key::new("preload", Kind::Boolean),
];

/// Reads the policies for browsers of a site.
pub(super) fn policies(table: &Table<'_, '_>) -> ResponsePolicies {
    let mut policies = ResponsePolicies::default();
    policies.hsts = table.table("hsts").map(|table| hsts(&table));
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
