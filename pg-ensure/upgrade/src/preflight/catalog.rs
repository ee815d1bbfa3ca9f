//! Preflight checks of the content of the old cluster.

use super::finding::{FindingList, listed};
use crate::conf::{ParameterChange, parameter_change};
use crate::facts::{Backup, Catalog, Facts, ServerState};
use std::collections::BTreeMap;

impl FindingList<'_> {
    /// Reports the findings about what was queried from the old server: databases, settings, libraries, locales, types,
    /// extensions and slots, among others.
    pub(super) fn catalog(&mut self, facts: &Facts, catalog: &Catalog) {
        self.note("superuser", format!("the superuser is {:?} and stays so", catalog.superuser));
        self.databases(catalog);
        self.settings(facts, catalog);
        self.libraries(facts);
        self.locales(facts, catalog);
        self.builds(facts, catalog);
        self.types(facts, catalog);
        self.next_version(facts, catalog);
        if let Some(there) = &facts.new_programs.extensions {
            for (extension, databases) in &catalog.extensions {
                if !there.contains(extension) {
                    self.blocker(
                        "extension",
                        format!(
                            "{extension}, installed in {}, is not there for {}",
                            listed(databases),
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
                    listed(&catalog.unlogged),
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
        if let Some(ServerState::Live { .. }) = facts.old.as_ref().map(|old| &old.running) {
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

    /// Reports databases that `pg_upgrade` cannot process: invalid ones, ones that accept no connections, and a
    /// `template0` that does.
    fn databases(&mut self, catalog: &Catalog) {
        for database in catalog.databases.iter().filter(|database| database.invalid) {
            self.blocker(
                "invalid-database",
                format!("the database {:?} is invalid: a DROP DATABASE was interrupted", database.name),
                format!("DROP DATABASE {}", identifier(&database.name)),
            );
        }
        let closed = catalog.databases.iter().filter(|one| !one.connectable && !one.invalid);
        for database in closed.filter(|database| database.name != "template0") {
            self.blocker(
                "closed-database",
                format!("the database {:?} allows no connections, which pg_upgrade refuses", database.name),
                format!(
                    "ALTER DATABASE {0} ALLOW_CONNECTIONS true, or DROP DATABASE {0}",
                    identifier(&database.name)
                ),
            );
        }
        if catalog.databases.iter().any(|one| one.name == "template0" && one.connectable) {
            self.blocker(
                "closed-database",
                "template0 allows connections, which pg_upgrade refuses".to_owned(),
                "ALTER DATABASE template0 ALLOW_CONNECTIONS false",
            );
        }
    }

    /// Reports settings of roles, databases and functions that the new server rejects, and the number of those checked.
    fn settings(&mut self, facts: &Facts, catalog: &Catalog) {
        for (setting, why) in &facts.refused_settings {
            let fate = match parameter_change(&setting.name, facts.from, facts.to) {
                Some(ParameterChange::Renamed(new)) => {
                    format!("; set {new} there after the upgrade, which replaces it")
                }
                Some(ParameterChange::Removed(instead)) => format!("; {instead}"),
                None => String::new(),
            };
            self.blocker(
                "stored-setting",
                format!(
                    "{} has {} = {:?}, which {} refuses: {why}",
                    setting.holder, setting.name, setting.value, facts.to
                ),
                format!("{}{fate}", setting.reset),
            );
        }
        if !catalog.settings.is_empty() {
            let count = catalog.settings.len();
            self.note(
                "stored-setting",
                format!("{count} settings of roles, databases and functions were checked"),
            );
        }
    }

    /// Reports libraries that are not installed for the new server.
    fn libraries(&mut self, facts: &Facts) {
        for library in &facts.missing_libraries {
            self.blocker(
                "library",
                format!("the library {library:?}, which settings or functions load, is not there for {}", facts.to),
                format!(
                    "install its package for {}, or take it out of shared_preload_libraries and drop what uses it",
                    facts.to
                ),
            );
        }
    }

    /// Reports columns of types that `pg_upgrade` cannot transfer, and objects and subscriptions that it rejects.
    fn types(&mut self, facts: &Facts, catalog: &Catalog) {
        let aclitem_stays = facts.from.number() >= 16 || facts.to.number() < 16;
        let columns: Vec<String> = catalog
            .columns
            .iter()
            .filter(|(_, column)| !(aclitem_stays && column.ends_with(" aclitem")))
            .map(|(database, column)| format!("{column} in database {database:?}"))
            .collect();
        if !columns.is_empty() {
            self.blocker(
                "column-type",
                format!(
                    "columns have types that refer to the catalog by number, or are rows of the system's own tables: {}",
                    listed(&columns)
                ),
                "ALTER TABLE … ALTER COLUMN … TYPE text, or drop the column; change it back after the upgrade",
            );
        }
        let within = |all: &[(String, String)]| -> Vec<String> {
            all.iter().map(|(database, object)| format!("{object} in database {database:?}")).collect()
        };
        if !catalog.nullable.is_empty() && facts.from.number() < 18 && facts.to.number() >= 18 {
            self.blocker(
                "not-null",
                format!(
                    "columns may be null where those of a parent table may not, which {} refuses: {}",
                    facts.to,
                    listed(&within(&catalog.nullable))
                ),
                "ALTER TABLE … ALTER COLUMN … SET NOT NULL on each",
            );
        }
        if !catalog.removed.is_empty() && facts.from.number() < 14 && facts.to.number() >= 14 {
            self.blocker(
                "removed-object",
                format!("{} cannot take over: {}", facts.to, listed(&within(&catalog.removed))),
                "drop them; make conversions anew after the upgrade, and operators with two sides",
            );
        }
        let subscriptions: Vec<String> =
            catalog.subscriptions.iter().map(|(database, name)| format!("{name} in {database}")).collect();
        if !subscriptions.is_empty() && facts.from.slots_can_be_carried() {
            self.blocker(
                "subscriptions",
                format!("subscriptions are not in the state ready: {}", listed(&subscriptions)),
                "wait until pg_subscription_rel.srsubstate is r everywhere, or drop the subscription",
            );
        }
    }

    /// Notes the locales of the databases, and warns of changed or unrecorded collation versions.
    fn locales(&mut self, facts: &Facts, catalog: &Catalog) {
        let mut locales: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut moved: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
        for database in &catalog.databases {
            let (provider, locale) = match database.provider.as_str() {
                "i" => ("ICU", database.locale.as_deref().unwrap_or("")),
                "b" => ("builtin", database.locale.as_deref().unwrap_or("")),
                _ => ("libc", database.collate.as_str()),
            };
            let text = format!("{}, {provider} {locale}, LC_CTYPE {}", database.encoding, database.ctype);
            locales.entry(text).or_default().push(database.name.clone());
            if let (Some(recorded), Some(actual)) = (&database.collation_recorded, &database.collation_actual)
                && recorded != actual
            {
                moved.entry((recorded, actual)).or_default().push(database.name.clone());
            }
        }
        for (locale, databases) in locales {
            self.note("locale", format!("{}: {locale}", listed(&databases)));
        }
        for ((recorded, actual), databases) in moved {
            self.warning(
                "collation-version",
                format!(
                    "{}: made with collation version {recorded}, the old server has {actual} now: indexes may be in the \
                     wrong order already",
                    listed(&databases)
                ),
                "they are rebuilt by this upgrade; look for duplicates under unique indexes",
            );
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

    /// Reports features that the old cluster uses and the new programs were built without: ICU, lz4, TLS.
    fn builds(&mut self, facts: &Facts, catalog: &Catalog) {
        let Some(built) = &facts.new_programs.built_with else { return };
        let has = |option: &str| built.contains(option);
        // From 16 on, ICU is included unless it was disabled; before, only if it was enabled.
        let icu = if facts.to.number() >= 16 { !has("--without-icu") } else { has("--with-icu") };
        let of_databases =
            catalog.databases.iter().filter(|one| one.provider == "i").map(|one| one.name.clone());
        let of_columns = catalog.collations.iter().filter(|(_, provider)| provider == "i");
        let mut asks: Vec<String> = of_databases.chain(of_columns.map(|(name, _)| name.clone())).collect();
        asks.sort_unstable();
        asks.dedup();
        if !icu && !asks.is_empty() {
            self.blocker(
                "locale",
                format!(
                    "ICU is used by databases or columns of {}, and the programs of {} were built without it",
                    listed(&asks),
                    facts.to
                ),
                format!("install programs of {} with ICU and name them by --new-bin", facts.to),
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

    /// Reports replication slots that are lost, invalid or have unread changes.
    fn slots(&mut self, facts: &Facts, catalog: &Catalog) {
        if !catalog.logical_slots.is_empty() {
            let names = listed(&catalog.logical_slots);
            if facts.from.slots_can_be_carried() {
                self.unread_slots(catalog);
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

    /// Reports slots without a consumer that have or may have unread changes, which `pg_upgrade` rejects once the old
    /// server is stopped.
    fn unread_slots(&mut self, catalog: &Catalog) {
        for (slot, unsure) in &catalog.unread_slots {
            let drop = format!("SELECT pg_drop_replication_slot({})", literal(slot));
            match unsure {
                None => self.blocker(
                    "logical-slots",
                    format!("the slot {slot:?} has no consumer and changes that were not read, which pg_upgrade refuses"),
                    format!("let its consumer catch up, or {drop}"),
                ),
                Some(why) => self.consent(
                    "unread-slots",
                    format!(
                        "the slot {slot:?} has no consumer and may have changes that were not read, which pg_upgrade refuses \
                         with the server stopped ({why})"
                    ),
                    &format!("let its consumer catch up, or {drop}"),
                ),
            }
        }
    }

    /// Reports what the release notes of PostgreSQL 19 reject or warn of. Nothing for other versions.
    fn next_version(&mut self, facts: &Facts, catalog: &Catalog) {
        if facts.from.number() >= 19 || facts.to.number() < 19 {
            return;
        }
        if !catalog.broken_names.is_empty() {
            self.blocker(
                "names",
                format!(
                    "19 refuses names with a carriage return or line feed: {}",
                    listed(&catalog.broken_names)
                ),
                "rename them",
            );
        }
        let indexes: Vec<String> =
            catalog.inet_indexes.iter().map(|(database, index)| format!("{index} in {database}")).collect();
        if !indexes.is_empty() {
            self.blocker(
                "btree-gist",
                format!(
                    "19 refuses indexes by btree_gist's gist_inet_ops and gist_cidr_ops: {}",
                    listed(&indexes)
                ),
                "drop them, and make them anew with inet_ops after the upgrade",
            );
        }
        let mule: Vec<String> = catalog
            .databases
            .iter()
            .filter(|database| database.encoding == "MULE_INTERNAL")
            .map(|database| database.name.clone())
            .collect();
        if !mule.is_empty() {
            self.blocker(
                "encoding",
                format!("19 no longer has the encoding MULE_INTERNAL: {}", listed(&mule)),
                "dump these databases and restore them in UTF8",
            );
        }
        if !catalog.md5_roles.is_empty() {
            self.warning(
                "md5",
                format!(
                    "passwords are stored as MD5 hashes, which 19 warns of: {}",
                    listed(&catalog.md5_roles)
                ),
                "set these passwords anew with password_encryption = scram-sha-256",
            );
        }
    }
}

/// Quotes a name as an SQL identifier.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text as an SQL string constant.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
