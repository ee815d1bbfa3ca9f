//! Preflight: reports all obstacles to an upgrade at once, each with its fix.

mod catalog;
mod disk_space;
mod finding;
mod folders;
mod standbys;
mod versions;

use finding::FindingList;
pub use finding::{Finding, Severity, passes};

use super::facts::{CatalogQuery, Facts};

/// Names of the old version's programs that every upgrade requires.
pub const OLD_PROGRAMS: &[&str] = &["postgres", "pg_ctl", "pg_controldata", "pg_resetwal", "psql"];

/// Names of the old version's programs that make and verify a base backup. They are required for a base backup and for
/// rehearsals only.
pub const BACKUP_PROGRAMS: &[&str] = &["pg_basebackup", "pg_verifybackup"];

/// Names of the new version's programs that every upgrade requires.
pub const NEW_PROGRAMS: &[&str] = &[
    "postgres",
    "initdb",
    "pg_ctl",
    "pg_controldata",
    "pg_dump",
    "pg_dumpall",
    "pg_resetwal",
    "pg_restore",
    "pg_upgrade",
    "psql",
    "vacuumdb",
];

/// Evaluates the facts, and returns the findings, most severe first. A finding that requires consent becomes a warning
/// if its code is in `accepted`. Performs no I/O.
#[must_use]
pub fn preflight(facts: &Facts, accepted: &[String]) -> Vec<Finding> {
    let mut list = FindingList { findings: Vec::new(), accepted };
    list.versions(facts);
    list.folders(facts);
    if let Some(old) = &facts.old {
        list.old_folder(facts, old);
    }
    list.mode(facts);
    list.disk_space(facts);
    list.backup(facts);
    match &facts.catalog {
        CatalogQuery::Succeeded(catalog) => list.catalog(facts, catalog),
        CatalogQuery::Failed(why) => {
            let (what, fix) = failed_query(why);
            list.blocker("login", format!("{what}: {why}"), fix);
        }
        CatalogQuery::NotRun => list.note(
            "not-asked",
            "the old server does not run, so extensions, slots, prepared transactions and collations are not known yet; \
             they are looked at before anything is changed"
                .to_owned(),
        ),
    }
    for edit in &facts.edits {
        list.warning(
            "settings",
            format!("{} line {}: {}: {}", edit.file, edit.line, edit.name, edit.what),
            "",
        );
    }
    list.carried_files(facts);
    list.hba(facts);
    list.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    list.findings
}

