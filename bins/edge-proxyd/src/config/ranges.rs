//! The reader of the keys `allow` and `deny`.

use super::document::Table;
use edge_proxy::config::Access;

/// Reads the address lists `allow` and `deny` of a listener, a site or a route. A missing list is empty. An empty
/// `allow` in the file is reported, since it would allow everyone.
pub(super) fn access(table: &Table<'_, '_>) -> Access {
    let ranges = |key| table.get(key).map(|value| value.ranges());
    // An empty list would allow everyone, which is never the intention.
    let allow = ranges("allow");
    if table.get("allow").is_some_and(|value| value.value.as_array().is_some_and(|array| array.is_empty())) {
        table.report_error("allow", "empty: list the ranges to allow, or leave it out to allow everyone");
    }
    Access { allow: allow.unwrap_or_default(), deny: ranges("deny").unwrap_or_default() }
}
