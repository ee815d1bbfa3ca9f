//! Reading of the table `priority`: urgencies of responses by their media type.

use super::document::Table;
use super::keys::Kind;
use edge_proxy::config::MediaRange;
use std::collections::BTreeMap;

/// The kind of `priority`.
pub(super) const PRIORITY: Kind = Kind::Named(&Kind::Number(0, 7));

/// Reads the table `priority`. Media types and urgencies that are not valid are reported and left out, and so are media
/// types that differ in letter case only.
pub(super) fn priority(table: &Table<'_, '_>) -> BTreeMap<MediaRange, u8> {
    let mut all = BTreeMap::new();
    for (name, value) in table.all() {
        let urgency = value.number();
        match name.parse::<MediaRange>() {
            Err(why) => table.report_error(name, &why.to_string()),
            Ok(range) if all.contains_key(&range) => {
                table.report_error(
                    name,
                    "occurs twice, since letter case does not matter: leave one of them out",
                );
            }
            Ok(range) => all.extend(urgency.map(|urgency| (range, urgency as u8))),
        }
    }
    all
}
