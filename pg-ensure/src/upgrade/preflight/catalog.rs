//! What stands in the way within a cluster: what the old server says about itself.

use super::finding::List;
use crate::upgrade::facts::{Backup, Catalog, Facts, Running};

impl List<'_> {
    pub(super) fn catalog(&mut self, facts: &Facts, catalog: &Catalog) {
        self.note("superuser", format!("the superuser is {:?} and stays so", catalog.superuser));
        self.locales(facts, catalog);
        self.builds(facts, catalog);
        if let Some(there) = &facts.new_programs.extensions {
            for (extension, databases) in &catalog.extensions {
                if !there.contains(extension) {
                    self.blocker(
                        "extension",
                        format!(
                            "{extension}, installed in {}, is not there for {}",
                            databases.join(", "),
                            facts.to
                        ),
                        format!("install it for {}, or DROP EXTENSION {extension}", facts.to),
                    );
                }
            }
        }
        if !catalog.extensions.is_empty() {
            let names: Vec<&str> = catalog.extensions.iter().map(|(name, _)| name.as_str()).collect();
            self.note("extension", format!("installed: {}", names.join(", ")));
        }
        if !catalog.unlogged.is_empty()
            && !facts.mode.keeps_the_old()
            && matches!(facts.backup, Backup::Base(_))
        {
            self.warning(
                "unlogged",
                format!(
                    "databases with unlogged tables: {}; in mode {} the backup may become the only way back, and no base backup has \
                     their rows",
                    catalog.unlogged.join(", "),
                    facts.mode
                ),
                "take another mode or --backup-dump if the rows matter",
            );
        }
        if !facts.unknown_options.is_empty() {
            let version = facts.new_programs.version.as_deref().unwrap_or_default();
            self.blocker(
                "minor-version",
                format!(
                    "columns have the options {}, which {version} does not know: it is older than the old version's fixes",
                    facts.unknown_options.join(", ")
                ),
                format!("install the newest minor version of {}", facts.to),
            );
        }
        if !catalog.prepared.is_empty() {
            self.blocker(
                "prepared-transactions",
                format!("prepared transactions: {}", catalog.prepared.join(", ")),
                "COMMIT PREPARED or ROLLBACK PREPARED each of them",
            );
        }
        self.slots(facts, catalog);
        if let Some(Running::Live { .. }) = facts.old.as_ref().map(|old| &old.running) {
            self.note(
                "sessions",
                format!(
                    "{} sessions, the longest transaction {} s; they end when the server is stopped",
                    catalog.sessions, catalog.longest
                ),
            );
            if matches!(facts.backup, Backup::Base(_))
                && (catalog.wal_level == "minimal" || catalog.wal_senders == 0)
            {
                self.blocker(
                    "backup",
                    format!("wal_level {}, max_wal_senders {}: pg_basebackup needs replica and 2", catalog.wal_level, catalog.wal_senders),
                    "set them and restart, take --backup-dump, or stop the server: it is then backed up on a private socket",
                );
            }
        }
    }

    fn locales(&mut self, facts: &Facts, catalog: &Catalog) {
        for database in &catalog.databases {
            let (provider, locale) = match database.provider.as_str() {
                "i" => ("ICU", database.locale.as_deref().unwrap_or("")),
                "b" => ("builtin", database.locale.as_deref().unwrap_or("")),
                _ => ("libc", database.collate.as_str()),
            };
            self.note(
                "locale",
                format!(
                    "{}: {}, {provider} {locale}, LC_CTYPE {}",
                    database.name, database.encoding, database.ctype
                ),
            );
            if let (Some(recorded), Some(actual)) = (&database.collation_recorded, &database.collation_actual)
                && recorded != actual
            {
                self.warning(
                    "collation-version",
                    format!(
                        "{} was made with collation version {recorded}, the old server has {actual} now: indexes may be in the \
                         wrong order already",
                        database.name
                    ),
                    "they are rebuilt by this upgrade; look for duplicates under unique indexes",
                );
            }
        }
        if !facts.from.records_collation_version() {
            self.warning(
                "collation-version",
                format!(
                    "{} does not record which version of a collation a database was made with",
                    facts.from
                ),
                "if the C library or ICU has changed, run REINDEX DATABASE afterwards",
            );
        }
    }

    fn builds(&mut self, facts: &Facts, catalog: &Catalog) {
        let Some(built) = &facts.new_programs.built_with else { return };
        let has = |option: &str| built.contains(option);
        // ICU is in unless it was left out since 16; before, only if it was asked for.
        let icu = if facts.to.number() >= 16 { !has("--without-icu") } else { has("--with-icu") };
        let asks: Vec<&str> = catalog
            .databases
            .iter()
            .filter(|database| database.provider == "i")
            .map(|d| d.name.as_str())
            .collect();
        if !icu && !asks.is_empty() {
            self.blocker(
                "locale",
                format!(
                    "{} use ICU, and the programs of {} were built without it",
                    asks.join(", "),
                    facts.to
                ),
                "take programs with ICU",
            );
        }
        if catalog.lz4 && !has("--with-lz4") {
            self.blocker(
                "compression",
                format!(
                    "columns are compressed by lz4, and the programs of {} were built without it",
                    facts.to
                ),
                "take programs with lz4",
            );
        }
        let tls = has("openssl");
        if catalog.ssl && !tls {
            self.blocker(
                "tls",
                format!("ssl is on, and the programs of {} were built without TLS", facts.to),
                "take programs with OpenSSL, or set ssl = off",
            );
        }
    }

    fn slots(&mut self, facts: &Facts, catalog: &Catalog) {
        if !catalog.logical_slots.is_empty() {
            let names = catalog.logical_slots.join(", ");
            if facts.from.slots_can_be_carried() {
                self.note(
                    "logical-slots",
                    format!("logical slots are carried over: {names}; their consumers must have caught up"),
                );
                if catalog.wal_level != "logical" {
                    self.blocker(
                        "logical-slots",
                        format!("wal_level is {}", catalog.wal_level),
                        "set wal_level = logical",
                    );
                }
            } else {
                self.consent(
                    "logical-slots",
                    format!("logical slots of {} cannot be carried over and are lost: {names}", facts.from),
                    "drop them, and set up their subscribers again afterwards",
                );
            }
        }
        if !catalog.invalid_slots.is_empty() && facts.from.slots_can_be_carried() {
            self.blocker(
                "logical-slots",
                format!(
                    "these slots are invalid, which pg_upgrade refuses: {}",
                    catalog.invalid_slots.join(", ")
                ),
                "SELECT pg_drop_replication_slot('<name>') for each",
            );
        }
        if !catalog.physical_slots.is_empty() {
            self.warning(
                "physical-slots",
                format!("physical slots are not carried over: {}", catalog.physical_slots.join(", ")),
                "make standbys anew from the new cluster",
            );
        }
    }
}