/// Returns description and fix for a running server that could not be queried, by its message. Only messages in English
/// are known.
fn failed_query(why: &str) -> (&'static str, &'static str) {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if why.contains("role \"") && why.contains("\" does not exist") {
        ("the old server has no superuser with a name that was tried", "name one by --superuser ROLE")
    } else if says(&[
        "authentication failed",
        "pg_hba.conf",
        "no password supplied",
        "not permitted to log in",
    ]) {
        (
            "the old server does not let the account in over its socket",
            "let it in by a line `local all <superuser> peer`, by ~/.pgpass, or stop the server: it is then asked on a \
             private socket",
        )
    } else {
        (
            "the old server could not be asked",
            "remove the cause that the message names, or stop the server: it is then asked on a private socket",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{
        Backup, Catalog, Database, DiskSpace, HbaComparison, NewFolderState, OldFolder, Programs,
        ServerState, StopMethod, StoredSetting, WalFolder,
    };
    use crate::mode::Mode;
    use crate::version::Major;
    use std::path::PathBuf;

    /// A machine on which nothing stands in the way.
    fn facts() -> Facts {
        let programs = |version: &str| Programs {
            folder: Some(PathBuf::from("/usr/lib/postgresql/bin")),
            version: Some(version.to_owned()),
            built_with: Some("--with-openssl --with-lz4".to_owned()),
            extensions: Some(vec!["plpgsql".to_owned()]),
            ..Programs::default()
        };
        let control = "Catalog version number: 1\nDatabase system identifier: 2\nDatabase cluster state: shut down\n\
            Latest checkpoint location: 0/1\npg_control last modified: now\nBytes per WAL segment: 16777216\n\
            Data page checksum version: 0\nDatabase block size: 8192\n";
        Facts {
            from: Major::try_from(17).unwrap(),
            to: Major::try_from(18).unwrap(),
            old_data: PathBuf::from("/srv/17"),
            new_data: PathBuf::from("/srv/18"),
            staging: PathBuf::from("/srv/.new-18"),
            staging_exists: false,
            old_programs: programs("17.10"),
            new_programs: programs("18.6"),
            old: Some(OldFolder {
                version: Some("17".to_owned()),
                control: Some(Ok(crate::control_data(control).unwrap())),
                owner: "postgres".to_owned(),
                owned: true,
                mode: 0o700,
                ..OldFolder::default()
            }),
            target: NewFolderState::Absent,
            base_writable: true,
            mode: Mode::Copy,
            mode_requested: false,
            clones: false,
            disk_space: vec![DiskSpace {
                folder: PathBuf::from("/srv"),
                free: 1 << 40,
                data: 1 << 30,
                backup: 1 << 30,
            }],
            backup: Backup::Base(PathBuf::from("/srv/backup")),
            backup_exists: false,
            replication_login: None,
            catalog: CatalogQuery::Succeeded(Box::new(Catalog {
                superuser: "postgres".to_owned(),
                databases: ["app", "template0", "template1"]
                    .map(|name| Database {
                        name: name.to_owned(),
                        provider: "c".to_owned(),
                        connectable: name != "template0",
                        ..Database::default()
                    })
                    .to_vec(),
                wal_level: "replica".to_owned(),
                wal_senders: 10,
                ..Catalog::default()
            })),
            stopping: StopMethod::Refuse,
            edits: Vec::new(),
            hba: HbaComparison::Same,
            unknown_options: Vec::new(),
            refused_settings: Vec::new(),
            unknown_parameters: Vec::new(),
            missing_libraries: Vec::new(),
            colliding_files: Vec::new(),
            wal: None,
            in_progress: None,
        }
    }

    /// The code of the only finding in the way, which must have a fix.
    fn only(facts: &Facts, accepted: &[String]) -> Option<String> {
        let findings = preflight(facts, accepted);
        let standing: Vec<_> =
            findings.iter().filter(|finding| finding.severity >= Severity::Consent).collect();
        assert!(standing.len() <= 1, "{standing:?}");
        assert_eq!(passes(&findings), standing.is_empty());
        assert!(standing.iter().all(|finding| !finding.fix.is_empty()), "{standing:?}");
        standing.first().map(|finding| finding.code.clone())
    }

    type Change = fn(&mut Facts);

    #[test]
    fn each_obstacle_is_found_alone() {
        assert_eq!(only(&facts(), &[]), None);
        let cases: [(&str, Change); 21] = [
            ("backup", |facts| {
                facts.old_programs.missing = BACKUP_PROGRAMS.iter().map(|name| (*name).to_owned()).collect();
            }),
            ("disk-space", |facts| facts.disk_space[0].free = 2 << 30),
            ("minor-version", |facts| facts.unknown_options = vec!["new_option".to_owned()]),
            ("stored-setting", |facts| {
                facts.refused_settings = vec![(
                    StoredSetting { reset: "RESET x".to_owned(), ..StoredSetting::default() },
                    "unknown".to_owned(),
                )];
            }),
            ("parameter-privilege", |facts| {
                facts.unknown_parameters =
                    vec![("x".to_owned(), "REVOKE ALL ON PARAMETER x FROM r CASCADE".to_owned())];
            }),
            ("library", |facts| facts.missing_libraries = vec!["pgaudit".to_owned()]),
            ("colliding-files", |facts| {
                facts.colliding_files =
                    vec![("people".into(), "/etc/a/people".into(), "/etc/b/people".into())];
            }),
            ("wal-folder", |facts| {
                facts.wal = Some(WalFolder { old: "/wal/17".into(), new: None, occupied: false });
            }),
            ("wal-folder", |facts| {
                facts.wal =
                    Some(WalFolder { old: "/wal/17".into(), new: Some("/wal".into()), occupied: true });
            }),
            ("target", |facts| facts.target = NewFolderState::OtherFileSystem),
            ("mode", |facts| facts.mode = Mode::Clone),
            ("base", |facts| facts.base_writable = false),
            ("staging", |facts| facts.staging_exists = true),
            ("path", |facts| facts.staging = PathBuf::from("/srv/a b/.new-18")),
            ("backup", |facts| facts.backup_exists = true),
            ("login", |facts| facts.catalog = CatalogQuery::Failed("no".to_owned())),
            ("hba", |facts| facts.hba = HbaComparison::Refused("line 1".to_owned())),
            ("hba", |facts| facts.hba = HbaComparison::Changed("line 1".to_owned())),
            ("programs", |facts| facts.new_programs.missing = vec!["vacuumdb".to_owned()]),
            ("old-folder", |facts| facts.old.as_mut().unwrap().version = Some("16".to_owned())),
            ("control-file", |facts| facts.old.as_mut().unwrap().control = Some(Err("no".to_owned()))),
        ];
        for (code, change) in cases {
            let mut facts = facts();
            change(&mut facts);
            assert_eq!(only(&facts, &[]).as_deref(), Some(code));
        }
    }

    type Content = fn(&mut Catalog);

    #[test]
    fn each_obstacle_within_the_cluster_is_found_alone() {
        let two = || vec![("app".to_owned(), "x".to_owned())];
        let cases: [(&str, Content); 16] = [
            ("synchronous-standbys", |catalog| catalog.synchronous_standby_names = "*".to_owned()),
            ("template", |catalog| catalog.template1_unmarked = true),
            ("names", |catalog| catalog.databases[0].name = "a\nb".to_owned()),
            ("not-null", |catalog| {
                catalog.not_null_names = vec![("app".to_owned(), "t: t_a_not_null".to_owned())];
            }),
            ("template", |catalog| catalog.databases.retain(|database| database.name != "template0")),
            ("template", |catalog| catalog.databases.retain(|database| database.name != "template1")),
            ("not-null", |catalog| catalog.nullable = vec![("app".to_owned(), "public.c.a".to_owned())]),
            ("invalid-database", |catalog| catalog.databases[0].invalid = true),
            ("closed-database", |catalog| catalog.databases[0].connectable = false),
            ("logical-slots", |catalog| {
                catalog.wal_level = "logical".to_owned();
                catalog.logical_slots = vec!["s".to_owned()];
                catalog.unread_slots = vec![("s".to_owned(), None)];
            }),
            ("unread-slots", |catalog| {
                catalog.wal_level = "logical".to_owned();
                catalog.logical_slots = vec!["s".to_owned()];
                catalog.unread_slots = vec![("s".to_owned(), Some("its plugin needs options".to_owned()))];
            }),
            ("column-type", |catalog| {
                catalog.columns = vec![("app".to_owned(), "public.t.c regproc".to_owned())];
            }),
            ("prepared-transactions", |catalog| catalog.prepared = vec!["x".to_owned()]),
            ("logical-slots", |catalog| {
                catalog.logical_slots = vec!["s".to_owned()];
            }),
            ("extension", |catalog| catalog.extensions = vec![("vector".to_owned(), vec!["app".to_owned()])]),
            ("compression", |catalog| catalog.lz4 = true),
        ];
        for (code, change) in cases {
            let mut facts = facts();
            facts.new_programs.built_with = Some("--with-openssl".to_owned());
            let CatalogQuery::Succeeded(catalog) = &mut facts.catalog else { unreachable!("it succeeded") };
            change(catalog);
            assert_eq!(only(&facts, &[]).as_deref(), Some(code));
        }
        let mut with = facts();
        let CatalogQuery::Succeeded(catalog) = &mut with.catalog else { unreachable!("it succeeded") };
        catalog.subscriptions = two();
        assert_eq!(only(&with, &[]).as_deref(), Some("subscriptions"));
    }

    /// Without both templates, each is a copy of a database that is there.
    #[test]
    fn templates_are_made_of_what_is_there() {
        let fixes = |missing: &[&str]| -> Vec<String> {
            let mut facts = facts();
            let CatalogQuery::Succeeded(catalog) = &mut facts.catalog else { unreachable!("it succeeded") };
            catalog.databases.retain(|database| !missing.contains(&database.name.as_str()));
            let found = preflight(&facts, &[]);
            found.into_iter().filter(|one| one.code == "template").map(|one| one.fix).collect()
        };
        assert_eq!(fixes(&["template1"]), ["CREATE DATABASE template1 TEMPLATE template0 IS_TEMPLATE true"]);
        let both = fixes(&["template0", "template1"]);
        assert_eq!(both.len(), 2);
        assert!(both[0].starts_with(
            "CREATE DATABASE template0 TEMPLATE \"app\" IS_TEMPLATE true ALLOW_CONNECTIONS false, while"
        ));
        assert!(both[1].starts_with("CREATE DATABASE template1 TEMPLATE \"app\" IS_TEMPLATE true, while"));
    }

    #[test]
    fn what_19_changes() {
        let next = || {
            let mut next = facts();
            next.to = Major::try_from(19).unwrap();
            next.new_programs.version = Some("19.0".to_owned());
            next
        };
        assert_eq!(only(&next(), &[]), None);
        let cases: [(&str, Content); 3] = [
            ("names", |catalog| catalog.broken_names = vec!["\"a\nb\"".to_owned()]),
            ("btree-gist", |catalog| catalog.inet_indexes = vec![("app".to_owned(), "t_x_idx".to_owned())]),
            ("encoding", |catalog| catalog.databases[0].encoding = "MULE_INTERNAL".to_owned()),
        ];
        for (code, change) in cases {
            let (mut later, mut now) = (next(), facts());
            for facts in [&mut later, &mut now] {
                let CatalogQuery::Succeeded(catalog) = &mut facts.catalog else {
                    unreachable!("it succeeded")
                };
                change(catalog);
            }
            assert_eq!(only(&later, &[]).as_deref(), Some(code));
            assert_eq!(only(&now, &[]), None);
        }
    }

    #[test]
    fn the_fix_of_a_query_that_failed_is_that_of_its_cause() {
        for (why, fix) in [
            ("FATAL:  role \"postgres\" does not exist", "--superuser"),
            ("FATAL:  Peer authentication failed for user \"x\"", "peer"),
            ("FATAL:  no pg_hba.conf entry for host \"[local]\"", "peer"),
            ("ERROR:  canceling statement due to statement timeout", "remove the cause"),
        ] {
            assert!(failed_query(why).1.contains(fix), "{why}");
        }
    }

    #[test]
    fn what_follows_the_cluster_or_is_rebuilt_is_a_warning() {
        let mut facts = facts();
        let CatalogQuery::Succeeded(catalog) = &mut facts.catalog else { unreachable!("it succeeded") };
        catalog.standbys = vec!["replica".to_owned()];
        catalog.databases[0].provider = "b".to_owned();
        let index = || vec![("app".to_owned(), "public.i".to_owned())];
        (catalog.invalid_indexes, catalog.text_indexes) = (index(), index());
        let warnings = |facts: &Facts| -> Vec<String> {
            let found = preflight(facts, &[]);
            assert!(passes(&found), "{found:?}");
            let warnings = found.into_iter().filter(|one| one.severity == Severity::Warning);
            warnings.map(|one| one.code).collect()
        };
        assert_eq!(warnings(&facts), ["standbys", "invalid-index", "unicode", "text-search"]);
        facts.from = facts.to;
        facts.old_programs.version = Some("18.1".to_owned());
        assert!(!warnings_of_18(&facts), "18 has both already");
    }

    /// Returns `true` if a finding is about what 18 changes.
    fn warnings_of_18(facts: &Facts) -> bool {
        preflight(facts, &[]).iter().any(|one| one.code == "unicode" || one.code == "text-search")
    }

    #[test]
    fn columns_that_use_icu_need_it() {
        let mut lacking = facts();
        lacking.new_programs.built_with = Some("--without-icu --with-openssl --with-lz4".to_owned());
        let CatalogQuery::Succeeded(catalog) = &mut lacking.catalog else { unreachable!("it succeeded") };
        catalog.collations = vec![("app".to_owned(), "i".to_owned())];
        assert_eq!(only(&lacking, &[]).as_deref(), Some("locale"));
    }

    #[test]
    fn what_is_alike_is_one_finding() {
        let mut many = facts();
        let CatalogQuery::Succeeded(catalog) = &mut many.catalog else { unreachable!("it succeeded") };
        let one = catalog.databases[0].clone();
        catalog.databases =
            (0..300).map(|n| Database { name: format!("app{n:03}"), ..one.clone() }).collect();
        let findings = preflight(&many, &[]);
        let locales: Vec<_> = findings.iter().filter(|finding| finding.code == "locale").collect();
        assert_eq!(locales.len(), 1);
        assert!(locales[0].what.contains("app004 and 295 more"), "{}", locales[0].what);
    }

    #[test]
    fn alike_obstacles_are_one_finding_with_their_number() {
        let mut many = facts();
        many.refused_settings = (0..300)
            .map(|n| {
                let holder = format!("role r{n:03}");
                let reset = format!("ALTER ROLE r{n:03} RESET x");
                let setting =
                    StoredSetting { holder, name: "x".to_owned(), reset, ..StoredSetting::default() };
                (setting, "unknown".to_owned())
            })
            .collect();
        let CatalogQuery::Succeeded(catalog) = &mut many.catalog else { unreachable!("it succeeded") };
        let one = catalog.databases[0].clone();
        let made = |name: String| Database { name, ..one.clone() };
        catalog.databases = (0..40)
            .map(|n| Database { invalid: true, ..made(format!("i{n:02}")) })
            .chain((0..50).map(|n| Database { connectable: false, ..made(format!("c{n:02}")) }))
            .collect();
        catalog.wal_level = "logical".to_owned();
        catalog.logical_slots = vec!["s".to_owned()];
        catalog.unread_slots = (0..60).map(|n| (format!("s{n:02}"), None)).collect();
        let findings = preflight(&many, &[]);
        for (code, count) in [
            ("stored-setting", "300 places"),
            ("invalid-database", "40 databases"),
            ("closed-database", "50 databases"),
            ("logical-slots", "60 slots"),
        ] {
            let found: Vec<_> = findings
                .iter()
                .filter(|finding| finding.code == code && finding.severity == Severity::Blocker)
                .collect();
            assert_eq!(found.len(), 1, "{code}: {found:#?}");
            assert!(found[0].what.contains(count), "{code}: {}", found[0].what);
        }
        let resets = findings.iter().find(|finding| finding.code == "stored-setting").expect("there");
        assert_eq!(resets.fix.matches("RESET x").count(), 300, "each is to be reset");
    }

    #[test]
    fn consent_makes_a_warning_and_nothing_else() {
        let accepted = ["hba".to_owned(), "prepared-transactions".to_owned()];
        let mut changed = facts();
        changed.hba = HbaComparison::Changed("line 1".to_owned());
        assert_eq!(only(&changed, &accepted), None);
        // What would lose data is not for acceptance.
        let CatalogQuery::Succeeded(catalog) = &mut changed.catalog else { unreachable!("it succeeded") };
        catalog.prepared = vec!["forgotten".to_owned()];
        assert_eq!(only(&changed, &accepted).as_deref(), Some("prepared-transactions"));
    }

    #[test]
    fn what_the_new_programs_lack() {
        let mut lacking = facts();
        lacking.new_programs.built_with = Some("--without-icu --with-openssl --with-lz4".to_owned());
        assert_eq!(only(&lacking, &[]), None);
        let CatalogQuery::Succeeded(catalog) = &mut lacking.catalog else { unreachable!("it succeeded") };
        catalog.databases[0].provider = "i".to_owned();
        assert_eq!(only(&lacking, &[]).as_deref(), Some("locale"));
        let mut lacking = facts();
        lacking.new_programs.built_with = Some("--with-lz4".to_owned());
        let CatalogQuery::Succeeded(catalog) = &mut lacking.catalog else { unreachable!("it succeeded") };
        catalog.ssl = true;
        assert_eq!(only(&lacking, &[]).as_deref(), Some("tls"));
    }

    #[test]
    fn a_live_server_is_stopped_only_as_its_owner_says() {
        let mut live = facts();
        live.old.as_mut().unwrap().running =
            ServerState::Running { pid: 7, unit: Some("postgresql.service".to_owned()) };
        assert_eq!(only(&live, &[]).as_deref(), Some("live"));
        live.stopping = StopMethod::PgCtl;
        assert_eq!(only(&live, &[]).as_deref(), Some("unit"));
        live.stopping = StopMethod::Service("postgresql.service".to_owned());
        assert_eq!(only(&live, &[]), None);
    }
}
