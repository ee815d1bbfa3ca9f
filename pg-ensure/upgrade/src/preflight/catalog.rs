//! Preflight checks of the content of the old cluster.

use super::finding::{FindingList, listed};
use crate::conf::{ParameterChange, parameter_change};
use crate::facts::{Backup, Catalog, Database, Facts, ServerState, StoredSetting};
use std::collections::BTreeMap;

/// Maximum number of alike stored settings that are reported one by one.
const MANY_SETTINGS: usize = 5;

impl FindingList<'_> {
    /// Adds the findings about what was queried from the old server: superuser, databases, stored settings, libraries,
    /// locales, features of the build, types, privileges on parameters, changes of version 19, extensions, unlogged
    /// tables, column options, prepared transactions, slots, and, if the server runs, its sessions and whether it
    /// permits `pg_basebackup`.
    pub(super) fn catalog(&mut self, facts: &Facts, catalog: &Catalog) {
        self.note("superuser", format!("the superuser is {:?} and stays so", catalog.superuser));
        self.databases(facts, catalog);
        self.standbys(catalog);
        self.indexes(facts, catalog);
        self.settings(facts, catalog);
        self.parameter_grants(facts);
        self.libraries(facts);
        self.locales(facts, catalog);
        self.builds(facts, catalog);
        self.types(facts, catalog);
        self.next_version(facts, catalog);
        self.extensions(facts, catalog);
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
        if let Some(ServerState::Running { .. }) = facts.old.as_ref().map(|old| &old.running) {
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

    /// Adds a blocker for each installed extension that cannot be installed for the new server. Nothing if its
    /// extensions are not known.
    fn extensions(&mut self, facts: &Facts, catalog: &Catalog) {
        let Some(there) = &facts.new_programs.extensions else { return };
        for (extension, databases) in catalog.extensions.iter().filter(|(name, _)| !there.contains(name)) {
            self.blocker(
                "extension",
                format!("{extension}, installed in {}, is not there for {}", listed(databases), facts.to),
                format!("install it for {}, or DROP EXTENSION {extension}", facts.to),
            );
        }
    }

    /// Reports databases that `pg_upgrade` cannot process: invalid ones, ones that accept no connections, a `template0`
    /// that does, names with line ends, and templates that are missing or not marked as such.
    fn databases(&mut self, facts: &Facts, catalog: &Catalog) {
        let names = |is: fn(&Database) -> bool| -> Vec<String> {
            let found = catalog.databases.iter().filter(|database| is(database));
            found.map(|database| identifier(&database.name)).collect()
        };
        let invalid = names(|one| one.invalid);
        if !invalid.is_empty() {
            self.blocker(
                "invalid-database",
                format!(
                    "{} invalid: a DROP DATABASE was interrupted",
                    counted(&invalid, "the database", "databases")
                ),
                invalid.iter().map(|name| format!("DROP DATABASE {name}")).collect::<Vec<_>>().join("; "),
            );
        }
        let closed = names(|one| !one.connectable && !one.invalid && one.name != "template0");
        if !closed.is_empty() {
            let fix = match closed.as_slice() {
                [name] => format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true, or DROP DATABASE {name}"),
                _ => "ALTER DATABASE … ALLOW_CONNECTIONS true, or DROP DATABASE, for each".to_owned(),
            };
            self.blocker(
                "closed-database",
                format!(
                    "{} closed to all connections, which pg_upgrade refuses",
                    counted(&closed, "the database", "databases")
                ),
                fix,
            );
        }
        let broken: Vec<String> = catalog
            .databases
            .iter()
            .filter(|database| database.name.contains(['\n', '\r']))
            .map(|database| identifier(&database.name))
            .collect();
        if !broken.is_empty() && facts.to.number() < 19 {
            self.blocker(
                "names",
                format!(
                    "pg_upgrade refuses names of databases with a carriage return or line feed: {}",
                    listed(&broken)
                ),
                "rename them",
            );
        }
        self.templates(catalog);
        if catalog.template1_unmarked {
            self.blocker(
                "template",
                "the database template1 is not marked as a template, so that pg_upgrade cannot replace it"
                    .to_owned(),
                "ALTER DATABASE template1 IS_TEMPLATE true",
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

    /// Reports missing templates, each with a statement that creates it as a copy of the other template. If both are
    /// missing, it is a copy of `postgres`, or else of another database that accepts connections. The server permits
    /// that only while no other session is connected to the copied database.
    fn templates(&mut self, catalog: &Catalog) {
        // The catalog is empty only if it was read from the journal of an earlier version.
        if catalog.databases.is_empty() {
            return;
        }
        let has = |name: &str| catalog.databases.iter().any(|one| one.name == name);
        let open = || catalog.databases.iter().filter(|one| one.open());
        let any = open().find(|one| one.name == "postgres").or_else(|| open().next());
        let any = any.map_or("postgres", |one| &one.name);
        for (name, other) in [("template0", "template1"), ("template1", "template0")] {
            if has(name) {
                continue;
            }
            let connections = if name == "template0" { " ALLOW_CONNECTIONS false" } else { "" };
            let (source, after) = if has(other) {
                (other.to_owned(), String::new())
            } else {
                let any = identifier(any);
                let after = if name == "template1" {
                    "; then drop from it the objects that it has from there"
                } else {
                    ""
                };
                (any.clone(), format!(", while no other session is connected to {any}{after}"))
            };
            self.blocker(
                "template",
                format!("the database {name} is missing, which pg_upgrade needs"),
                format!("CREATE DATABASE {name} TEMPLATE {source} IS_TEMPLATE true{connections}{after}"),
            );
        }
    }

    /// Reports settings of roles, databases and functions that the new server rejects, and the number of those checked.
    /// More than [`MANY_SETTINGS`] that differ only in their holder are one finding.
    fn settings(&mut self, facts: &Facts, catalog: &Catalog) {
        let mut alike: BTreeMap<(&str, &str), Vec<&StoredSetting>> = BTreeMap::new();
        for (setting, why) in &facts.refused_settings {
            alike.entry((&setting.name, why)).or_default().push(setting);
        }
        for ((name, why), settings) in alike {
            let fate = match parameter_change(name, facts.from, facts.to) {
                Some(ParameterChange::Renamed(new)) => {
                    format!("; set {new} there after the upgrade, which replaces it")
                }
                Some(ParameterChange::Removed(instead)) => format!("; {instead}"),
                None => String::new(),
            };
            if settings.len() > MANY_SETTINGS {
                let holders: Vec<String> = settings.iter().map(|one| one.holder.clone()).collect();
                let what = format!(
                    "{name}, which {} refuses, is set in {} places: {}: {why}",
                    facts.to,
                    settings.len(),
                    listed(&holders)
                );
                // Each of them, to be pasted.
                let resets: Vec<&str> = settings.iter().map(|one| one.reset.as_str()).collect();
                self.blocker("stored-setting", what, format!("{}{fate}", resets.join("; ")));
                continue;
            }
            for one in settings {
                let what =
                    format!("{} has {name} = {:?}, which {} refuses: {why}", one.holder, one.value, facts.to);
                self.blocker("stored-setting", what, format!("{}{fate}", one.reset));
            }
        }
        if !catalog.settings.is_empty() {
            let count = catalog.settings.len();
            self.note(
                "stored-setting",
                format!("{count} settings of roles, databases and functions were checked"),
            );
        }
    }

    /// Reports parameters with privileges that the new server does not know, all in one finding.
    fn parameter_grants(&mut self, facts: &Facts) {
        if facts.unknown_parameters.is_empty() {
            return;
        }
        let (names, revokes): (Vec<String>, Vec<String>) = facts.unknown_parameters.iter().cloned().unzip();
        self.blocker(
            "parameter-privilege",
            format!(
                "privileges are granted on parameters that {} does not know: {}",
                facts.to,
                listed(&names)
            ),
            revokes.join("; "),
        );
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

    /// Adds blockers for columns of types that `pg_upgrade` cannot transfer, columns that may be null unlike those of a
    /// parent table (to version 18), conversions and postfix operators (to version 14), and subscriptions whose tables
    /// are not synchronized (from version 17).
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
        if !catalog.not_null_names.is_empty() && facts.from.number() < 18 && facts.to.number() >= 18 {
            self.blocker(
                "not-null",
                format!(
                    "constraints have the names that {} gives to those for NOT NULL of the same tables: {}",
                    facts.to,
                    listed(&within(&catalog.not_null_names))
                ),
                "ALTER TABLE … RENAME CONSTRAINT … TO … for each",
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

    /// Adds a note for each locale with its databases, a warning for each collation version that differs from the
    /// recorded one, and one if the old version records none (before version 15).
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

    /// Adds a blocker for each of ICU, lz4 and TLS that the old cluster uses and the new programs were built without.
    /// Nothing if the options of the build are not known.
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

    /// Adds findings on replication slots. From version 17 on, a note that logical slots are carried over, and blockers
    /// for invalid ones, unread changes and a `wal_level` below `logical`; before, that logical slots are lost requires
    /// consent. Physical slots, which are not carried over, are a warning.
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
        let mut alike: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
        for (slot, unsure) in &catalog.unread_slots {
            alike.entry(unsure.as_deref()).or_default().push(literal(slot));
        }
        for (unsure, slots) in alike {
            let who = match slots.as_slice() {
                [slot] => format!("the slot {slot} has no consumer"),
                all => format!("{} slots have no consumer: {}", all.len(), listed(all)),
            };
            let drops: Vec<String> =
                slots.iter().map(|slot| format!("SELECT pg_drop_replication_slot({slot})")).collect();
            let fix = format!("let the consumer catch up, or {}", drops.join("; "));
            match unsure {
                None => self.blocker(
                    "logical-slots",
                    format!("{who}; there are changes that were not read, which pg_upgrade refuses"),
                    fix,
                ),
                Some(why) => self.consent(
                    "unread-slots",
                    format!(
                        "{who}; there may be changes that were not read, which pg_upgrade refuses with the server stopped ({why})"
                    ),
                    &fix,
                ),
            }
        }
    }

    /// Adds findings for an upgrade from before 19 to 19: blockers for names with line breaks, indexes of `btree_gist`
    /// on inet or cidr and the encoding MULE_INTERNAL, and a warning about MD5 hashes of passwords. Nothing for other
    /// versions.
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

/// Returns the beginning of a sentence about one or several objects: `the database "a" is`, `2 databases ("a", "b")
/// are`.
fn counted(names: &[String], one: &str, several: &str) -> String {
    match names {
        [name] => format!("{one} {name} is"),
        all => format!("{} {several} ({}) are", all.len(), listed(all)),
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
