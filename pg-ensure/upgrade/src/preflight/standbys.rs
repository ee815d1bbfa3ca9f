//! Preflight checks of what follows the old cluster, and of indexes.

use super::finding::{FindingList, listed};
use crate::facts::{Catalog, Facts};

impl FindingList<'_> {
    /// Reports attached standbys, which cannot follow the new cluster. That commits would wait for synchronous ones
    /// requires consent.
    pub(super) fn standbys(&mut self, catalog: &Catalog) {
        if !catalog.standbys.is_empty() {
            self.warning(
                "standbys",
                format!(
                    "standbys are attached: {}; they cannot follow the new cluster",
                    listed(&catalog.standbys)
                ),
                "make them anew from the new cluster",
            );
        }
        if !catalog.synchronous_standby_names.is_empty() {
            self.consent(
                "synchronous-standbys",
                format!(
                    "synchronous_standby_names is {:?}: after the upgrade every commit of a client waits until such standbys \
                     are made anew",
                    catalog.synchronous_standby_names
                ),
                "set synchronous_standby_names = '' until they are there",
            );
        }
    }

    /// Reports invalid indexes, which are not transferred, and for an upgrade from before 18 to 18 or later what the new
    /// version of Unicode and the other locale provider of full text search change.
    pub(super) fn indexes(&mut self, facts: &Facts, catalog: &Catalog) {
        let within = |all: &[(String, String)]| -> Vec<String> {
            all.iter().map(|(database, index)| format!("{index} in database {database:?}")).collect()
        };
        if !catalog.invalid_indexes.is_empty() {
            self.warning(
                "invalid-index",
                format!(
                    "indexes are invalid and are not transferred: {}",
                    listed(&within(&catalog.invalid_indexes))
                ),
                "REINDEX INDEX or DROP INDEX for each",
            );
        }
        if facts.from.number() >= 18 || facts.to.number() < 18 {
            return;
        }
        let of_databases = catalog.databases.iter().filter(|one| one.provider == "b").map(|one| &one.name);
        let of_columns = catalog.collations.iter().filter(|(_, provider)| provider == "b");
        let mut builtin: Vec<String> =
            of_databases.chain(of_columns.map(|(name, _)| name)).cloned().collect();
        builtin.sort_unstable();
        builtin.dedup();
        if !builtin.is_empty() {
            self.warning(
                "unicode",
                format!(
                    "{} has a later version of Unicode, by which the builtin locale provider changes case and matches \
                     patterns: {}; indexes that pg_upgrade lists for it are rebuilt",
                    facts.to,
                    listed(&builtin)
                ),
                "",
            );
        }
        if !catalog.text_indexes.is_empty() {
            self.warning(
                "text-search",
                format!(
                    "full text search and pg_trgm of {} use the locale provider of the database, which is not libc: {}",
                    facts.to,
                    listed(&within(&catalog.text_indexes))
                ),
                "these indexes are rebuilt; compute stored tsvector columns anew",
            );
        }
    }
}
